/**
 * The records of the manifest: what happened to streams and segments. A header of fixed size, then a payload laid out by type, padded
 * with zeros to a multiple of 8. Types that this code does not know are carried as `Raw` with their payload, byte for byte, and
 * so are known ones whose payload is too short; what a later version has put behind a known payload is kept in `rest`.
 */
import { assert } from "../model/assert.ts"
import { crc64 } from "./checksum.ts"
import { field, getSafe, type Layout, layout } from "./field_table.ts"

/** The largest record, header included, in bytes. */
export const manifestRecordBytesMax = 8192

/** Every record type and its number on disk; new ones append, and a number is never reused. */
export const manifestTypes: ReadonlyArray<string> = [
  "SegmentOpened",
  "SealSegment",
  "CompressionStarted",
  "CompressionDone",
  "CompressionFailed",
  "UploadStarted",
  "UploadDone",
  "UploadFailed",
  "Tier2DeleteQueued",
  "Tier2Deleted",
  "HydrationStarted",
  "HydrationDone",
  "HydrationFailed",
  "LocalEvicted",
  "SnapshotMarker",
  "CustomEvent",
  "Trim",
  "Epoch",
  "StreamCreated",
  "StreamDeleted",
]

/** The header of a manifest record. */
export interface ManifestRecordHeader {
  /** Bytes of the whole record: a multiple of 8, at most `manifestRecordBytesMax`. */
  readonly lengthBytes: number
  /** Index into `manifestTypes`; a later version may use higher numbers. */
  readonly type: number
  /** Why it happened; 0 when no reason is given. */
  readonly reasonCode: number
  /** From 1: dense over all log chunks, or within one snapshot. */
  readonly sequence: number
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** The stream concerned; 0 for the whole root. */
  readonly streamId: number
  /** CRC-64/NVME of the record without these 8 bytes. */
  readonly checksum64: bigint
}

/** The layout of a manifest record's header. */
export const manifestRecordHeader: Layout<ManifestRecordHeader> = layout(
  "Manifest record header",
  "at a multiple of 8, back to back",
  [
    field("lengthBytes", "u32", "of the whole record, a multiple of 8, at most 8192"),
    field("type", "u16", "number of the record type"),
    field("reasonCode", "u16", "why it happened, 0: no reason given"),
    field(
      "sequence",
      "safe",
      "in a log chunk: from 1, dense over all chunks; in a snapshot: from 1 within the snapshot",
    ),
    field("timestampMs", "safe", "Unix time in milliseconds"),
    field("streamId", "safe", "the stream concerned; 0: the whole root"),
    field("checksum64", "u64", "CRC-64/NVME of the record without these 8 bytes"),
  ],
)

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

const segmentOpened: Layout<SegmentOpened> = layout("SegmentOpened", "payload of type 0", [
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

const sealSegment: Layout<SealSegment> = layout("SealSegment", "payload of type 1", [
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

const trim: Layout<Trim> = layout("Trim", "payload of type 16", [
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

const snapshotMarker: Layout<SnapshotMarker> = layout(
  "SnapshotMarker",
  "payload of type 14, the last record of a snapshot",
  [
    field("coversSequence", "safe", "log records up to this sequence are contained in the snapshot"),
    field("nextStreamId", "safe", "id of the next stream that is created; ids are never reused"),
    field("streamCount", "safe", "streams in the snapshot"),
    field("recordCount", "safe", "records in the snapshot before this one"),
  ],
)

interface StreamCreatedBytes {
  readonly nameBytes: number
}

const streamCreated: Layout<StreamCreatedBytes> = layout(
  "StreamCreated",
  "payload of type 18, before the name in UTF-8, padded to 8",
  [field("nameBytes", "u32", "bytes of the name that follows"), field("spare", "reserved", "zero", 4)],
)

/** The payload tables that this version knows, for printing. `StreamDeleted` (19) has no payload. */
export const manifestPayloads: ReadonlyArray<Layout<any>> = [
  segmentOpened,
  sealSegment,
  snapshotMarker,
  trim,
  streamCreated,
]

/** What each record type carries. `Raw` stands for every other number. */
export interface ManifestBodies {
  /** A segment file was created. */
  readonly SegmentOpened: SegmentOpened
  /** A segment has its durable footer. */
  readonly SealSegment: SealSegment
  /** A snapshot ends. */
  readonly SnapshotMarker: SnapshotMarker
  /** Everything before a record is gone. */
  readonly Trim: Trim
  /** A stream has come to be under this name. */
  readonly StreamCreated: { readonly name: string }
  /** A stream is gone; nothing is carried. */
  readonly StreamDeleted: unknown
  /** A record of another type, with its payload byte for byte. */
  readonly Raw: { readonly typeNumber: number; readonly payload: Uint8Array }
}

/** The names of the record types that are decoded, and `Raw`. */
export type ManifestType = keyof ManifestBodies

/** What a caller says: the log adds sequence and time. */
export type ManifestEvent = {
  [K in ManifestType]: { readonly type: K; readonly streamId: number; readonly reasonCode?: number } & ManifestBodies[K]
}[ManifestType]

/** A record of one type; `rest` are bytes that a later version has put behind the payload, undefined for none. */
export type ManifestRecordOf<K extends ManifestType> = {
  readonly type: K
  readonly streamId: number
  readonly reasonCode: number
  readonly sequence: number
  readonly timestampMs: number
  readonly rest: Uint8Array | undefined
} & ManifestBodies[K]

/** Any record. */
export type ManifestRecord = { [K in ManifestType]: ManifestRecordOf<K> }[ManifestType]

const fixed: { readonly [name: string]: Layout<unknown> } = {
  SegmentOpened: segmentOpened as Layout<unknown>,
  SealSegment: sealSegment as Layout<unknown>,
  SnapshotMarker: snapshotMarker as Layout<unknown>,
  Trim: trim as Layout<unknown>,
}
const headerBytes = manifestRecordHeader.sizeBytes
const checksumAt = manifestRecordHeader.at.checksum64
const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder()
const align8 = (bytes: number): number => (bytes + 7) & ~7

/** The number of a record's type. */
export const manifestTypeNumber = (record: ManifestEvent | ManifestRecord): number =>
  record.type === "Raw" ? record.typeNumber : manifestTypes.indexOf(record.type)

/** The bytes of a record. Needs `loadCrc64`. */
export const encodeManifestRecord = (record: ManifestRecord): Uint8Array => {
  const rest = record.rest ?? new Uint8Array(0)
  const name = record.type === "StreamCreated" ? utf8.encode(record.name) : undefined
  const table = fixed[record.type]
  const restAt =
    headerBytes + (table?.sizeBytes ?? (name === undefined ? 0 : streamCreated.sizeBytes + align8(name.length)))
  const payload = record.type === "Raw" ? record.payload : rest
  const bytes = new Uint8Array(align8(restAt + payload.length))
  assert(
    bytes.length <= manifestRecordBytesMax,
    `a manifest record has at most ${manifestRecordBytesMax} bytes, not ${bytes.length}`,
  )
  table?.encode(bytes, headerBytes, record)
  if (name !== undefined) {
    streamCreated.encode(bytes, headerBytes, { nameBytes: name.length })
    bytes.set(name, headerBytes + streamCreated.sizeBytes)
  }
  bytes.set(payload, restAt)
  const { reasonCode, sequence, timestampMs, streamId } = record
  const header = {
    lengthBytes: bytes.length,
    type: manifestTypeNumber(record),
    reasonCode,
    sequence,
    timestampMs,
    streamId,
    checksum64: 0n,
  }
  manifestRecordHeader.encode(bytes, 0, header)
  const checksum64 = crc64(bytes.subarray(0, checksumAt), bytes.subarray(headerBytes))
  new DataView(bytes.buffer).setBigUint64(checksumAt, checksum64, true)
  return bytes
}

/**
 * The length of the record at `start` if a record can be there at all: a length within bounds that ends at `end` or before, and a
 * sequence. 0 when not. No checksum is looked at.
 */
export const manifestRecordLength = (source: Uint8Array, start: number, end: number): number => {
  if (start + headerBytes > end) return 0
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength)
  const lengthBytes = view.getUint32(start, true)
  if (lengthBytes < headerBytes || lengthBytes > manifestRecordBytesMax || lengthBytes % 8 !== 0) return 0
  return start + lengthBytes <= end && (getSafe(view, start + manifestRecordHeader.at.sequence) ?? 0) > 0
    ? lengthBytes
    : 0
}

/** Reads the record at `start`, which must end at `end` or before; undefined when it does not check. Copies what it keeps. */
export const decodeManifestRecord = (source: Uint8Array, start: number, end: number): ManifestRecord | undefined => {
  const lengthBytes = manifestRecordLength(source, start, end)
  if (lengthBytes === 0) return undefined
  const bytes = source.subarray(start, start + lengthBytes)
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength)
  const checksum64 = crc64(bytes.subarray(0, checksumAt), bytes.subarray(headerBytes))
  if (view.getBigUint64(start + checksumAt, true) !== checksum64) return undefined
  return decodeManifestRecordUnsafe(source, start, end)
}

/** The same without a look at the checksum, for a range that was checked as a whole. */
export const decodeManifestRecordUnsafe = (
  source: Uint8Array,
  start: number,
  end: number,
): ManifestRecord | undefined => {
  const bytes = source.subarray(start, start + manifestRecordLength(source, start, end))
  const header = manifestRecordHeader.decode(bytes, 0)
  if (header === undefined) return undefined
  const { reasonCode, sequence, timestampMs, streamId } = header
  const head = { streamId, reasonCode, sequence, timestampMs }
  const known = decodePayload(header.type, bytes)
  if (known === undefined)
    return { ...head, type: "Raw", typeNumber: header.type, payload: bytes.slice(headerBytes), rest: undefined }
  const rest = known.end < bytes.length ? bytes.slice(known.end) : undefined
  return { ...head, rest, ...known.value } as ManifestRecord
}

/** A known payload and where it ends. */
const decodePayload = (
  typeNumber: number,
  bytes: Uint8Array,
): { readonly value: object; readonly end: number } | undefined => {
  const type = manifestTypes[typeNumber]
  if (type === "StreamDeleted") return { value: { type }, end: headerBytes }
  if (type === "StreamCreated") {
    const nameAt = headerBytes + streamCreated.sizeBytes
    const nameBytes = streamCreated.decode(bytes, headerBytes)?.nameBytes
    if (nameBytes === undefined || nameBytes === 0 || nameAt + nameBytes > bytes.length) return undefined
    const name = fromUtf8.decode(bytes.subarray(nameAt, nameAt + nameBytes))
    return { value: { type, name }, end: nameAt + align8(nameBytes) }
  }
  const table = type === undefined ? undefined : fixed[type]
  const value = table?.decode(bytes, headerBytes)
  return table === undefined || value === undefined
    ? undefined
    : { value: { type, ...(value as object) }, end: headerBytes + table.sizeBytes }
}
