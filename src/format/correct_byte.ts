/** Puts one changed byte of a small structure right, from the CRC-32 that stands behind it. */
import { crc32 } from "./checksum.ts"
import { crc32ChangedByte } from "./checksum_seed.ts"

/** Where a structure lies, and its checksum behind it. */
export interface CheckedRange {
  /** Offset of its first byte. */
  readonly from: number
  /** Offset of its CRC-32, which covers all bytes before, and is 4 bytes long. */
  readonly checksumAt: number
  /** Start value of the CRC-32. */
  readonly seed: number
}

/** Changes at most one byte of `bytes`; false when that does not make the checksum right. */
export const correctByte = (bytes: Uint8Array, { from, checksumAt, seed }: CheckedRange): boolean => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const actual = crc32(bytes.subarray(from, checksumAt), seed)
  const difference = (actual ^ view.getUint32(checksumAt, true)) >>> 0
  if (difference === 0) return true
  const changed = crc32ChangedByte(checksumAt - from, difference)
  if (changed !== undefined) {
    bytes[from + changed.at]! ^= changed.mask
    return true
  }
  // Of the checksum itself a byte may have changed, and nothing else.
  const inChecksum = [0xff, 0xff00, 0xff0000, 0xff000000].some((mask) => (difference & ~mask) === 0)
  if (inChecksum) view.setUint32(checksumAt, actual, true)
  return inChecksum
}
