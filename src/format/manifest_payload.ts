/**
 * What the records of the manifest carry about streams, segments and the root: one field table each. What they carry about the tiers
 * is in `manifest_tier_payload.ts`.
 */
import { field, type Layout, layout } from "./field_table.ts"

/** A segment file was created and is about to take records. */
export interface SegmentOpened {
  /** Index of the segment in its stream. */
  readonly segmentIndex: number
  /** 0 for the first file of the index, raised by each replacement file. */
  readonly fileGeneration: number
  /** Number of the first record that it can hold. */
  readonly firstRecordNumber: number
  /** Bytes of frames in all segments before it. */
  readonly baseOffset: number
}

/** The layout of `SegmentOpened`. */
export const segmentOpened: Layout<SegmentOpened> = layout("SegmentOpened", "payload of type 0", [
  field("segmentIndex", "u32", "as in the segment's header"),
  field("fileGeneration", "u32", "as in the segment's header"),
  field("firstRecordNumber", "safe", "as in the segment's header"),
  field("baseOffset", "safe", "as in the segment's header"),
])

/** A segment has its durable footer; what the footer says, so that no sealed segment is touched when a root opens. */
export interface SealSegment extends SegmentOpened {
  /** Records in the segment. */
  readonly recordCount: number
  /** Offset at which its frames end. */
  readonly durableBytes: number
  /** Length of the sealed file. */
  readonly fileBytes: number
  /** Flags of the footer, such as `footerFlushFailed`. */
  readonly flags: number
  /** Start value of the CRC-32s in that file. */
  readonly checksumSeed: number
  /** Its last record; 0 when it has none. */
  readonly lastRecordId: number
  /** Unix time of its first record in milliseconds. */
  readonly firstTimestampMs: number
  /** Unix time of its last record in milliseconds. */
  readonly lastTimestampMs: number
  /** Largest timestamp of the stream up to the end of this segment. */
  readonly timestampMsMax: number
  /** Largest extId of the stream up to the end of this segment. */
  readonly extIdMax: bigint
  /** As last set by the application. */
  readonly coordinatorWatermark: bigint
  /** Unix time of the seal in milliseconds. */
  readonly sealedMs: number
  /** CRC-64/NVME of the file, as its footer holds it. */
  readonly checksum64: bigint
}

/** The layout of `SealSegment`. */
export const sealSegment: Layout<SealSegment> = layout("SealSegment", "payload of type 1", [
  field("segmentIndex", "u32", "as in the segment's footer"),
  field("fileGeneration", "u32", "as in the segment's footer"),
  field("firstRecordNumber", "safe", "as in the segment's footer"),
  field("recordCount", "safe", "as in the segment's footer"),
  field("baseOffset", "safe", "as in the segment's header"),
  field("durableBytes", "u32", "as in the segment's footer"),
  field("fileBytes", "u32", "length of the sealed file"),
  field("flags", "u16", "as in the segment's footer"),
  field("spare", "reserved", "zero", 2),
  field("checksumSeed", "u32", "as in the segment's header"),
  field("lastRecordId", "safe", "as in the segment's footer"),
  field("firstTimestampMs", "safe", "as in the segment's footer"),
  field("lastTimestampMs", "safe", "as in the segment's footer"),
  field("timestampMsMax", "safe", "as in the segment's footer"),
  field("extIdMax", "u64", "as in the segment's footer"),
  field("coordinatorWatermark", "u64", "as in the segment's footer"),
  field("sealedMs", "safe", "as in the segment's footer"),
  field("checksum64", "u64", "as in the segment's footer"),
])

/** Everything before `firstRecordId` is gone. */
export interface Trim {
  /** The first record id that is left, or the position at which it will be. */
  readonly firstRecordId: number
  /** Its record number. */
  readonly firstRecordNumber: number
}

/** The layout of `Trim`. */
export const trim: Layout<Trim> = layout("Trim", "payload of type 16", [
  field("firstRecordId", "safe", "the first record id that is left, or the position at which it will be"),
  field("firstRecordNumber", "safe", "its record number"),
])

/** The last record of a snapshot. */
export interface SnapshotMarker {
  /** Log records up to this sequence are contained in the snapshot. */
  readonly coversSequence: number
  /** Id of the next stream that is created; ids are never reused. */
  readonly nextStreamId: number
  /** Streams in the snapshot. */
  readonly streamCount: number
  /** Records in the snapshot before this one. */
  readonly recordCount: number
}

/** The layout of `SnapshotMarker`. */
export const snapshotMarker: Layout<SnapshotMarker> = layout(
  "SnapshotMarker",
  "payload of type 14, the last record of a snapshot",
  [
    field("coversSequence", "safe", "log records up to this sequence are contained in the snapshot"),
    field("nextStreamId", "safe", "id of the next stream that is created; ids are never reused"),
    field("streamCount", "safe", "streams in the snapshot"),
    field("recordCount", "safe", "records in the snapshot before this one"),
  ],
)

/** A stream has come to be under this name. */
export interface StreamCreated {
  /** 1 to 128 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string
}

/** The layout of what lies before the name of a `StreamCreated`. */
export const streamCreated: Layout<{ readonly nameBytes: number }> = layout(
  "StreamCreated",
  "payload of type 18, before the name in UTF-8, padded to 8",
  [field("nameBytes", "u32", "bytes of the name that follows"), field("spare", "reserved", "zero", 4)],
)

/** Who writes the root from here on. */
export interface Epoch {
  /** Rises with each take-over. */
  readonly epoch: number
  /** 16 bytes drawn when the writer opened the root: two writers of one epoch differ in it. */
  readonly nonce: Uint8Array
}

/** The layout of `Epoch`. */
export const epoch: Layout<Epoch> = layout("Epoch", "payload of type 17", [
  field("epoch", "safe", "epoch of the writer from this record on"),
  field("nonce", "bytes", "drawn when that writer opened the root", 16),
])

/** Largest payload of a `CustomEvent` in bytes. */
export const customEventBytesMax = 4096

/** Something that the application wants in the log; it is not part of the state. */
export interface CustomEvent {
  /** The application's own number, 0 to 2^32 - 1. */
  readonly kind: number
  /** At most `customEventBytesMax` bytes, the application's own. */
  readonly payload: Uint8Array
}

/** The layout of what lies before the bytes of a `CustomEvent`. */
export const customEvent: Layout<{ readonly kind: number; readonly payloadBytes: number }> = layout(
  "CustomEvent",
  "payload of type 15, before the application's bytes, padded to 8",
  [
    field("kind", "u32", "the application's own number"),
    field("payloadBytes", "u32", "bytes of the application that follow, at most 4096"),
  ],
)
