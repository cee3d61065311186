/**
 * Brings what the commit journal holds of a stream into its segment files, before the stream is looked at: afterwards recovery finds
 * what it would have found had the stream synced its own files. Repeating it writes the same bytes to the same places.
 */
import * as Effect from "effect/Effect"
import { frameHeaderBytes } from "../../format/frame.ts"
import type { JournalEntryBytes } from "../../format/journal_block.ts"
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  encodeWatermarkSlot,
  segmentHeaderBytes,
  slotOffsets,
} from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { patiently } from "../files/descriptor_room.ts"
import { segmentPath } from "../files/paths.ts"
import { attempt } from "../flow/attempt.ts"
import type { RecoveryReport } from "../recovery/recovery_report.ts"
import { headerOfFrames, type KnownSegment } from "../repair/repair_header.ts"

/** A stream and what is known of it. */
export interface ReplayTarget {
  readonly name: string
  readonly streamId: number
  /** `<root>/streams/<name>/segments` */
  readonly path: string
  /** The directories above it, the highest first. */
  readonly parents: ReadonlyArray<string>
  /** Segments below it are trimmed. */
  readonly firstIndex: number
  /** True for a segment that is sealed: its own file, or a copy, holds all of it. */
  readonly isSealed: (index: number) => boolean
  /** Segments below it may have been trimmed, which nobody knows: the lowest that is left, while the manifest has forgotten something. */
  readonly lowest: LowestSegment | undefined
  /** What is known of a segment whose header is gone. */
  readonly segmentOf: (index: number) => KnownSegment
  /** The watermark of the application as it was before the segment. */
  readonly coordinatorWatermarkOf: (index: number) => bigint
}

/** The lowest segment that is left. */
export interface LowestSegment {
  readonly index: number
  /** Bytes of frames in all segments before it; undefined when its header cannot be read. */
  readonly baseOffset: number | undefined
}

/** Writes the entries of one stream where they belong, and makes that durable. */
export const replayJournal: (
  directory: Directory,
  target: ReplayTarget,
  entries: ReadonlyArray<JournalEntryBytes>,
  report: RecoveryReport,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (directory, target, entries, report) {
  const bySegment = new Map<number, Array<JournalEntryBytes>>()
  for (const entry of entries) {
    const index = entry.segmentIndex
    if (index < target.firstIndex || target.isSealed(index)) continue
    const known = bySegment.get(index)
    if (known === undefined) bySegment.set(index, [entry])
    else known.push(entry)
  }
  withholdTrimmed(target, bySegment, report)
  if (bySegment.size === 0) return
  for (const folder of [...target.parents.slice(1), target.path]) yield* directory.makeSubdirectory(folder)
  const files: Array<SegmentFile> = []
  const written = Effect.forEach(
    bySegment,
    ([index, own]) => replaySegment(directory, target, { index, entries: own }, { report, files }),
    { discard: true },
  )
  // A process that was killed may have made the directories without a sync.
  const syncs = () => [
    ...files.map((file) => file.syncData),
    ...[...target.parents, target.path].map((folder) => directory.sync(folder)),
  ]
  const synced = Effect.suspend(() => Effect.all(syncs(), { concurrency: "unbounded", discard: true }))
  yield* Effect.ensuring(
    Effect.andThen(written, synced),
    Effect.sync(() => {
      for (const file of files) file.closeUnsafe()
    }),
  )
})

/**
 * Leaves out segments below all that are left which do not lead up to these: with a manifest that has forgotten something, that they were trimmed is
 * as likely as that what lay between is lost. The journal is kept.
 */
const withholdTrimmed = (
  { name, lowest }: ReplayTarget,
  bySegment: Map<number, ReadonlyArray<JournalEntryBytes>>,
  report: RecoveryReport,
): void => {
  if (lowest?.baseOffset === undefined) return
  let expected = lowest.baseOffset
  const below = [...bySegment].filter(([index]) => index < lowest.index).sort(([one], [other]) => other - one)
  for (const [index, entries] of below) {
    const own = entries.find((entry) => entry.offset === 0)
    const header = own === undefined ? undefined : decodeSegmentHeader(own.bytes)
    const end = Math.max(...entries.map(({ offset, bytes }) => offset + bytes.length))
    if (header !== undefined && header.baseOffset + Math.max(0, end - segmentHeaderBytes) === expected) {
      expected = header.baseOffset
      continue
    }
    bySegment.delete(index)
    report.isJournalNeeded = true
    const from = index * 2 ** 28
    const reason =
      "trimmed, or nothing is left of what followed; only the commit journal, now in the quarantine, has it"
    report.cut(name, { from, to: from + end, bytes: end, reason })
  }
}

interface SegmentEntries {
  readonly index: number
  readonly entries: ReadonlyArray<JournalEntryBytes>
}

const replaySegment = Effect.fnUntraced(function* (
  directory: Directory,
  target: ReplayTarget,
  { index, entries }: SegmentEntries,
  { report, files }: { readonly report: RecoveryReport; readonly files: Array<SegmentFile> },
) {
  const path = segmentPath(target.path, index)
  const hasHeader = entries.some((entry) => entry.offset === 0)
  const first = entries.reduce((least, entry) => (entry.offset < least.offset ? entry : least))
  const gap = { from: index * 2 ** 28, to: index * 2 ** 28 + first.offset, bytes: first.offset }
  const isThere = (yield* directory.sizeOf(path)) !== undefined
  const isKnown = hasHeader || (index >= (target.lowest?.index ?? 0) && startBefore(target, index, first) !== undefined)
  if (!isThere && !isKnown) {
    const reason = "the commit journal has bytes of a segment whose file is missing"
    report.isJournalNeeded = true
    return report.add(target.name, { ...gap, to: index * 2 ** 28 + 2 ** 28, reason })
  }
  const file = yield* patiently(attempt(() => directory.openUnsafe(path, isThere ? "write" : "create")))
  files.push(file)
  yield* attempt(() => {
    const start = hasHeader || !isEmptyBefore(file, first.offset) ? undefined : startBefore(target, index, first)
    if (start !== undefined) {
      file.writeUnsafe(start, 0, start.length, 0)
      report.add(target.name, { ...gap, reason: "of a segment nothing is left but what the commit journal has" })
    }
    const isOwn = hasOwnHeader(file, target.streamId, index)
    // The file's own header may be younger, and has slots.
    writeRuns(
      file,
      entries.filter(({ offset }) => offset > 0 || !isOwn),
    )
  })
})

/** Writes them in their order, those that follow each other at once. */
const writeRuns = (file: SegmentFile, entries: ReadonlyArray<JournalEntryBytes>): void => {
  for (let from = 0; from < entries.length; ) {
    const { offset } = entries[from]!
    let [to, end] = [from, offset]
    for (; entries[to]?.offset === end; to++) end += entries[to]!.bytes.length
    const bytes = new Uint8Array(end - offset)
    for (const one of entries.slice(from, to)) bytes.set(one.bytes, one.offset - offset)
    file.writeUnsafe(bytes, 0, bytes.length, offset)
    from = to
  }
}

/**
 * Header and slot of a segment of which nothing is left that lies before what the journal has: that was durable, as the journal has what follows
 * it. Undefined when the journal does not tell what the header was.
 */
const startBefore = (
  { segmentOf, coordinatorWatermarkOf }: ReplayTarget,
  index: number,
  first: JournalEntryBytes,
): Uint8Array | undefined => {
  const found = headerOfFrames(first.bytes, first.offset, segmentOf(index))
  if (found === undefined) return undefined
  const { header, frameRecordNumber: nextRecordNumber } = found
  const { timestampMsMax, extIdMax } = header
  const watermark = index * 2 ** 28 + first.offset
  const coordinatorWatermark = coordinatorWatermarkOf(index)
  const unknown = { lastRecordId: 0, lastTimestampMs: timestampMsMax }
  const slot = { sequence: 1, watermark, nextRecordNumber, timestampMsMax, extIdMax, coordinatorWatermark, ...unknown }
  const block = new Uint8Array(segmentHeaderBytes)
  encodeSegmentHeader(block, header)
  encodeWatermarkSlot(block, slotOffsets[0], slot, header.checksumSeed)
  return block
}

/** True when the file has neither a header nor a first frame, although there were frames up to `offset`. */
const isEmptyBefore = (file: SegmentFile, offset: number): boolean => {
  const start = new Uint8Array(Math.min(offset, segmentHeaderBytes + frameHeaderBytes))
  file.readUnsafe(start, 0, start.length, 0)
  return start.every((byte) => byte === 0)
}

const hasOwnHeader = (file: SegmentFile, streamId: number, index: number): boolean => {
  const block = new Uint8Array(segmentHeaderBytes)
  file.readUnsafe(block, 0, block.length, 0)
  const header = decodeSegmentHeader(block)
  return header?.streamId === streamId && header.segmentIndex === index
}
