/**
 * Makes the header of a segment anew when it does not check. What is in it is known elsewhere: place and numbers from the manifest, or from
 * the frames; and the seed of its checksums, which is nowhere else, is computed back from slots and frames. It counts only when at least
 * two of them agree on it.
 */
import { crc32Seed } from "../../format/checksum_seed.ts"
import { correctByte } from "../../format/correct_byte.ts"
import { alignFrame, frameHeader, frameSafe, isFrameHeader } from "../../format/frame.ts"
import {
  decodeSegmentHeader,
  decodeSlots,
  type SegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
  slotOffsets,
  watermarkSlot,
} from "../../format/segment_header.ts"

/** What is known of a segment without its header. */
export interface KnownSegment {
  readonly rootId: Uint8Array
  readonly streamId: number
  readonly segmentIndex: number
  readonly fileGeneration: number
  /** Undefined when the frames have to say it. */
  readonly firstRecordNumber: number | undefined
  readonly baseOffset: number
  readonly extIdMax: bigint
  readonly timestampMsMax: number
}

/** Reads bytes of the segment's file; fewer only at its end. */
export type ReadSegment = (offset: number, length: number) => Uint8Array

/** Frames that are asked for their seed. */
const framesMax = 4

/** A piece of a segment that has a checksum with the segment's seed. */
interface Sample {
  readonly bytes: Uint8Array
  readonly checksum: number
}

/** Fields that nothing but the header has, and nobody needs. */
const unused = { writerEpoch: 0, commitMode: 0, journalPosition: 0, createdMs: 0 }

/** The header that the segment must have had; undefined when not enough of the segment is left to tell. */
export const rebuildHeader = (read: ReadSegment, fileBytes: number, known: KnownSegment): SegmentHeader | undefined => {
  const block = read(0, segmentHeaderBytes)
  const corrected = correctHeader(block, known)
  if (corrected !== undefined) return corrected
  const frames = sampleFrames(read, fileBytes)
  const seed = agreedSeed(block, [...sampleSlots(block), ...frames.map((frame) => frame.sample)])
  if (seed === undefined) return undefined
  const firstFrame = frames[0]?.firstRecordNumber
  const fromSlot = block.length < segmentHeaderBytes ? undefined : decodeSlots(block, seed)[0]?.nextRecordNumber
  const firstRecordNumber = known.firstRecordNumber ?? firstFrame ?? fromSlot
  if (firstRecordNumber === undefined) return undefined
  const { firstRecordNumber: _, ...place } = known
  return { ...place, ...unused, firstRecordNumber, checksumSeed: seed }
}

/**
 * The header of a segment of which nothing is left but frames that are known to be right, `bytes`, the first of them at `offset`; undefined when
 * none begins there. Its number is that of the first frame where nothing else says it.
 */
export const headerOfFrames = (bytes: Uint8Array, offset: number, known: KnownSegment): FoundStart | undefined => {
  const read: ReadSegment = (from, length) => bytes.subarray(from - offset, from - offset + length)
  const [frame] = sampleFrames(read, offset + bytes.length, offset)
  if (frame === undefined) return undefined
  const { firstRecordNumber: _, ...place } = known
  const checksumSeed = crc32Seed(frame.sample.bytes, frame.sample.checksum)
  const firstRecordNumber = Math.min(known.firstRecordNumber ?? frame.firstRecordNumber, frame.firstRecordNumber)
  const header = { ...place, ...unused, firstRecordNumber, checksumSeed }
  return { header, frameRecordNumber: frame.firstRecordNumber }
}

/** What frames say of their segment. */
export interface FoundStart {
  readonly header: SegmentHeader
  /** Number of the first record in them. */
  readonly frameRecordNumber: number
}

/** The header without the one byte that has changed, when it then is that of this segment. */
const correctHeader = (block: Uint8Array, known: KnownSegment): SegmentHeader | undefined => {
  if (block.length < segmentHeader.sizeBytes) return undefined
  const copy = block.slice(0, segmentHeader.sizeBytes)
  if (!correctByte(copy, { from: 0, checksumAt: segmentHeader.at.checksum, seed: 0 })) return undefined
  const header = decodeSegmentHeader(copy)
  const isOwn =
    header?.streamId === known.streamId &&
    header.segmentIndex === known.segmentIndex &&
    header.rootId.every((byte, at) => byte === known.rootId[at])
  return isOwn ? header : undefined
}

/** The seed that two samples have in common, or one sample and the header's own field. */
const agreedSeed = (block: Uint8Array, samples: ReadonlyArray<Sample>): number | undefined => {
  const votes = new Map<number, number>()
  if (block.length >= segmentHeader.sizeBytes) {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
    votes.set(view.getUint32(segmentHeader.at.checksumSeed, true), 1)
  }
  for (const { bytes, checksum } of samples) {
    const seed = crc32Seed(bytes, checksum)
    votes.set(seed, (votes.get(seed) ?? 0) + 1)
  }
  const [best] = [...votes].sort(([, one], [, other]) => other - one)
  return best !== undefined && best[1] >= 2 ? best[0] : undefined
}

const sampleSlots = (block: Uint8Array): ReadonlyArray<Sample> => {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  return slotOffsets.flatMap((start) => {
    if (start + watermarkSlot.sizeBytes > block.length) return []
    const bytes = block.subarray(start, start + watermarkSlot.at.checksum)
    if (bytes.every((byte) => byte === 0)) return []
    return [{ bytes, checksum: view.getUint32(start + watermarkSlot.at.checksum, true) }]
  })
}

interface FrameSample {
  readonly sample: Sample
  readonly firstRecordNumber: number
}

/** The first frames from `start` on, as far as one leads to the next. */
const sampleFrames = (
  read: ReadSegment,
  fileBytes: number,
  start: number = segmentHeaderBytes,
): ReadonlyArray<FrameSample> => {
  const frames: Array<FrameSample> = []
  let offset = start
  while (frames.length < framesMax) {
    const head = read(offset, frameHeader.sizeBytes)
    const headView = new DataView(head.buffer, head.byteOffset, head.byteLength)
    if (!isFrameHeader(headView, 0, offset, fileBytes)) break
    const lengthBytes = headView.getUint32(frameHeader.at.lengthBytes, true)
    const frame = read(offset, lengthBytes)
    if (frame.length < lengthBytes) break
    const checksum = headView.getUint32(0, true)
    const firstRecordNumber = frameSafe(headView, frameHeader.at.firstRecordNumber)
    frames.push({ sample: { bytes: frame.subarray(4), checksum }, firstRecordNumber })
    offset = alignFrame(offset + lengthBytes)
  }
  return frames
}
