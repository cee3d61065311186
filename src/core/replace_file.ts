/**
 * After a failed sync the kernel may have dropped what was written, so the file is not trusted any more: a replacement with the
 * same index and seed and a higher generation takes the durable bytes from disk and the rest from memory, is synced, and is
 * renamed over the old one. Record ids hold. Until that worked, nothing is durable and nothing is written to the old file.
 */
import * as Effect from "effect/Effect"
import { encodeSegmentHeader, segmentHeaderBytes } from "../format/segment_header.ts"
import type { AofError } from "../model/errors.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import { attempt } from "./attempt.ts"
import type { StreamState } from "./stream_state.ts"
import type { WritingSegment } from "./writing_segment.ts"

const copyBytes = 1024 * 1024

/** Replaces the file of `writing` by one that holds all written bytes durably. On failure the old one stays in place. */
export const replaceFile = (stream: StreamState, writing: WritingSegment): Effect.Effect<void, AofError> => {
  const { segment } = writing
  const { directory, manifest } = stream.services
  const path = `${segment.path}.tmp`
  writing.isReplacing = true
  writing.hasFlushFailed = true
  const header = { ...segment.header, fileGeneration: segment.header.fileGeneration + 1 }
  return Effect.gen(function* () {
    while (writing.zeroing !== undefined) yield* Effect.sleep(1)
    yield* directory.remove(path)
    const file = yield* attempt(() => directory.openUnsafe(path, "create"))
    yield* Effect.onError(
      Effect.gen(function* () {
        yield* attempt(() => copyInto(file, writing, header))
        yield* file.syncData
        yield* directory.rename(path, segment.path)
        yield* directory.sync(stream.path)
      }),
      () => Effect.sync(() => file.closeUnsafe()),
    )
    const old = segment.file
    segment.file = file
    segment.header = header
    old?.closeUnsafe()
    writing.isEntrySynced = true
    writing.slotSequence = 0
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
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        writing.isReplacing = false
      }),
    ),
  )
}

const copyInto = (
  file: SegmentFile,
  writing: WritingSegment,
  header: Parameters<typeof encodeSegmentHeader>[1],
): void => {
  const buffer = new Uint8Array(copyBytes)
  encodeSegmentHeader(buffer, header)
  file.writeUnsafe(buffer, 0, segmentHeaderBytes, 0)
  let offset = segmentHeaderBytes
  while (offset < writing.durableOffset) {
    const count = writing.file.readUnsafe(buffer, 0, Math.min(copyBytes, writing.durableOffset - offset), offset)
    if (count === 0) break
    file.writeUnsafe(buffer, 0, count, offset)
    offset += count
  }
  offset = writing.durableOffset
  while (offset < writing.writtenOffset) {
    const staged = writing.tail.find(offset)!
    const end = Math.min(staged.end, writing.writtenOffset)
    file.writeUnsafe(staged.bytes, offset - staged.base, end - staged.base, offset)
    offset = end
  }
}
