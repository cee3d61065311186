/**
 * After a failed sync the kernel may have dropped what was written, so the file is not trusted any more: a replacement with the
 * same index and seed and a higher generation takes the durable bytes from disk and the rest from memory, is synced, and is
 * renamed over the old one. Record ids hold. Until that worked, nothing is durable and nothing is written to the old file.
 */
import * as Effect from "effect/Effect"
import {
  encodeSegmentHeader,
  type SegmentHeader,
  segmentHeaderBytes,
  slotOffsets,
} from "../../format/segment_header.ts"
import { assert } from "../../model/assert.ts"
import { type AofError, closed, unavailable } from "../../model/errors.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { attempt } from "../flow/attempt.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { firstSlot, noteNamed } from "./watermark_slot.ts"
import type { WritingSegment } from "./writing_segment.ts"

const copyBytes = 1024 * 1024

/**
 * Replaces the file of `writing` by one that holds all written bytes durably, but for its directory entry, which is left to be synced.
 * On failure the old file stays in place, and suspect.
 */
export const replaceFile = (stream: StreamState, writing: WritingSegment): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { segment } = writing
    const path = `${segment.path}.tmp`
    if (writing.isReplacing) return Effect.fail(unavailable("replacing a segment file", "EBUSY", segment.path))
    writing.isReplacing = true
    writing.isSuspect = true
    writing.hasFlushFailed = true
    const header = { ...segment.header, fileGeneration: segment.header.fileGeneration + 1 }
    return replace(stream, writing, { path, header }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          writing.isReplacing = false
        }),
      ),
    )
  })

const replace = Effect.fnUntraced(function* (
  stream: StreamState,
  writing: WritingSegment,
  next: { readonly path: string; readonly header: SegmentHeader },
): Effect.fn.Return<void, AofError> {
  const { directory, manifest } = stream.services
  const { segment } = writing
  const { path, header } = next
  while (writing.zeroing !== undefined || writing.isInBatch) yield* Effect.sleep(1)
  yield* directory.remove(path)
  const file = yield* attempt(() => directory.openUnsafe(path, "create"))
  // A watermark of the application that was durable must not go with the old file.
  const { value, version } = stream.coordinator
  const slot = value === 0n && version === 0 ? undefined : firstSlot(stream, writing)
  yield* Effect.onError(
    Effect.gen(function* () {
      yield* attempt(() => copyInto(file, writing, { header, slot }))
      yield* file.syncData
      // Whoever closed the stream may have given the root to another process.
      if (stream.closedAs !== undefined) return yield* Effect.fail(closed(stream.closedAs))
      yield* directory.rename(path, segment.path)
    }),
    () => Effect.sync(() => file.closeUnsafe()),
  )
  // From the rename on the old file has no name: whatever happens next, bytes must go to the new one.
  segment.exchangeFile(file)
  segment.header = header
  writing.isSuspect = false
  writing.isEntrySynced = false
  writing.slotSequence = slot === undefined ? 0 : 1
  writing.slotMark = undefined
  if (slot !== undefined) noteNamed(stream, writing, version)
  writing.slotOffset = segmentHeaderBytes
  writing.zeroedEnd = writing.writtenOffset
  manifest.append({
    type: "SegmentOpened",
    streamId: stream.streamId,
    segmentIndex: segment.index,
    fileGeneration: header.fileGeneration,
    firstRecordNumber: header.firstRecordNumber,
    baseOffset: header.baseOffset,
  })
})

const copyInto = (
  file: SegmentFile,
  writing: WritingSegment,
  { header, slot }: { readonly header: SegmentHeader; readonly slot: Uint8Array | undefined },
): void => {
  const buffer = new Uint8Array(copyBytes)
  encodeSegmentHeader(buffer, header)
  if (slot !== undefined) buffer.set(slot, slotOffsets[1])
  file.writeUnsafe(buffer, 0, segmentHeaderBytes, 0)
  let offset = segmentHeaderBytes
  while (offset < writing.durableOffset) {
    const count = writing.file.readUnsafe(buffer, 0, Math.min(copyBytes, writing.durableOffset - offset), offset)
    if (count === 0) throw unavailable("reading durable bytes to replace a file", "EIO", file.path)
    file.writeUnsafe(buffer, 0, count, offset)
    offset += count
  }
  while (offset < writing.writtenOffset) {
    const staged = writing.tail.find(offset)
    assert(staged !== undefined, "bytes that no sync covers are staged")
    const end = Math.min(staged.end, writing.writtenOffset)
    file.writeUnsafe(staged.bytes, offset - staged.base, end - staged.base, offset)
    offset = end
  }
}
