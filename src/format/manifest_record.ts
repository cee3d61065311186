/**
 * The records of the manifest: what happened to streams and segments. A header of fixed size, then a payload laid out by type, padded
 * with zeros to a multiple of 8. Types that this code does not know are carried as `Raw` with their payload, byte for byte, and
 * so are known ones whose payload is too short; what a later version has put behind a known payload is kept in `rest`.
 */
import { assert } from "../model/assert.ts"
import { crc64 } from "./checksum.ts"
import { field, getSafe, type Layout, layout } from "./field_table.ts"
import { align8, decodePayload, encodePayload } from "./manifest_codec.ts"
import type {
  CustomEvent,
  Epoch,
  SealSegment,
  SegmentOpened,
  SnapshotMarker,
  StreamCreated,
  Trim,
} from "./manifest_payload.ts"
import type * as Tiers from "./manifest_tier_payload.ts"

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

/** What each record type carries. `Raw` stands for every other number. */
export interface ManifestBodies {
  /** A segment file was created. */
  readonly SegmentOpened: SegmentOpened
  /** A segment has its durable footer. */
  readonly SealSegment: SealSegment
  /** A warm file is about to be made. */
  readonly CompressionStarted: Tiers.CompressionStarted
  /** A warm file is there. */
  readonly CompressionDone: Tiers.CompressionDone
  /** A warm file could not be made. */
  readonly CompressionFailed: Tiers.CompressionFailed
  /** An object is about to be put. */
  readonly UploadStarted: Tiers.UploadStarted
  /** A segment is in Tier 2. */
  readonly UploadDone: Tiers.UploadDone
  /** An upload was given up for now. */
  readonly UploadFailed: Tiers.UploadFailed
  /** An object is no longer used. */
  readonly Tier2DeleteQueued: Tiers.Tier2DeleteQueued
  /** An object is gone. */
  readonly Tier2Deleted: Tiers.Tier2Deleted
  /** A segment is about to be brought into a warmer tier. */
  readonly HydrationStarted: Tiers.HydrationStarted
  /** A segment is in the warmer tier. */
  readonly HydrationDone: Tiers.HydrationDone
  /** A segment could not be brought. */
  readonly HydrationFailed: Tiers.HydrationFailed
  /** A local file of a segment was removed. */
  readonly LocalEvicted: Tiers.LocalEvicted
  /** A snapshot ends. */
  readonly SnapshotMarker: SnapshotMarker
  /** Something of the application's own. */
  readonly CustomEvent: CustomEvent
  /** Everything before a record is gone. */
  readonly Trim: Trim
  /** A writer has taken the root over. */
  readonly Epoch: Epoch
  /** A stream has come to be under this name. */
  readonly StreamCreated: StreamCreated
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

const headerBytes = manifestRecordHeader.sizeBytes
const checksumAt = manifestRecordHeader.at.checksum64

/** The number of a record's type. */
export const manifestTypeNumber = (record: ManifestEvent | ManifestRecord): number =>
  record.type === "Raw" ? record.typeNumber : manifestTypes.indexOf(record.type)

/** The bytes of a record. A record that is too large, or a text in it, is a mistake of the program. */
export const encodeManifestRecord = (record: ManifestRecord): Uint8Array => {
  const payload = record.type === "Raw" ? record.payload : encodePayload(record.type, record)
  const rest = record.type === "Raw" ? undefined : record.rest
  const restAt = headerBytes + payload.length
  const bytes = new Uint8Array(align8(restAt + (rest?.length ?? 0)))
  assert(
    bytes.length <= manifestRecordBytesMax,
    `a manifest record has at most ${manifestRecordBytesMax} bytes, not ${bytes.length}`,
  )
  bytes.set(payload, headerBytes)
  if (rest !== undefined) bytes.set(rest, restAt)
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
  const known = decodePayload(manifestTypes[header.type], bytes, headerBytes)
  if (known === undefined)
    return { ...head, type: "Raw", typeNumber: header.type, payload: bytes.slice(headerBytes), rest: undefined }
  const rest = known.end < bytes.length ? bytes.slice(known.end) : undefined
  return { ...head, rest, ...known.value } as ManifestRecord
}
