/**
 * Brings what the commit journal holds of a stream into its segment files, before the stream is looked at: afterwards recovery finds
 * what it would have found had the stream synced its own files. Repeating it writes the same bytes to the same places.
 */
import * as Effect from "effect/Effect"
import type { JournalEntryBytes } from "../../format/journal_block.ts"
import { decodeSegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { segmentPath } from "../files/paths.ts"
import { attempt } from "../flow/attempt.ts"
import type { RecoveryReport } from "../recovery/recovery_report.ts"

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
}

/** Writes the entries of one stream where they belong, and syncs. */
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
  if (bySegment.size === 0) return
  yield* directory.makeDirectory(target.path)
  for (const [index, own] of bySegment) yield* replaySegment(directory, target, { index, entries: own }, report)
  // A process that was killed may have made the directories without a sync.
  for (const folder of [...target.parents, target.path]) yield* directory.sync(folder)
})

const replaySegment = Effect.fnUntraced(function* (
  directory: Directory,
  target: ReplayTarget,
  { index, entries }: { readonly index: number; readonly entries: ReadonlyArray<JournalEntryBytes> },
  report: RecoveryReport,
) {
  const path = segmentPath(target.path, index)
  const header = entries.find((entry) => entry.offset === 0)
  const isThere = (yield* directory.sizeOf(path)) !== undefined
  if (!isThere && header === undefined) {
    const from = index * 2 ** 28 + entries[0]!.offset
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
    const reason = "the commit journal has bytes of a segment whose file is missing"
    return report.add(target.name, { from, to: from + bytes, bytes, reason })
  }
  const file = yield* attempt(() => directory.openUnsafe(path, isThere ? "write" : "create"))
  const written = Effect.andThen(
    attempt(() => {
      const isOwn = hasOwnHeader(file, target.streamId, index)
      for (const { offset, bytes } of entries) {
        // The file's own header may be younger, and has slots.
        if (offset > 0 || !isOwn) file.writeUnsafe(bytes, 0, bytes.length, offset)
      }
    }),
    file.syncData,
  )
  yield* Effect.ensuring(
    written,
    Effect.sync(() => file.closeUnsafe()),
  )
})

const hasOwnHeader = (file: SegmentFile, streamId: number, index: number): boolean => {
  const block = new Uint8Array(segmentHeaderBytes)
  file.readUnsafe(block, 0, block.length, 0)
  const header = decodeSegmentHeader(block)
  return header?.streamId === streamId && header.segmentIndex === index
}
