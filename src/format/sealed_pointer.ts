/** `current.sealed`: the last sealed segment of a stream, replaced atomically after each seal. A hint: it counts only if the segment agrees. */
import { crc32 } from "./checksum.ts"
import { field, type Layout, layout } from "./field_table.ts"

/** What the pointer says about the last sealed segment. */
export interface SealedPointer {
  /** Id of the stream. */
  readonly streamId: number
  /** Index of its last sealed segment. */
  readonly segmentIndex: number
  /** Offset at which the frames of that segment end. */
  readonly durableBytes: number
  /** As last set by the application before that seal. */
  readonly coordinatorWatermark: bigint
}

/** A pointer with the fields that only its bytes have. */
export interface SealedPointerBytes extends SealedPointer {
  /** `pointerMagic`. */
  readonly magic: number
  /** Version of this layout. */
  readonly version: number
  /** CRC-32, seed 0, of the bytes before it. */
  readonly checksum: number
}

/** "AOFP" */
export const pointerMagic = 0x50464f41

/** The layout of the pointer file. */
export const sealedPointer: Layout<SealedPointerBytes> = layout(
  "Sealed pointer",
  "`current.sealed` beside the segments",
  [
    field("magic", "u32", "`AOFP`"),
    field("version", "u32", "now 1"),
    field("streamId", "safe", "as in the segment's header"),
    field("segmentIndex", "u32", "of the last sealed segment"),
    field("durableBytes", "u32", "as in its footer"),
    field("coordinatorWatermark", "u64", "as in its footer"),
    field("spare", "reserved", "zero", 28),
    field("checksum", "u32", "CRC-32, seed 0, of the bytes before it"),
  ],
)

/** The bytes of a pointer file. */
export const encodeSealedPointer = (value: SealedPointer): Uint8Array => {
  const bytes = new Uint8Array(sealedPointer.sizeBytes)
  const all = { ...value, magic: pointerMagic, version: 1 }
  sealedPointer.encode(bytes, 0, { ...all, checksum: 0 })
  sealedPointer.encode(bytes, 0, { ...all, checksum: crc32(bytes.subarray(0, sealedPointer.at.checksum), 0) })
  return bytes
}

/** Reads a pointer; undefined when it does not check. */
export const decodeSealedPointer = (bytes: Uint8Array): SealedPointer | undefined => {
  const value = sealedPointer.decode(bytes, 0)
  if (value === undefined || value.magic !== pointerMagic || value.version !== 1) return undefined
  return value.checksum === crc32(bytes.subarray(0, sealedPointer.at.checksum), 0) ? value : undefined
}
