/**
 * Reads one file of the manifest out of memory: which records count, what was cut off as torn, what is damage. Pure.
 *
 * - The newest slot whose CRC-64 checks says how far records count. When a newer slot is valid by itself but its records do not
 *   check, the commit of that slot was torn: what it would have added was never acknowledged.
 * - All records before the first sequence of the next file were durable when that file was made (`durableBefore`). When the slots
 *   give fewer, the rest is looked for record by record, and what is not found is damage.
 * - Two slots that commit the same bytes say that the file was closed in order. When their sequences follow each other, a writer may go
 *   on in it; when there is a gap between them, it was sealed for good.
 * - When no slot checks, a durable commit was spoiled: damage. Every record that checks by itself still counts.
 * - Records that were seen before (by sequence) are passed over: a commit that failed is written again into the next chunk.
 */
import { crc64 } from "../format/checksum.ts"
import {
  type CommitSlot,
  decodeCommitSlots,
  decodeManifestHeader,
  type ManifestHeader,
  manifestHeaderBytes,
  sealingSequence,
} from "../format/manifest_chunk.ts"
import {
  decodeManifestRecord,
  decodeManifestRecordUnsafe,
  type ManifestRecord,
  manifestRecordLength,
} from "../format/manifest_record.ts"

/** A range of bytes of one file that does not check, and why. */
export interface FileDamage {
  /** Offset at which it starts. */
  readonly from: number
  /** Offset behind it. */
  readonly to: number
  /** What is wrong, in words. */
  readonly why: string
}

/** A file as it was found. */
export interface ScannedManifestFile {
  /** Undefined when it does not check. */
  readonly header: ManifestHeader | undefined
  /** Records that count and were not seen before, in order of sequence. */
  readonly records: ReadonlyArray<ManifestRecord>
  /** Last record that is known to be on disk, not only in memory of the system: those of the last commit are not. 0 for none. */
  readonly confirmedSequence: number
  /** Bytes of records, from the end of the header block, up to which the file counts. */
  readonly committedBytes: number
  /** All records in those bytes. */
  readonly committedCount: number
  /** Sequence of the newest valid slot; 0 for none. */
  readonly slotSequence: number
  /** Bytes behind the committed ones: a torn commit, never acknowledged. */
  readonly trimmedBytes: number
  /** True when the writer had closed the file in order, so that another commit may follow in it. */
  readonly isClean: boolean
  /** True when the file was sealed: complete, and nothing is ever written into it again. */
  readonly isSealed: boolean
  /** The sequence of a slot that seals the file, written beside the one that counts now; 0 when none counts. */
  readonly sealingSequence: number
  readonly damage: ReadonlyArray<FileDamage>
}

interface Scan {
  readonly body: Uint8Array
  readonly durableBefore: number
  readonly records: Array<ManifestRecord>
  readonly damage: Array<FileDamage>
  lastSequence: number
  count: number
  confirmedSequence: number
}

/** What the scan needs to know: the last sequence seen in earlier files, and the first one of the next file, if there is one. */
export interface ScanOptions {
  readonly lastSequence: number
  readonly durableBefore: number | undefined
}

/** Scans a whole file. `bytes` stays the caller's; records hold copies. */
export const scanManifestFile = (bytes: Uint8Array, options: ScanOptions): ScannedManifestFile => {
  const header = decodeManifestHeader(bytes)
  const slots = decodeCommitSlots(bytes)
  const body = bytes.subarray(Math.min(manifestHeaderBytes, bytes.length))
  const durableBefore = options.durableBefore ?? 0
  const { lastSequence } = options
  const scan: Scan = { body, durableBefore, records: [], damage: [], lastSequence, count: 0, confirmedSequence: 0 }
  const best = slots.find((slot) => isSlotTrue(slot, body))
  let committedBytes: number
  if (best !== undefined) {
    readRecords(scan, { from: 0, to: best.committedBytes, confirmedTo: confirmedBytesOf(slots, best) })
    committedBytes = best.committedBytes
    if (scan.lastSequence + 1 < durableBefore) committedBytes = searchRecords(scan, best.committedBytes, body.length)
  } else {
    const to =
      slots.length === 0 ? body.length : Math.min(body.length, Math.max(...slots.map((slot) => slot.committedBytes)))
    committedBytes = searchRecords(scan, 0, to)
    reportSpoiled(scan, slots, to)
  }
  if (header === undefined && body.length > 0) {
    scan.damage.unshift({ from: 0, to: Math.min(512, bytes.length), why: "the header does not check" })
  }
  const isClosed =
    best !== undefined && best === slots[0] && slots[1]?.committedBytes === best.committedBytes && best.sequence > 1
  const isWhole = isClosed && header !== undefined && body.length === committedBytes && scan.damage.length === 0
  const isGap = isClosed && best.sequence - (slots[1]?.sequence ?? 0) > 1
  return {
    header,
    records: scan.records,
    confirmedSequence: scan.confirmedSequence,
    committedBytes,
    committedCount: scan.count,
    slotSequence: slots[0]?.sequence ?? 0,
    trimmedBytes: body.length - committedBytes,
    isClean: isWhole && !isGap,
    isSealed: isWhole && isGap,
    sealingSequence: best === undefined ? 0 : sealingSequence(best.sequence, slots[0]?.sequence ?? 0),
    damage: scan.damage,
  }
}

const isSlotTrue = (slot: CommitSlot, body: Uint8Array): boolean =>
  slot.committedBytes % 8 === 0 &&
  slot.committedBytes <= body.length &&
  crc64(body.subarray(0, slot.committedBytes)) === slot.checksum64

/** A slot is written after the commit of the slot before it was synced: so the older one tells what is on disk. */
const confirmedBytesOf = (slots: ReadonlyArray<CommitSlot>, best: CommitSlot): number =>
  best === slots[0] ? Math.min(slots[1]?.committedBytes ?? 0, best.committedBytes) : best.committedBytes

/** Reads records of a range that checks as a whole. */
const readRecords = (
  scan: Scan,
  range: { readonly from: number; readonly to: number; readonly confirmedTo: number },
): void => {
  let at = range.from
  while (at < range.to) {
    const record = decodeManifestRecordUnsafe(scan.body, at, range.to)
    if (record === undefined) {
      searchRecords(scan, at, range.to)
      return
    }
    accept(scan, record)
    at += manifestRecordLength(scan.body, at, range.to)
    if (at <= range.confirmedTo) scan.confirmedSequence = Math.max(scan.confirmedSequence, record.sequence)
  }
}

/**
 * Takes every record in a range that checks by itself, and reports the rest of the range. Ends early when all that was durable
 * before the next file is found. Returns where the last record ends.
 */
const searchRecords = (scan: Scan, from: number, to: number): number => {
  let badFrom = -1
  let end = from
  let at = from
  const report = (badTo: number): void => {
    if (badFrom < 0) return
    const place = { from: manifestHeaderBytes + badFrom, to: manifestHeaderBytes + badTo }
    scan.damage.push({ ...place, why: "records do not check" })
    badFrom = -1
  }
  while (at < to) {
    if (scan.durableBefore > 0 && scan.lastSequence + 1 >= scan.durableBefore) break
    const record = decodeManifestRecord(scan.body, at, to)
    const isForeign = scan.durableBefore > 0 && (record?.sequence ?? 0) >= scan.durableBefore
    if (record === undefined || isForeign) {
      if (badFrom < 0) badFrom = at
      at += 8
      continue
    }
    report(at)
    accept(scan, record)
    at += manifestRecordLength(scan.body, at, to)
    end = at
  }
  report(at < to ? at : to)
  return end
}

const accept = (scan: Scan, record: ManifestRecord): void => {
  scan.count++
  if (record.sequence <= scan.lastSequence) return
  scan.lastSequence = record.sequence
  scan.records.push(record)
}

/** No slot checks. A file whose header block was never written whole has nothing behind it; everything else is reported. */
const reportSpoiled = (scan: Scan, slots: ReadonlyArray<CommitSlot>, to: number): void => {
  const { body } = scan
  if (slots.length === 0) {
    if (body.length > 0) scan.damage.push({ from: 512, to: manifestHeaderBytes, why: "no commit slot checks" })
    return
  }
  const missing = Math.max(...slots.map((slot) => slot.committedBytes)) - to
  if (missing > 0) {
    const from = manifestHeaderBytes + to
    scan.damage.push({ from, to: from + missing, why: "the file ends before its committed length" })
  } else if (scan.damage.length === 0) {
    scan.damage.push({
      from: manifestHeaderBytes,
      to: manifestHeaderBytes + to,
      why: "records are not those that were committed",
    })
  }
}
