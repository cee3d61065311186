/**
 * The frame: the unit of checksum, of recovery and of visibility. A header at a multiple of 8, then records back to back. The
 * checksum starts from the segment's seed and covers the frame's own offset, so bytes of another segment, of an older file or
 * of another place never validate.
 */
import { crc32 } from "./checksum.ts"
import { field, getSafe, type Layout, layout } from "./field_table.ts"

/** Frames of small records close at this size; a record that does not fit has a frame of its own. */
export const frameBytesMax = 65536
/** Flag: the batch goes on in the next frame. */
export const frameContinues = 1
/** Flag: a producer block follows the header. */
export const frameHasProducer = 2
/** Flag: no record has an extId, and all have the frame's timestamp; recovery and index need not look at them. */
export const frameIsPlain = 4

/** The header of a frame, as numbers. */
export interface FrameHeader {
  /** CRC-32, with the segment's seed, of the frame's other bytes up to `lengthBytes`. */
  readonly checksum: number
  /** Bytes of header and records, without padding. */
  readonly lengthBytes: number
  /** Where this header lies in the segment file. */
  readonly offset: number
  /** Records in the frame, 1 or more. */
  readonly recordCount: number
  /** Number of the first record; the others follow without a gap. */
  readonly firstRecordNumber: number
  /** Unix time in milliseconds to which the records' deltas are added. */
  readonly timestampMs: number
  /** Position up to which the stream was durable when the frame was closed. */
  readonly watermark: number
  /** Sum of `frameContinues` and `frameHasProducer`, as they apply. */
  readonly flags: number
  /** Distance to the first record: 56, or 88 with a producer block. */
  readonly headerBytes: number
  /** Distance from this header to the last record. */
  readonly lastRecordDistance: number
  /** Offset of the first frame of this frame's batch. */
  readonly batchOffset: number
}

/** The layout of a frame header. */
export const frameHeader: Layout<FrameHeader> = layout(
  "Frame header",
  "at a multiple of 8; frames follow each other, padded with zeros to 8",
  [
    field("checksum", "u32", "CRC-32, seed of the segment, of the frame's other bytes up to its length"),
    field("lengthBytes", "u32", "of header and records, without padding"),
    field("offset", "u32", "of this header in the segment file"),
    field("recordCount", "u32", "at least 1"),
    field("firstRecordNumber", "safe", "number of the first record; the others follow"),
    field("timestampMs", "safe", "Unix time in milliseconds to which the records' offsets are added"),
    field("watermark", "safe", "position up to which the stream was durable when the frame was closed"),
    field(
      "flags",
      "u16",
      "1: the batch goes on in the next frame; 2: a producer block follows this header; 4: no record has an extId, all have the frame's timestamp",
    ),
    field("headerBytes", "u16", "distance to the first record: 56, or 88 with a producer block"),
    field("lastRecordDistance", "u32", "distance to the last record"),
    field("batchOffset", "u32", "offset of the first frame of this frame's batch; its own when the batch began here"),
    field("spare", "reserved", "zero", 4),
  ],
)

/** What a frame says about the producer of its records. */
export interface FrameProducer {
  /** Number of the producer. */
  readonly producerId: bigint
  /** Epoch of the producer. */
  readonly producerEpoch: number
  /** The producer's sequence number of this frame. */
  readonly sequence: number
}

/** The layout of a producer block. */
export const frameProducer: Layout<FrameProducer> = layout("Producer block", "behind a frame header with flag 2", [
  field("producerId", "u64", "of the producer"),
  field("producerEpoch", "safe", "of the producer"),
  field("sequence", "safe", "the producer's sequence number of this frame"),
  field("spare", "reserved", "zero", 8),
])

/** Bytes of a header without a producer block. */
export const frameHeaderBytes: number = frameHeader.sizeBytes

/** The next multiple of 8. */
export const alignFrame = (offset: number): number => (offset + 7) & ~7

/**
 * True when a frame starts at `at` of `source` which is offset `offset` of its segment. Looks at the header only: own offset,
 * lengths within bounds. Cheap enough to be tried at each multiple of 8.
 */
export const isFrameHeader = (view: DataView, at: number, offset: number, frameEndMax: number): boolean => {
  if (at + frameHeaderBytes > view.byteLength || view.getUint32(at + 8, true) !== offset) return false
  const lengthBytes = view.getUint32(at + 4, true)
  if (lengthBytes <= frameHeaderBytes || offset + lengthBytes > frameEndMax) return false
  const headerBytes = view.getUint16(at + 42, true)
  return headerBytes === frameHeaderBytes || headerBytes === frameHeaderBytes + frameProducer.sizeBytes
}

/** True when the whole frame at `at`, of which all bytes must be in `source`, has its checksum. */
export const isFrameIntact = (source: Uint8Array, view: DataView, at: number, seed: number): boolean => {
  const end = at + view.getUint32(at + 4, true)
  return end <= source.length && crc32(source.subarray(at + 4, end), seed) === view.getUint32(at, true)
}

/** Reads the `safe` field of a verified header. */
export const frameSafe = (view: DataView, at: number): number => getSafe(view, at) ?? 0

/** True when the records of the checked frame at `at` need not be looked at one by one. */
export const isPlain = (view: DataView, at: number): boolean =>
  (view.getUint16(at + frameHeader.at.flags, true) & frameIsPlain) !== 0
