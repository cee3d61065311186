/** One file of the manifest taken apart for people and tools: what it says of itself, what checks, and every record in it. */
import { crc64 } from "../../format/checksum.ts"
import {
  type CommitSlot,
  decodeCommitSlots,
  type ManifestHeader,
  manifestHeaderBytes,
  manifestKindLog,
  manifestKindSnapshot,
  parseManifestFileName,
} from "../../format/manifest_chunk.ts"
import { manifestReasonName } from "../../format/manifest_reason.ts"
import {
  decodeManifestRecord,
  type ManifestRecord,
  manifestRecordHeader,
  manifestRecordLength,
  manifestTypeNumber,
  manifestTypes,
} from "../../format/manifest_record.ts"
import { type FileDamage, scanManifestFile } from "../../state/manifest_replay.ts"

/** A commit slot that checks by itself. */
export interface InspectedSlot extends CommitSlot {
  /** CRC-64/NVME of the bytes that it commits, computed now; undefined when the file ends before. */
  readonly computed64: bigint | undefined
  /** True when both are equal. */
  readonly isTrue: boolean
}

/** A record that checks, wherever it was found. */
export interface InspectedRecord {
  /** Offset in the file. */
  readonly offset: number
  /** Bytes of the whole record. */
  readonly lengthBytes: number
  /** Name of its type; `Unknown` for a number that this version has no name for. */
  readonly type: string
  /** Number of the record type on disk. */
  readonly typeNumber: number
  /** False when the payload is carried as bytes, because the type is not known or the payload does not fit it. */
  readonly isDecoded: boolean
  /** Why it happened, as the number on disk. */
  readonly reasonCode: number
  /** Name of the reason code, or the number as text. */
  readonly reason: string
  /** From 1: dense over all chunks, or within a snapshot. */
  readonly sequence: number
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** The stream concerned; 0 for the whole root. */
  readonly streamId: number
  /** CRC-64/NVME of the record without its own 8 bytes. */
  readonly checksum64: bigint
  /** False for what lies behind the committed bytes. */
  readonly isCommitted: boolean
  /** The fields of the payload; `{ payload }` when it is not decoded. */
  readonly value: { readonly [field: string]: unknown }
  /** What a later version has put behind the payload. */
  readonly rest: Uint8Array | undefined
}

/** A file in the manifest's directory. */
export interface InspectedFile {
  /** Name of the file. */
  readonly name: string
  /** By its name: `other` is a temporary file, or nothing of the manifest's. */
  readonly kind: "chunk" | "snapshot" | "other"
  /** Undefined when the header does not check. */
  readonly header: ManifestHeader | undefined
  /** False when the header names another root, kind or number; true when it does not check. */
  readonly isOurs: boolean
  /** Bytes that were looked at: all, but for a file of an impossible size. */
  readonly bytes: number
  /** Bytes of records up to which the file counts, from the end of the header block. */
  readonly committedBytes: number
  /** Records in them. */
  readonly recordCount: number
  /** Bytes behind them, which never counted. */
  readonly tornBytes: number
  /** True when it was closed in order, or sealed, and all of it checks. */
  readonly isClean: boolean
  /** True when it was sealed for good. */
  readonly isSealed: boolean
  /** Those slots that check, the newer one first. */
  readonly slots: ReadonlyArray<InspectedSlot>
  /** Stretches that do not check. */
  readonly damage: ReadonlyArray<FileDamage>
  /** The records that count, in order. */
  readonly records: ReadonlyArray<InspectedRecord>
}

/** Takes a file apart; never throws. `durableBefore` is the first sequence of the next chunk, if there is one. */
export const inspectFile = (
  name: string,
  bytes: Uint8Array,
  options: { readonly rootId: Uint8Array | undefined; readonly durableBefore: number | undefined },
): InspectedFile => {
  const parsed = parseManifestFileName(name)
  const scanned = scanManifestFile(bytes, { lastSequence: 0, durableBefore: options.durableBefore })
  const { header, committedBytes, committedCount: recordCount, trimmedBytes, isSealed, damage } = scanned
  const kind = parsed === undefined ? "other" : parsed.kind === manifestKindLog ? "chunk" : "snapshot"
  const isRoots = options.rootId?.every((byte, index) => header?.rootId[index] === byte) ?? true
  const isNamed = header?.kind === parsed?.kind && header?.chunkSequence === parsed?.chunkSequence
  const isComplete = kind === "snapshot" && isCompleteSnapshot(scanned.records, damage)
  return {
    name,
    kind,
    header,
    isOurs: header === undefined || (isRoots && isNamed),
    bytes: bytes.length,
    committedBytes,
    recordCount,
    tornBytes: trimmedBytes,
    isClean: kind === "snapshot" ? isComplete && header !== undefined : scanned.isClean || isSealed,
    isSealed: kind === "chunk" && isSealed,
    slots: decodeCommitSlots(bytes).map((slot) => inspectSlot(bytes, slot)),
    damage,
    records: inspectRecords(bytes, manifestHeaderBytes + committedBytes),
  }
}

const isCompleteSnapshot = (records: ReadonlyArray<ManifestRecord>, damage: ReadonlyArray<FileDamage>): boolean => {
  const marker = records.at(-1)
  return marker?.type === "SnapshotMarker" && marker.recordCount === records.length - 1 && damage.length === 0
}

/** A file that was listed and not read. */
export const unreadFile = (name: string): InspectedFile => ({
  name,
  kind: "other",
  header: undefined,
  isOurs: false,
  bytes: 0,
  committedBytes: 0,
  recordCount: 0,
  tornBytes: 0,
  isClean: false,
  isSealed: false,
  slots: [],
  damage: [],
  records: [],
})

const inspectSlot = (bytes: Uint8Array, slot: CommitSlot): InspectedSlot => {
  const end = manifestHeaderBytes + slot.committedBytes
  const computed64 = end <= bytes.length ? crc64(bytes.subarray(manifestHeaderBytes, end)) : undefined
  return { ...slot, computed64, isTrue: computed64 === slot.checksum64 }
}

/** Every record that checks, at each multiple of 8. */
const inspectRecords = (bytes: Uint8Array, committedEnd: number): ReadonlyArray<InspectedRecord> => {
  const records: Array<InspectedRecord> = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = manifestHeaderBytes
  while (offset < bytes.length) {
    const record = decodeManifestRecord(bytes, offset, bytes.length)
    const lengthBytes = record === undefined ? 8 : manifestRecordLength(bytes, offset, bytes.length)
    if (record !== undefined) {
      const isCommitted = offset + lengthBytes <= committedEnd
      const checksum64 = view.getBigUint64(offset + manifestRecordHeader.at.checksum64, true)
      records.push(inspectRecord(record, { offset, lengthBytes, checksum64, isCommitted }))
    }
    offset += lengthBytes
  }
  return records
}

const inspectRecord = (
  record: ManifestRecord,
  place: Pick<InspectedRecord, "offset" | "lengthBytes" | "checksum64" | "isCommitted">,
): InspectedRecord => {
  const { type, streamId, reasonCode, sequence, timestampMs, rest, ...fields } = record
  const typeNumber = manifestTypeNumber(record)
  return {
    ...place,
    type: manifestTypes[typeNumber] ?? "Unknown",
    typeNumber,
    isDecoded: type !== "Raw",
    reasonCode,
    reason: manifestReasonName(reasonCode),
    sequence,
    timestampMs,
    streamId,
    value: "typeNumber" in fields ? { payload: fields.payload } : { ...fields },
    rest,
  }
}

/** True for a name that says `manifestKindSnapshot`. */
export const isSnapshotName = (name: string): boolean => parseManifestFileName(name)?.kind === manifestKindSnapshot
