/**
 * What a seal appends to the frames of a segment: a sparse index, the producers' last states, and a footer that ends the file.
 * The footer's CRC-32 allows to trust the footer alone, `tailChecksum` the index and producers, `checksum64` the whole file.
 */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** One index entry for each of these many bytes of segment. */
export const indexStride = 65536

/** The maxima run over all records of the stream before the frame. */
export interface IndexEntry {
  /** Offset of the first frame that starts in a stretch of `indexStride` bytes. */
  readonly frameOffset: number
  /** Number of that frame's first record. */
  readonly firstRecordNumber: number
  /** Largest timestamp, in Unix milliseconds. */
  readonly timestampMsMax: number
  /** Largest extId. */
  readonly extIdMax: bigint
}

/** The layout of an index entry. */
export const indexEntry: Layout<IndexEntry> = layout(
  "Index entry",
  "from `indexOffset` of a sealed segment, in order of offset",
  [
    field("frameOffset", "u32", "of the first frame that starts in a 64 KiB stretch"),
    field("spare", "reserved", "zero", 4),
    field("firstRecordNumber", "safe", "of that frame"),
    field("timestampMsMax", "safe", "largest timestamp of the stream before that frame"),
    field("extIdMax", "u64", "largest extId of the stream before that frame"),
  ],
)

/** The last state of a producer, kept so that it outlives a trim. */
export interface ProducerEntry {
  /** Number of the producer. */
  readonly producerId: bigint
  /** Its last epoch. */
  readonly producerEpoch: number
  /** Its last sequence number. */
  readonly sequence: number
  /** The last record that it wrote. */
  readonly lastRecordId: number
}

/** The layout of a producer entry. */
export const producerEntry: Layout<ProducerEntry> = layout(
  "Producer entry",
  "behind the index, in order of producer id",
  [
    field("producerId", "u64", "of the producer"),
    field("producerEpoch", "safe", "its last epoch"),
    field("sequence", "safe", "its last sequence number"),
    field("lastRecordId", "safe", "last record that it wrote"),
  ],
)

/** Footer flag: a sync of this segment had failed and its bytes were written again. */
export const footerFlushFailed = 1

/** What a footer says about its segment. */
export interface SegmentFooter {
  /** 0 or `footerFlushFailed`. */
  readonly flags: number
  /** Id of the stream, as in the header. */
  readonly streamId: number
  /** Index of the segment, as in the header. */
  readonly segmentIndex: number
  /** Generation of the file, as in the header. */
  readonly fileGeneration: number
  /** Number of the first record, as in the header. */
  readonly firstRecordNumber: number
  /** Records in this segment. */
  readonly recordCount: number
  /** Offset at which the frames end: the durable bytes of the segment. */
  readonly durableBytes: number
  /** Offset of the first index entry. */
  readonly indexOffset: number
  /** Number of index entries. */
  readonly indexCount: number
  /** Number of producer entries, which follow the index. */
  readonly producerCount: number
  /** The last record; 0 when the segment is empty. */
  readonly lastRecordId: number
  /** Unix time of the first record in milliseconds. */
  readonly firstTimestampMs: number
  /** Unix time of the last record in milliseconds. */
  readonly lastTimestampMs: number
  /** Largest timestamp of the stream up to the end of this segment. */
  readonly timestampMsMax: number
  /** Largest extId of the stream up to the end of this segment. */
  readonly extIdMax: bigint
  /** As last set by the application. */
  readonly coordinatorWatermark: bigint
  /** Epoch of the writer that sealed. */
  readonly writerEpoch: number
  /** Unix time of the seal in milliseconds. */
  readonly sealedMs: number
  /** CRC-32, with the segment's seed, of index and producer entries. */
  readonly tailChecksum: number
}

/** A footer with the fields that only its bytes have. */
export interface SegmentFooterBytes extends SegmentFooter {
  /** `footerMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** CRC-32, with the segment's seed, of the footer's bytes before it. */
  readonly checksum: number
  /** CRC-64/NVME of all bytes of the file before it. */
  readonly checksum64: bigint
}

/** "AOFF" */
export const footerMagic = 0x46464f41

/** The layout of a footer. */
export const segmentFooter: Layout<SegmentFooterBytes> = layout(
  "Segment footer",
  "the last bytes of a sealed segment",
  [
    field("magic", "u32", "`AOFF`"),
    field("version", "u16", "now 1"),
    field("flags", "u16", "1: a sync had failed and the bytes were written again"),
    field("streamId", "safe", "as in the header"),
    field("segmentIndex", "u32", "as in the header"),
    field("fileGeneration", "u32", "as in the header"),
    field("firstRecordNumber", "safe", "as in the header"),
    field("recordCount", "safe", "records in this segment"),
    field("durableBytes", "u32", "offset at which the frames end"),
    field("indexOffset", "u32", "offset of the first index entry"),
    field("indexCount", "u32", "number of index entries"),
    field("producerCount", "u32", "number of producer entries behind the index"),
    field("lastRecordId", "safe", "0 when the segment is empty"),
    field("firstTimestampMs", "safe", "of the first record"),
    field("lastTimestampMs", "safe", "of the last record"),
    field("timestampMsMax", "safe", "largest timestamp of the stream up to the end of this segment"),
    field("extIdMax", "u64", "largest extId of the stream up to the end of this segment"),
    field("coordinatorWatermark", "u64", "as last set by the application"),
    field("writerEpoch", "safe", "of the writer that sealed"),
    field("sealedMs", "safe", "Unix time in milliseconds"),
    field("spare", "reserved", "zero", 24),
    field("tailChecksum", "u32", "CRC-32, seed of the segment, of index and producer entries"),
    field("checksum", "u32", "CRC-32, seed of the segment, of the footer's bytes before it"),
    field("checksum64", "u64", "CRC-64/NVME of all bytes of the file before it"),
  ],
)

/** Writes all of a footer but its `checksum64`, which covers it, into `target` at `start`. */
export const encodeSegmentFooter = (target: Uint8Array, start: number, value: SegmentFooter, seed: number): void => {
  const bytes = { ...value, magic: footerMagic, version: 1, checksum64: 0n }
  segmentFooter.encode(target, start, { ...bytes, checksum: 0 })
  const checksum = crc32(target.subarray(start, start + segmentFooter.at.checksum), seed)
  segmentFooter.encode(target, start, { ...bytes, checksum })
}

/** Reads a footer and its `checksum64`; undefined when its CRC-32 does not check. */
export const decodeSegmentFooter = (
  source: Uint8Array,
  start: number,
  seed: number,
): (SegmentFooter & { readonly checksum64: bigint }) | undefined => {
  const value = segmentFooter.decode(source, start)
  if (value === undefined || value.magic !== footerMagic || value.version !== 1) return undefined
  return value.checksum === crc32(source.subarray(start, start + segmentFooter.at.checksum), seed) ? value : undefined
}
