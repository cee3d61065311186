/**
 * The record header: 8 bytes, 8 more with an extId, 8 more with a timestamp that does not fit, then the payload. Records are
 * not aligned. Written by the segment writer and read by the cursor with the constants of this file.
 */
import { field, type Layout, layout } from "./field_table.ts"

/** The first 8 bytes of a record. */
export interface RecordHeader {
  /** Bytes of the payload in the low 28 bits, flags above. */
  readonly lengthAndFlags: number
  /** Distance back to the header of its frame. */
  readonly frameDistance: number
  /** Milliseconds since the frame's timestamp. */
  readonly timestampDelta: number
}

/** The layout of a record header. */
export const recordHeader: Layout<RecordHeader> = layout("Record header", "inside a frame, back to back, not aligned", [
  field(
    "lengthAndFlags",
    "u32",
    "payload bytes in the low 28 bits; in the high 4: 1 extId, 2 timestamp, 4 control, 8 snapshot boundary",
  ),
  field("frameDistance", "u16", "distance back to the header of its frame"),
  field("timestampDelta", "u16", "milliseconds since the frame's timestamp"),
])

/** Bytes of a record header without extId and timestamp. */
export const recordHeaderBytes: number = recordHeader.sizeBytes
/** Bits of the payload length. */
export const payloadLengthMask = 0x0fffffff
/** Flag, already in its place in the high bits: 8 bytes of extId follow the header. */
export const recordHasExtId = 0x10000000
/** Flag: 8 bytes of timestamp follow. */
export const recordHasTimestamp = 0x20000000
/** Flag: not for readers of payloads. */
export const recordIsControl = 0x40000000
/** Flag: a snapshot starts here. */
export const recordIsSnapshotBoundary = 0x80000000
/** The farthest a record can lie behind its frame's header. */
export const frameDistanceMax = 0xffff
/** The largest timestamp delta that fits. */
export const timestampDeltaMax = 0xffff
