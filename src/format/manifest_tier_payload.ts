/**
 * What the records of the manifest carry about compression, upload, deletion, hydration and eviction: one field table each. Texts follow their
 * table in the order of their lengths in it, each in UTF-8 and padded with zeros to a multiple of 8.
 */
import { field, type Layout, layout } from "./field_table.ts"

/** Largest object key in bytes; the smallest has one. */
export const objectKeyBytesMax = 1024
/** Largest etag in bytes; it may be empty. */
export const objectEtagBytesMax = 256

/** Which file of which segment. */
export interface SegmentFileName {
  /** Index of the segment in its stream. */
  readonly segmentIndex: number
  /** Generation of the sealed file. */
  readonly fileGeneration: number
}

const segmentIndex = field("segmentIndex", "u32", "index of the segment in its stream")
const fileGeneration = field("fileGeneration", "u32", "generation of the sealed file")
const writerEpoch = field("writerEpoch", "safe", "epoch of the writer that uploads")
const attemptsField = field("attempts", "u32", "tries that failed")
const keyBytes = field("keyBytes", "u16", "bytes of the object's key that follows, 1 to 1024")
const spare = (bytes: number) => field("spare", "reserved", "zero", bytes)
const beforeKey = "before the key in UTF-8, padded to 8"

/** A warm file is about to be made. */
export interface CompressionStarted extends SegmentFileName {
  /** zstd level. */
  readonly level: number
}

/** The layout of `CompressionStarted`. */
export const compressionStarted: Layout<CompressionStarted> = layout("CompressionStarted", "payload of type 2", [
  segmentIndex,
  fileGeneration,
  field("level", "u32", "zstd level"),
  spare(4),
])

/** A warm file is there, complete and durable; what is needed to read it and to check it. */
export interface CompressionDone extends SegmentFileName {
  /** zstd level. */
  readonly level: number
  /** Bytes of segment in one zstd frame, about. */
  readonly frameBytes: number
  /** zstd frames with content, without the seek table. */
  readonly frameCount: number
  /** Offset in the warm file of the zstd frame that holds what follows the log frames of the segment. */
  readonly tailOffset: number
  /** Length of the warm file. */
  readonly fileBytes: number
  /** CRC-64/NVME of the warm file. */
  readonly checksum64: bigint
}

/** The layout of `CompressionDone`. */
export const compressionDone: Layout<CompressionDone> = layout("CompressionDone", "payload of type 3", [
  segmentIndex,
  fileGeneration,
  field("level", "u32", "zstd level"),
  field("frameBytes", "u32", "bytes of segment in one zstd frame, about"),
  field("frameCount", "u32", "zstd frames with content, without the seek table"),
  field(
    "tailOffset",
    "u32",
    "offset in the warm file of the zstd frame that starts where the segment's log frames end",
  ),
  field("fileBytes", "u32", "length of the warm file"),
  spare(4),
  field("checksum64", "u64", "CRC-64/NVME of the warm file"),
])

/** A warm file could not be made. */
export interface CompressionFailed extends SegmentFileName {
  /** Tries that failed. */
  readonly attempts: number
}

/** The layout of `CompressionFailed`. */
export const compressionFailed: Layout<CompressionFailed> = layout("CompressionFailed", "payload of type 4", [
  segmentIndex,
  fileGeneration,
  attemptsField,
  spare(4),
])

/** An object is about to be put under a key that no other upload ever had. */
export interface UploadStarted extends SegmentFileName {
  /** Epoch of the writer that uploads. */
  readonly writerEpoch: number
  /** Key of the object, 1 to 1024 bytes. */
  readonly key: string
}

/** The layout of what lies before the key of an `UploadStarted`. */
export const uploadStarted: Layout<SegmentFileName & { readonly writerEpoch: number; readonly keyBytes: number }> =
  layout("UploadStarted", `payload of type 5, ${beforeKey}`, [
    segmentIndex,
    fileGeneration,
    writerEpoch,
    keyBytes,
    spare(6),
  ])

/** A segment is in Tier 2. */
export interface UploadDone extends UploadStarted {
  /** Where in the object its bytes start. */
  readonly offset: number
  /** How many there are. */
  readonly lengthBytes: number
  /** CRC-64/NVME of these bytes. */
  readonly checksum64: bigint
  /** What the store said about the object, at most 256 bytes. */
  readonly etag: string
}

/** The layout of what lies before the key and the etag of an `UploadDone`. */
export const uploadDone: Layout<
  Omit<UploadDone, "key" | "etag"> & { readonly keyBytes: number; readonly etagBytes: number }
> = layout("UploadDone", "payload of type 6, before the key and then the etag in UTF-8, each padded to 8", [
  segmentIndex,
  fileGeneration,
  writerEpoch,
  field("offset", "safe", "where in the object the segment's bytes start"),
  field("lengthBytes", "safe", "how many there are"),
  field("checksum64", "u64", "CRC-64/NVME of these bytes"),
  keyBytes,
  field("etagBytes", "u16", "bytes of the object's etag that follows the key, at most 256"),
  spare(4),
])

/** An upload was given up for now. */
export interface UploadFailed extends SegmentFileName {
  /** Tries that failed. */
  readonly attempts: number
  /** Key of the object, 1 to 1024 bytes. */
  readonly key: string
}

/** The layout of what lies before the key of an `UploadFailed`. */
export const uploadFailed: Layout<SegmentFileName & { readonly attempts: number; readonly keyBytes: number }> = layout(
  "UploadFailed",
  `payload of type 7, ${beforeKey}`,
  [segmentIndex, fileGeneration, attemptsField, keyBytes, spare(2)],
)

/** An object is no longer used and goes after a grace. */
export interface Tier2DeleteQueued {
  /** The segment whose bytes it holds. */
  readonly segmentIndex: number
  /** Unix time in milliseconds before which it stays. */
  readonly notBeforeMs: number
  /** Key of the object, 1 to 1024 bytes. */
  readonly key: string
}

/** The layout of what lies before the key of a `Tier2DeleteQueued`. */
export const tier2DeleteQueued: Layout<Omit<Tier2DeleteQueued, "key"> & { readonly keyBytes: number }> = layout(
  "Tier2DeleteQueued",
  `payload of type 8, ${beforeKey}`,
  [segmentIndex, keyBytes, spare(2), field("notBeforeMs", "safe", "Unix time in milliseconds before which it stays")],
)

/** An object that was queued is gone. */
export interface Tier2Deleted {
  /** The segment whose bytes it held. */
  readonly segmentIndex: number
  /** Key of the object, 1 to 1024 bytes. */
  readonly key: string
}

/** The layout of what lies before the key of a `Tier2Deleted`. */
export const tier2Deleted: Layout<{ readonly segmentIndex: number; readonly keyBytes: number }> = layout(
  "Tier2Deleted",
  `payload of type 9, ${beforeKey}`,
  [segmentIndex, keyBytes, spare(2)],
)

/** A segment is about to be brought from a colder tier into a warmer one. */
export interface HydrationStarted {
  /** Index of the segment in its stream. */
  readonly segmentIndex: number
  /** 1 or 2. */
  readonly fromTier: number
  /** 0 or 1. */
  readonly toTier: number
}

const hydration = [
  segmentIndex,
  field("fromTier", "u8", "1: warm, 2: cold"),
  field("toTier", "u8", "0: hot, 1: warm"),
  spare(2),
]

/** The layout of `HydrationStarted`. */
export const hydrationStarted: Layout<HydrationStarted> = layout("HydrationStarted", "payload of type 10", hydration)

/** A segment is in the warmer tier. */
export interface HydrationDone extends HydrationStarted {
  /** Bytes of the file that was made. */
  readonly bytes: number
  /** How long it took. */
  readonly durationMs: number
}

/** The layout of `HydrationDone`. */
export const hydrationDone: Layout<HydrationDone> = layout("HydrationDone", "payload of type 11", [
  ...hydration,
  field("bytes", "safe", "bytes of the file that was made"),
  field("durationMs", "safe", "milliseconds that it took"),
])

/** A segment could not be brought. */
export interface HydrationFailed extends HydrationStarted {
  /** Tries that failed. */
  readonly attempts: number
}

/** The layout of `HydrationFailed`. */
export const hydrationFailed: Layout<HydrationFailed> = layout("HydrationFailed", "payload of type 12", [
  ...hydration,
  attemptsField,
  spare(4),
])

/** The file of a segment was removed from a local tier. */
export interface LocalEvicted {
  /** Index of the segment in its stream. */
  readonly segmentIndex: number
  /** 0: the segment file, 1: the warm file. */
  readonly tier: number
  /** Bytes that this freed. */
  readonly bytes: number
}

/** The layout of `LocalEvicted`. */
export const localEvicted: Layout<LocalEvicted> = layout("LocalEvicted", "payload of type 13", [
  segmentIndex,
  field("tier", "u8", "0: the segment file, 1: the warm file"),
  spare(3),
  field("bytes", "safe", "bytes that this freed"),
])
