/**
 * The start of a segment file: a header written once, and two slots in which the writer repeats how far the stream is
 * durable. The slots lie in sectors of their own and are written in turn, so that a torn write spoils one of them at most.
 * A slot is written after the sync that makes it true, so what it says holds even if the slot itself is never synced.
 */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** Bytes before the first frame. */
export const segmentHeaderBytes = 1536
/** Where the two watermark slots lie. */
export const slotOffsets: readonly [number, number] = [512, 1024]
/** "AOFS" */
export const segmentMagic = 0x53464f41

/** What the header of a segment says. */
export interface SegmentHeader {
  /** 16 bytes, as in the root file. */
  readonly rootId: Uint8Array
  /** Id of the stream; never reused. */
  readonly streamId: number
  /** Below 2^25, rising within the stream; gaps are allowed. */
  readonly segmentIndex: number
  /** 0 for the first file of this index; raised by each replacement file. */
  readonly fileGeneration: number
  /** Epoch of the writer; 0 when none was taken. */
  readonly writerEpoch: number
  /** Number of the first record that this segment can hold. */
  readonly firstRecordNumber: number
  /** Bytes of frames in all segments before this one. */
  readonly baseOffset: number
  /** The largest extId before this segment. */
  readonly extIdMax: bigint
  /** The largest timestamp before this segment. */
  readonly timestampMsMax: number
  /** 0: a stream syncs its own segments. */
  readonly commitMode: number
  /** 0: no commit journal. */
  readonly journalPosition: number
  /** Unix time in milliseconds at which the segment was made. */
  readonly createdMs: number
  /** Start value of every CRC-32 in this file but the header's own. */
  readonly checksumSeed: number
}

/** A segment header with the fields that only its bytes have. */
export interface SegmentHeaderBytes extends SegmentHeader {
  /** `segmentMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** Offset of the first frame. */
  readonly headerBytes: number
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** The layout of a segment header. */
export const segmentHeader: Layout<SegmentHeaderBytes> = layout("Segment header", "at offset 0 of a segment file", [
  field("magic", "u32", "`AOFS`"),
  field("version", "u16", "now 1"),
  field("headerBytes", "u16", "offset of the first frame, 1536"),
  field("rootId", "bytes", "as in the root file", 16),
  field("streamId", "safe", "never reused"),
  field("segmentIndex", "u32", "below 2^25, rising within the stream"),
  field("fileGeneration", "u32", "raised by each replacement file of this index"),
  field("writerEpoch", "safe", "0 until a fencing epoch was taken"),
  field("firstRecordNumber", "safe", "number of the first record"),
  field("baseOffset", "safe", "bytes of frames in all segments before"),
  field("extIdMax", "u64", "largest extId before this segment"),
  field("timestampMsMax", "safe", "largest timestamp before this segment"),
  field("commitMode", "u32", "0: the segment is synced by itself"),
  field("spare", "reserved", "zero", 4),
  field("journalPosition", "safe", "0: no commit journal"),
  field("createdMs", "safe", "Unix time in milliseconds"),
  field("checksumSeed", "u32", "random; start value of every CRC-32 in this file but this header's"),
  field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
])

/** What a slot says about the stream at one moment. */
export interface WatermarkSlot {
  /** Rises with each slot written into this file. */
  readonly sequence: number
  /** Position (segment index * 2^28 + offset) at which the durable bytes end, always the end of a batch. */
  readonly watermark: number
  /** Number of the record that would follow there. */
  readonly nextRecordNumber: number
  /** Id of the last record below the watermark; 0 when there is none in this segment. */
  readonly lastRecordId: number
  /** Unix time of that record in milliseconds. */
  readonly lastTimestampMs: number
  /** Largest timestamp of the stream below the watermark. */
  readonly timestampMsMax: number
  /** Largest extId of the stream below the watermark. */
  readonly extIdMax: bigint
  /** As last set by the application. */
  readonly coordinatorWatermark: bigint
}

/** A watermark slot with its checksum. */
export interface WatermarkSlotBytes extends WatermarkSlot {
  /** CRC-32, with the segment's seed, of the bytes before it. */
  readonly checksum: number
}

/** The layout of a watermark slot. */
export const watermarkSlot: Layout<WatermarkSlotBytes> = layout(
  "Watermark slot",
  "at offsets 512 and 1024 of a segment file",
  [
    field("sequence", "safe", "the valid slot with the higher one counts; 0 never occurs"),
    field("watermark", "safe", "position (segment index * 2^28 + offset) at which the durable bytes end"),
    field("nextRecordNumber", "safe", "number of the record that would follow"),
    field("lastRecordId", "safe", "last record below the watermark, 0 when there is none in this segment"),
    field("lastTimestampMs", "safe", "its timestamp"),
    field("timestampMsMax", "safe", "largest timestamp of the stream up to there"),
    field("extIdMax", "u64", "largest extId of the stream up to there"),
    field("coordinatorWatermark", "u64", "as last set by the application"),
    field("spare", "reserved", "zero", 4),
    field("checksum", "u32", "CRC-32, seed of the segment, of the bytes before it"),
  ],
)

/** Writes a header into the first `segmentHeaderBytes` of `target`; both slots are left empty. */
export const encodeSegmentHeader = (target: Uint8Array, value: SegmentHeader): void => {
  const bytes = { ...value, magic: segmentMagic, version: 1, headerBytes: segmentHeaderBytes }
  target.fill(0, 0, segmentHeaderBytes)
  segmentHeader.encode(target, 0, { ...bytes, checksum: 0 })
  segmentHeader.encode(target, 0, { ...bytes, checksum: crc32(target.subarray(0, segmentHeader.at.checksum), 0) })
}

/** Reads a header; undefined when it does not check. */
export const decodeSegmentHeader = (source: Uint8Array): SegmentHeader | undefined => {
  const value = segmentHeader.decode(source, 0)
  if (value === undefined || value.magic !== segmentMagic || value.version !== 1) return undefined
  if (value.headerBytes !== segmentHeaderBytes) return undefined
  return value.checksum === crc32(source.subarray(0, segmentHeader.at.checksum), 0) ? value : undefined
}

/** Writes a slot at `start` of `target`. */
export const encodeWatermarkSlot = (target: Uint8Array, start: number, value: WatermarkSlot, seed: number): void => {
  watermarkSlot.encode(target, start, { ...value, checksum: 0 })
  const checksum = crc32(target.subarray(start, start + watermarkSlot.at.checksum), seed)
  watermarkSlot.encode(target, start, { ...value, checksum })
}

/** The valid slots of a header block, the newest first. */
export const decodeSlots = (source: Uint8Array, seed: number): ReadonlyArray<WatermarkSlot> => {
  const slots: Array<WatermarkSlot> = []
  for (const start of slotOffsets) {
    const slot = watermarkSlot.decode(source, start)
    if (slot === undefined || slot.sequence === 0) continue
    if (slot.checksum !== crc32(source.subarray(start, start + watermarkSlot.at.checksum), seed)) continue
    if (slot.sequence > (slots[0]?.sequence ?? 0)) slots.unshift(slot)
    else slots.push(slot)
  }
  return slots
}

/** The newest valid slot of a header block, or undefined. */
export const decodeNewestSlot = (source: Uint8Array, seed: number): WatermarkSlot | undefined =>
  decodeSlots(source, seed)[0]
