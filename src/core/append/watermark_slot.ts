/**
 * What the writer repeats about the stream: in the slots of the active segment, and in the footer of one that ends.
 *
 * Invariant: whatever a power cut leaves of the slots, one of them names the watermark of the application that was durable, or a later
 * one. So none of them is ever destroyed: what takes the place of one names what is newer.
 */
import { encodeWatermarkSlot, slotOffsets, watermarkSlot } from "../../format/segment_header.ts"
import type { Mark } from "../../state/watermark.ts"
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
export const markOpen = (stream: StreamState, writing: WritingSegment): void => {
  const { coordinator } = stream
  const sequence = writing.slotSequence - 1
  // The newest slot may not be synced: then this one has to say what it says.
  const bytes =
    coordinator.version === 0 || sequence < 1
      ? new Uint8Array(watermarkSlot.sizeBytes)
      : encodeSlot(stream, writing, { sequence, mark: undefined })
  writing.file.writeUnsafe(bytes, 0, bytes.length, slotOffsets[(writing.slotSequence + 1) % 2]!)
  writing.isClosedInOrder = false
}

/** Writes `mark`, which is durable in the file itself, to the slot that is not the newest. Throws `Unavailable`. */
export const writeSlot = (stream: StreamState, writing: WritingSegment, mark: Mark | undefined): void => {
  const sequence = writing.slotSequence + 1
  putSlot(stream, writing, { sequence, mark })
  writing.slotSequence = sequence
  writing.slotMark = mark
  noteNamed(stream, writing, stream.coordinator.version)
}

/**
 * Repeats the durable watermark, and with it that of the application, in a file whose header is durable. While the journal is ahead of the file it is the former one:
 * slots are read by those who do not look into the journal. Throws `Unavailable`.
 */
export const repeatSlot = (stream: StreamState, writing: WritingSegment): void => {
  const isBehind = writing.journaledOffset > writing.durableOffset
  const mark = isBehind ? writing.slotMark : stream.durable.mark
  // Two slots with one watermark would say that the file was closed in order.
  const isSame = writing.slotSequence > 0 && mark?.position === writing.slotMark?.position
  if (isSame && !writing.isClosedInOrder) putSlot(stream, writing, { sequence: writing.slotSequence, mark: undefined })
  writeSlot(stream, writing, mark)
  if (!isBehind) writing.slotOffset = writing.durableOffset
}

/** The bytes of the first slot of a file that takes the place of another one. */
export const firstSlot = (stream: StreamState, writing: WritingSegment): Uint8Array =>
  encodeSlot(stream, writing, { sequence: 1, mark: undefined })

/** The newest slot, or the footer, names this change of the watermark of the application. */
export const noteNamed = (stream: StreamState, writing: WritingSegment, version: number): void => {
  // A later segment whose slots name an older value has the last word.
  if (!isLastWord(stream, writing)) return
  writing.coordinatorVersion = version
  stream.coordinator.noteWritten(version)
}

interface Slot {
  readonly sequence: number
  /** Undefined for a slot that says nothing but the watermark of the application. */
  readonly mark: Mark | undefined
}

const putSlot = (stream: StreamState, writing: WritingSegment, slot: Slot): void => {
  const bytes = encodeSlot(stream, writing, slot)
  writing.file.writeUnsafe(bytes, 0, bytes.length, slotOffsets[slot.sequence % 2]!)
}

const encodeSlot = (stream: StreamState, { segment }: WritingSegment, { sequence, mark }: Slot): Uint8Array => {
  const { firstRecordNumber, timestampMsMax, extIdMax, checksumSeed } = segment.header
  const lastRecordId = mark?.lastRecordId ?? 0
  const bytes = new Uint8Array(watermarkSlot.sizeBytes)
  const slot = {
    sequence,
    watermark: mark?.position ?? 0,
    nextRecordNumber: mark?.nextRecordNumber ?? firstRecordNumber,
    lastRecordId: lastRecordId >= segment.position(0) ? lastRecordId : 0,
    lastTimestampMs: mark?.lastTimestampMs ?? 0,
    timestampMsMax: mark?.timestampMsMax ?? timestampMsMax,
    extIdMax: BigInt(mark?.extIdMax ?? extIdMax),
    coordinatorWatermark: stream.coordinator.value,
  }
  encodeWatermarkSlot(bytes, 0, slot, checksumSeed)
  return bytes
}

/** True when no slot of a later segment says how far the application has come. */
const isLastWord = ({ active, sealing }: StreamState, writing: WritingSegment): boolean => {
  if (writing === active) return true
  const later = [...sealing.slice(sealing.indexOf(writing) + 1), active]
  return later.every((one) => one === undefined || one.slotSequence === 0)
}
