/**
 * The warm form of a sealed segment: standard zstd frames back to back, then a skippable frame with the length of each, which is
 * the seekable format of the zstd project. `zstd -d` restores the segment; the table finds the one frame that holds an offset.
 *
 * Invariants: a table is believed only when it accounts for every byte of its file; a frame only when its header has a content
 * size, the one expected, and a checksum, so that a decoder neither allocates by the word of a stranger nor passes over damage.
 */
import { assert } from "../model/assert.ts"
import { segmentSpan } from "../model/record_id.ts"
import { field, getSafe, type Layout, layout } from "./field_table.ts"

/** Magic of a zstd frame. */
export const zstdMagic = 0xfd2fb528
/** Magic of the skippable frame that holds the seek table. */
export const seekTableMagic = 0x184d2a5e
/** Magic at the end of a seek table, and so of the file. */
export const seekTableEndMagic = 0x8f92eab1

/** The start of a seek table: the header of a skippable zstd frame. */
export interface SeekTableHeader {
  /** `seekTableMagic`. */
  readonly magic: number
  /** Bytes of entries and footer. */
  readonly contentBytes: number
}

/** The layout of the start of a seek table. */
export const seekTableHeader: Layout<SeekTableHeader> = layout("Seek table header", "behind the last zstd frame", [
  field("magic", "u32", "184d2a5e: a skippable zstd frame"),
  field("contentBytes", "u32", "of the entries and the footer"),
])

/** The lengths of one zstd frame. */
export interface SeekTableEntry {
  /** Bytes of the frame in the file. */
  readonly compressedBytes: number
  /** Bytes of the segment that it holds. */
  readonly contentBytes: number
}

/** The layout of an entry of a seek table. */
export const seekTableEntry: Layout<SeekTableEntry> = layout("Seek table entry", "one for each zstd frame, in order", [
  field("compressedBytes", "u32", "of the zstd frame; the first is at offset 0, the next behind it"),
  field("contentBytes", "u32", "of the segment that it holds, 1 to 2^25"),
])

/** The end of a seek table. */
export interface SeekTableFooter {
  /** Number of entries. */
  readonly frameCount: number
  /** Bit 7 says that entries have checksums; always 0 here, as the frames have their own. */
  readonly descriptor: number
  /** `seekTableEndMagic`. */
  readonly magic: number
}

/** The layout of the end of a seek table. */
export const seekTableFooter: Layout<SeekTableFooter> = layout("Seek table footer", "the last bytes of a warm file", [
  field("frameCount", "u32", "number of entries"),
  field("descriptor", "u8", "0: the entries have no checksums"),
  field("magic", "u32", "8f92eab1"),
])

/** Bytes of content of one zstd frame at most: what a reader may have to hold. */
export const zstdContentBytesMax: number = 2 ** 25
/** Bytes of a zstd frame with so much content at most; none that a compressor makes comes near. */
const compressedBytesMax = (contentBytes: number): number => contentBytes + (contentBytes >>> 6) + 512
/** Frames that a table may have here: a segment has at most 2^28 bytes, and a frame at least one. */
const frameCountMax = segmentSpan
/** Longer than any warm file: offsets fit in 32 bits. */
const fileBytesMax = 2 ** 32 - 1

/** Bytes of a seek table for so many frames. */
export const seekTableBytes = (frameCount: number): number =>
  seekTableHeader.sizeBytes + frameCount * seekTableEntry.sizeBytes + seekTableFooter.sizeBytes

/**
 * Bytes of the seek table of a file, from its last bytes, of which 9 are enough; undefined when they are not the end of a table
 * that fits a file of `fileBytes`.
 */
export const seekTableBytesOf = (tail: Uint8Array, fileBytes: number): number | undefined => {
  const footer = seekTableFooter.decode(tail, tail.length - seekTableFooter.sizeBytes)
  if (footer === undefined || footer.magic !== seekTableEndMagic || footer.descriptor !== 0) return undefined
  if (footer.frameCount > frameCountMax) return undefined
  const bytes = seekTableBytes(footer.frameCount)
  return bytes <= fileBytes ? bytes : undefined
}

/** The bytes of a seek table; both lists have one number a frame, in order. */
export const encodeSeekTable = (
  compressedBytes: ArrayLike<number>,
  contentBytes: ArrayLike<number>,
): Uint8Array<ArrayBuffer> => {
  const frameCount = compressedBytes.length
  assert(contentBytes.length === frameCount, "each frame of a seek table has two lengths")
  const bytes = new Uint8Array(seekTableBytes(frameCount))
  seekTableHeader.encode(bytes, 0, {
    magic: seekTableMagic,
    contentBytes: bytes.length - seekTableHeader.sizeBytes,
  })
  for (let index = 0, at = seekTableHeader.sizeBytes; index < frameCount; index++, at += seekTableEntry.sizeBytes) {
    seekTableEntry.encode(bytes, at, {
      compressedBytes: compressedBytes[index]!,
      contentBytes: contentBytes[index]!,
    })
  }
  seekTableFooter.encode(bytes, bytes.length - seekTableFooter.sizeBytes, {
    frameCount,
    descriptor: 0,
    magic: seekTableEndMagic,
  })
  return bytes
}

/** Where a zstd frame lies in the warm file, and what it holds of the segment. */
export interface ZstdFrame {
  /** Number of the frame, from 0. */
  readonly index: number
  /** Offset of the frame in the warm file. */
  readonly compressedOffset: number
  /** Bytes of the frame in the warm file. */
  readonly compressedBytes: number
  /** Offset in the segment of the first byte that it holds. */
  readonly contentOffset: number
  /** Bytes of the segment that it holds. */
  readonly contentBytes: number
}

/** Which zstd frame of a warm file holds which bytes of the segment. Made by `decodeSeekTable`; never changes. */
export class SeekTable {
  /** Number of zstd frames. */
  readonly frameCount: number
  /** Bytes of the segment. */
  readonly contentBytes: number
  /** Bytes of all zstd frames: the offset of the table in the file. */
  readonly compressedBytes: number
  /** Bytes of the segment that lie in frames which are there: fewer than all where the rest of the table is made up. */
  readonly knownBytes: number
  /** Ends of the frames in file and segment, with a 0 in front: 8 bytes a frame, as in the file. */
  readonly #compressedEnds: Uint32Array
  readonly #contentEnds: Uint32Array

  /** Takes the ends of all frames, each list with a 0 in front, both rising; `knownBytes` when those behind are made up. */
  constructor(compressedEnds: Uint32Array, contentEnds: Uint32Array, knownBytes?: number) {
    this.#compressedEnds = compressedEnds
    this.#contentEnds = contentEnds
    this.frameCount = compressedEnds.length - 1
    this.compressedBytes = compressedEnds[this.frameCount]!
    this.contentBytes = contentEnds[this.frameCount]!
    this.knownBytes = knownBytes ?? this.contentBytes
  }

  /** The frame with this number; undefined when there is none. */
  frame(index: number): ZstdFrame | undefined {
    if (!Number.isInteger(index) || index < 0 || index >= this.frameCount) return undefined
    const compressedOffset = this.#compressedEnds[index]!
    const contentOffset = this.#contentEnds[index]!
    return {
      index,
      compressedOffset,
      compressedBytes: this.#compressedEnds[index + 1]! - compressedOffset,
      contentOffset,
      contentBytes: this.#contentEnds[index + 1]! - contentOffset,
    }
  }

  /** The frame that holds the byte at `offset` of the segment; undefined outside of it. */
  frameAt(offset: number): ZstdFrame | undefined {
    if (!(offset >= 0 && offset < this.contentBytes)) return undefined
    let low = 0
    let high = this.frameCount - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#contentEnds[middle + 1]! > offset) high = middle
      else low = middle + 1
    }
    return this.frame(low)
  }
}

/** What a file must have for its seek table to be believed. */
export interface SeekTableBounds {
  /** Length of the whole file. */
  readonly fileBytes: number
  /** Length of the segment in it; left out where it is not known, which is then at most 2^28. */
  readonly contentBytes?: number | undefined
}

/**
 * Reads the seek table of a file from its last bytes, which may hold more than the table. Undefined when they hold less, or
 * when the lengths do not add up to those of the file and the segment. Allocates at most as much as `tail` has bytes.
 */
export const decodeSeekTable = (tail: Uint8Array, bounds: SeekTableBounds): SeekTable | undefined => {
  const { fileBytes, contentBytes } = bounds
  if (fileBytes > fileBytesMax || tail.length > fileBytes) return undefined
  const tableBytes = seekTableBytesOf(tail, fileBytes)
  if (tableBytes === undefined || tableBytes > tail.length) return undefined
  const start = tail.length - tableBytes
  const header = seekTableHeader.decode(tail, start)
  if (header?.magic !== seekTableMagic || header.contentBytes !== tableBytes - seekTableHeader.sizeBytes) {
    return undefined
  }
  const frameCount = (tableBytes - seekTableBytes(0)) / seekTableEntry.sizeBytes
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength)
  const compressedEnds = new Uint32Array(frameCount + 1)
  const contentEnds = new Uint32Array(frameCount + 1)
  const { at } = seekTableEntry
  let compressedEnd = 0
  let contentEnd = 0
  for (let index = 0; index < frameCount; index++) {
    const entryAt = start + seekTableHeader.sizeBytes + index * seekTableEntry.sizeBytes
    const compressed = view.getUint32(entryAt + at.compressedBytes, true)
    const content = view.getUint32(entryAt + at.contentBytes, true)
    if (compressed === 0 || content === 0 || content > zstdContentBytesMax) return undefined
    if (compressed > compressedBytesMax(content)) return undefined
    compressedEnd += compressed
    contentEnd += content
    if (compressedEnd > fileBytes - tableBytes || contentEnd > segmentSpan) return undefined
    compressedEnds[index + 1] = compressedEnd
    contentEnds[index + 1] = contentEnd
  }
  if (compressedEnd !== fileBytes - tableBytes) return undefined
  if (contentBytes !== undefined && contentEnd !== contentBytes) return undefined
  return new SeekTable(compressedEnds, contentEnds)
}

/** Bit of a zstd frame's descriptor, its fifth byte: a checksum of the content ends the frame. */
export const zstdFlagChecksum = 0x04
/** Other bits of it: the frame is a single segment; those that are 0 here, for they are reserved or stand for a dictionary. */
const [descriptorSingle, descriptorZeros] = [0x20, 0x0b]

/** Content checksum at the end of a frame, header of a block, and most content of one block, in bytes. */
const [frameChecksumBytes, blockHeaderBytes, blockBytesMax] = [4, 3, 128 * 1024]
/** Types of block: a run of one byte, and one that is reserved. */
const [blockRun, blockReserved] = [1, 3]

/**
 * True when `frame` is, by its headers, one whole zstd frame of `contentBytes` bytes with a checksum and without a dictionary, and
 * nothing else (RFC 8878, section 3.1.1). Asked before a frame is given to a decoder, of which some give the content of a frame whose
 * checksum was cut off, and pass over what follows it. Looks at a few bytes for each 128 KiB.
 */
export const isZstdFrame = (frame: Uint8Array, contentBytes: number): boolean => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  let at = zstdHeaderBytes(view, contentBytes)
  if (at === undefined) return false
  for (;;) {
    if (at + blockHeaderBytes > frame.length) return false
    const block: number = view.getUint16(at, true) | (frame[at + 2]! << 16)
    const type = (block >>> 1) & 3
    const size = block >>> 3
    if (type === blockReserved || size > blockBytesMax) return false
    at += blockHeaderBytes + (type === blockRun ? 1 : size)
    if ((block & 1) === 1) return at + frameChecksumBytes === frame.length
  }
}

/**
 * The content of `frame`, as a view of it, when it is a zstd frame of `contentBytes` bytes with one block that holds them as they are, since a
 * compressor gained nothing; else undefined. The checksum at its end is not compared.
 */
export const storedContent = (frame: Uint8Array, contentBytes: number): Uint8Array | undefined => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const at = zstdHeaderBytes(view, contentBytes)
  if (at === undefined || at + blockHeaderBytes + contentBytes + frameChecksumBytes !== frame.length) return undefined
  const block = view.getUint16(at, true) | (frame[at + 2]! << 16)
  const isLastAndStored = (block & 7) === 1
  if (!isLastAndStored || block >>> 3 !== contentBytes || contentBytes > blockBytesMax) return undefined
  return frame.subarray(at + blockHeaderBytes, at + blockHeaderBytes + contentBytes)
}

/** Length of the header of a frame, or undefined when it is not one that `isZstdFrame` takes. */
const zstdHeaderBytes = (view: DataView, contentBytes: number): number | undefined => {
  if (view.byteLength < 6 || view.getUint32(0, true) !== zstdMagic) return undefined
  const descriptor = view.getUint8(4)
  if ((descriptor & zstdFlagChecksum) === 0 || (descriptor & descriptorZeros) !== 0) return undefined
  const isSingle = (descriptor & descriptorSingle) !== 0
  // A frame that is no single segment has a byte for its window before the content size.
  const at = isSingle ? 5 : 6
  const sizeCode = descriptor >>> 6
  const end = at + [isSingle ? 1 : 0, 2, 4, 8][sizeCode]!
  if (end === at || end > view.byteLength) return undefined
  const size = [
    () => view.getUint8(at),
    () => view.getUint16(at, true) + 256,
    () => view.getUint32(at, true),
    () => getSafe(view, at),
  ][sizeCode]!()
  return size === contentBytes ? end : undefined
}
