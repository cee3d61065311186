/**
 * Finds the zstd frames of a warm file without its seek table, from their own headers: what a damaged table would cost is the whole
 * segment, and nothing in the table is not also in the frames. Source: RFC 8878, sections 3.1.1 and 3.1.1.2.
 */
import { segmentSpan } from "../model/record_id.ts"
import { SeekTable, seekTableBytes, zstdContentBytesMax, zstdFlagChecksum, zstdMagic } from "./seekable_zstd.ts"

/** The longest header of a frame: magic, descriptor, window, content size. */
const frameHeaderBytesMax = 14
const [blockHeaderBytes, frameChecksumBytes] = [3, 4]
/** Longer than any warm file. */
const fileBytesMax = 2 ** 32 - 2 ** 16
/** A block that is one byte, repeated. */
const blockRun = 1
/** Bytes of the content size, by the two highest bits of the descriptor. */
const sizeBytes: ReadonlyArray<number> = [0, 2, 4, 8]

/** What is known of a warm file from elsewhere. */
export interface ZstdWalkBounds {
  readonly fileBytes: number
  readonly contentBytes: number
  readonly frameCount: number
}

/** Reads bytes of the file; fewer only at its end. */
export type ZstdRead = (offset: number, length: number) => Uint8Array

/**
 * The seek table that the file should have; undefined when a header on the way does not check or the sums are not those of `bounds`.
 * Reads a few bytes for each block, and never beyond the file.
 */
export const walkZstdFrames = (read: ZstdRead, bounds: ZstdWalkBounds): SeekTable | undefined => {
  const { fileBytes, contentBytes, frameCount } = bounds
  const limit = fileBytes - seekTableBytes(frameCount)
  const compressedEnds = new Uint32Array(frameCount + 1)
  const contentEnds = new Uint32Array(frameCount + 1)
  let [offset, content] = [0, 0]
  for (let index = 1; index <= frameCount; index++) {
    const frame = frameAt(read, offset, limit)
    if (frame === undefined) return undefined
    offset = frame.end
    content += frame.contentBytes
    if (content > contentBytes) return undefined
    compressedEnds[index] = offset
    contentEnds[index] = content
  }
  return offset === limit && content === contentBytes ? new SeekTable(compressedEnds, contentEnds) : undefined
}

/** Content of one frame that stands for what is lost: small, as a reader makes zeros of it. */
const lostContentBytes = 65536

/**
 * The seek table of as many frames as there are at the start of a file that was cut off, or whose table and frames do not fit together. What
 * is lost behind them is one run of frames that lie where the file has nothing: reading one is reading damage. Undefined when the bounds,
 * which are known from elsewhere, cannot be those of a warm file.
 */
export const salvageZstdFrames = (read: ZstdRead, bounds: ZstdWalkBounds): SeekTable | undefined => {
  const { fileBytes, contentBytes, frameCount } = bounds
  if (!(contentBytes > 0 && contentBytes <= segmentSpan) || fileBytes > fileBytesMax) return undefined
  const compressedEnds = [0]
  const contentEnds = [0]
  let [offset, content] = [0, 0]
  for (let index = 1; index <= frameCount; index++) {
    const frame = frameAt(read, offset, fileBytes)
    if (frame === undefined || content + frame.contentBytes > contentBytes) break
    offset = frame.end
    content += frame.contentBytes
    compressedEnds.push(offset)
    contentEnds.push(content)
  }
  const knownBytes = content
  while (content < contentBytes) {
    offset++
    content = Math.min(contentBytes, content + lostContentBytes)
    compressedEnds.push(offset)
    contentEnds.push(content)
  }
  return new SeekTable(Uint32Array.from(compressedEnds), Uint32Array.from(contentEnds), knownBytes)
}

/** Where the frame that starts at `offset` ends, and how much it holds. */
const frameAt = (
  read: ZstdRead,
  offset: number,
  limit: number,
): { readonly end: number; readonly contentBytes: number } | undefined => {
  const bytes = read(offset, Math.max(0, Math.min(frameHeaderBytesMax, limit - offset)))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < frameHeaderBytesMax || view.getUint32(0, true) !== zstdMagic) return undefined
  const descriptor = bytes[4]!
  const isSingle = (descriptor & 0x20) !== 0
  const size = descriptor >>> 6
  const sizeAt = isSingle ? 5 : 6
  const contentBytes =
    size === 0
      ? isSingle
        ? bytes[sizeAt]!
        : 0
      : size === 1
        ? view.getUint16(sizeAt, true) + 256
        : view.getUint32(sizeAt, true)
  if (contentBytes === 0 || contentBytes > zstdContentBytesMax) return undefined
  let at = offset + sizeAt + (size === 0 && isSingle ? 1 : sizeBytes[size]!)
  for (;;) {
    if (at + blockHeaderBytes > limit) return undefined
    const head = read(at, blockHeaderBytes)
    if (head.length < blockHeaderBytes) return undefined
    const block = head[0]! | (head[1]! << 8) | (head[2]! << 16)
    at += blockHeaderBytes + (((block >>> 1) & 3) === blockRun ? 1 : block >>> 3)
    if ((block & 1) === 1) break
  }
  const end = at + ((descriptor & zstdFlagChecksum) !== 0 ? frameChecksumBytes : 0)
  return end <= limit ? { end, contentBytes } : undefined
}
