/** A stream's part of one group of the commit journal. */
import { encodeSegmentHeader, segmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import { assert } from "../../model/assert.ts"
import type { JournalWriter } from "../../state/journal_writer.ts"
import type { Mark } from "../../state/watermark.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import { appendedMark, type StreamState } from "../stream/stream_state.ts"

/** What of a stream is on its way in a group. */
export interface JournalMember {
  readonly stream: StreamState
  readonly writing: WritingSegment
  /** Where in the segment its bytes end. */
  readonly end: number
  /** False when the journal has all of it already. */
  readonly hasBytes: boolean
  /** What is durable with the group. */
  readonly mark: Mark
}

/** Puts what a stream has appended into the group; undefined when it does not fit any more, and then nothing has changed. */
export const gatherMember = (stream: StreamState, writer: JournalWriter): JournalMember | undefined => {
  const writing = stream.active!
  writing.writer!.closeFrame()
  const end = writing.endOffset
  const from = Math.max(writing.durableOffset, writing.journaledOffset)
  // Without it recovery could not make a file of which a power cut has left nothing.
  const isNew = !writing.isEntrySynced && from === segmentHeaderBytes
  if (!writer.fits(end - from + (isNew ? segmentHeader.sizeBytes : 0), 2)) return undefined
  const { streamId } = stream
  const { index: segmentIndex } = writing.segment
  if (isNew) {
    const at = writer.add({ streamId, segmentIndex, offset: 0, lengthBytes: segmentHeader.sizeBytes })
    const block = new Uint8Array(segmentHeaderBytes)
    encodeSegmentHeader(block, writing.segment.header)
    writer.bytes.set(block.subarray(0, segmentHeader.sizeBytes), at)
  }
  if (end > from) {
    const at = writer.add({ streamId, segmentIndex, offset: from, lengthBytes: end - from })
    copyStaged(writing, { from, end }, writer.bytes, at)
  }
  stream.flushWanted = 0
  return { stream, writing, end, hasBytes: end > from, mark: appendedMark(stream) }
}

/** The journal's file has it: a kill takes it away no more. */
export const noteWritten = ({ stream, writing, end, mark }: JournalMember): void => {
  const { segment } = writing
  if (end > segment.framesEnd) {
    segment.fileEnd = writing.writtenOffset
    segment.framesEnd = end
  }
  if (stream.written.advance(mark)) stream.writtenWaiters.wake(mark.position)
}

/** Copies staged bytes of a segment. */
export const copyStaged = (
  writing: WritingSegment,
  { from, end }: { readonly from: number; readonly end: number },
  target: Uint8Array,
  at: number,
): void => {
  for (let offset = from; offset < end; ) {
    const staged = writing.tail.find(offset)
    assert(staged !== undefined, "bytes that are not durable are staged")
    const to = Math.min(staged.end, end)
    target.set(staged.bytes.subarray(offset - staged.base, to - staged.base), at + offset - from)
    offset = to
  }
}
