/** What the writer repeats about the stream: in the slots of the active segment, and in the footer of one that ends. */
import { encodeWatermarkSlot, slotOffsets, watermarkSlot } from "../../format/segment_header.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { SegmentStats, WritingSegment } from "./writing_segment.ts"

/** What a footer would say of the active segment now. */
export const statsOf = (stream: StreamState, writing: WritingSegment): SegmentStats => {
  const first = writing.segment.header.firstRecordNumber
  const { nextRecordNumber, lastRecordId, lastTimestampMs, timestampMsMax, extIdMax } = stream.writer
  const recordCount = nextRecordNumber - first
  return {
    recordCount,
    lastRecordId: recordCount === 0 ? 0 : lastRecordId,
    firstTimestampMs: writing.firstTimestampMs,
    lastTimestampMs: recordCount === 0 ? 0 : lastTimestampMs,
    timestampMsMax,
    extIdMax: BigInt(extIdMax),
  }
}

/**
 * Takes back what two equal slots say, that the file was closed in order: from now on ids are given that a kill may take away
 * before anything of them is in the file. Throws `Unavailable`.
 */
export const markOpen = (writing: WritingSegment): void => {
  const zeros = new Uint8Array(watermarkSlot.sizeBytes)
  writing.file.writeUnsafe(zeros, 0, zeros.length, slotOffsets[(writing.slotSequence + 1) % 2]!)
  writing.closedWith = undefined
}

/** Repeats the durable watermark in the slot that is not the newest. Throws `Unavailable`; nobody depends on the slot. */
export const writeSlot = (stream: StreamState, writing: WritingSegment): void => {
  const { segment } = writing
  const { position, nextRecordNumber, lastRecordId } = stream.durable.mark
  const sequence = writing.slotSequence + 1
  const bytes = new Uint8Array(watermarkSlot.sizeBytes)
  encodeWatermarkSlot(
    bytes,
    0,
    {
      sequence,
      watermark: position,
      nextRecordNumber,
      lastRecordId: lastRecordId >= segment.position(0) ? lastRecordId : 0,
      lastTimestampMs: stream.durable.mark.lastTimestampMs,
      timestampMsMax: stream.durable.mark.timestampMsMax,
      extIdMax: BigInt(stream.durable.mark.extIdMax),
      coordinatorWatermark: stream.coordinatorWatermark,
    },
    segment.header.checksumSeed,
  )
  writing.file.writeUnsafe(bytes, 0, bytes.length, slotOffsets[sequence % 2]!)
  stream.isCoordinatorUnsaved = false
  writing.slotSequence = sequence
  writing.slotOffset = writing.durableOffset
}
