/**
 * Moves staged bytes to the files. One synchronous `pwrite` a buffer; a failed one is remembered and tried again by the
 * flusher, the bytes staying in memory until a sync covers them.
 */
import { assert } from "../../model/assert.ts"
import type { Mark } from "../../state/watermark.ts"
import { caught } from "../flow/attempt.ts"
import { appendedMark, type StreamState } from "../stream/stream_state.ts"
import type { WritingSegment } from "./writing_segment.ts"

/** Closes the open frame and writes all that is staged, as far as nothing stands in the way. Returns true when all is written. */
export const writeOut = (stream: StreamState): boolean => {
  const { active } = stream
  active?.writer?.closeFrame()
  let isComplete = true
  for (const one of stream.sealing) isComplete = isComplete && writeSegment(stream, one)
  if (active !== undefined) isComplete = isComplete && writeSegment(stream, active)
  // Half a batch may be in the file, but no watermark may stand inside of it.
  if (isComplete && active?.writer?.isInBatch !== true) {
    const mark: Mark = appendedMark(stream)
    if (stream.written.advance(mark)) stream.writtenWaiters.wake(mark.position)
  }
  return isComplete
}

const writeSegment = (stream: StreamState, writing: WritingSegment): boolean => {
  const end = writing.endOffset
  if (writing.writtenOffset === end) return true
  if (writing.isReplacing) return false
  const limit = writing.zeroing === undefined ? end : Math.min(end, writing.zeroing.from)
  const error = caught(() => writeStaged(stream, writing, limit))
  if (error !== undefined) stream.failure = error
  return writing.writtenOffset === end
}

const writeStaged = (stream: StreamState, writing: WritingSegment, limit: number): void => {
  while (writing.writtenOffset < limit) {
    const from = writing.writtenOffset
    const staged = writing.tail.find(from)
    assert(staged !== undefined, "unwritten bytes are staged")
    const to = Math.min(staged.end, limit)
    writing.file.writeUnsafe(staged.bytes, from - staged.base, to - staged.base, from)
    writing.writtenOffset = to
    writing.segment.fileEnd = to
    writing.segment.framesEnd = Math.max(writing.segment.framesEnd, to)
    stream.counters.writes++
    stream.counters.writtenBytes += to - from
  }
}
