/**
 * Brings whole, checked frames into a window. A frame that checked once is trusted while its segment is resident; a batch of
 * several frames is readable only when all of them check, because it is there whole or not at all.
 */
import {
  alignFrame,
  frameContinues,
  frameHeader,
  frameHeaderBytes,
  isFrameHeader,
  isFrameIntact,
} from "../../format/frame.ts"
import { segmentOffsetOf } from "../../model/record_id.ts"
import type { Segment } from "../stream/segment.ts"
import { Window } from "./window.ts"

const at = frameHeader.at

/** A whole checked frame is in the window. */
export const FRAME_OK = 1
/** No frame starts below the limit. */
export const FRAME_END = 0
/** What starts there does not check. */
export const FRAME_BAD = -1

/**
 * Checks the frame at `offset` of `segment` and makes `window` hold it whole. `limit` is the offset behind the last byte that may
 * be looked at, always a batch end; `ahead` how many bytes to read at once where they have to be read.
 */
export const checkFrame = (segment: Segment, window: Window, offset: number, limit: number, ahead: number): number => {
  if (offset >= limit) return FRAME_END
  if (!segment.fill(window, offset, frameHeaderBytes, ahead, limit)) return FRAME_BAD
  if (!isFrameHeader(window.view, offset - window.base, offset, limit)) return FRAME_BAD
  const lengthBytes = window.view.getUint32(offset - window.base + at.lengthBytes, true)
  if (!segment.fill(window, offset, lengthBytes, ahead, limit)) return FRAME_BAD
  if (window.isTrusted) return FRAME_OK
  const start = offset - window.base
  if (!window.isIntact && !segment.verified.has(offset)) {
    if (!isFrameIntact(window.buffer, window.view, start, segment.header.checksumSeed)) return FRAME_BAD
    segment.verified.add(offset)
  }
  const batchOffset = window.view.getUint32(start + at.batchOffset, true)
  const continues = (window.view.getUint16(start + at.flags, true) & frameContinues) !== 0
  return (batchOffset === offset && !continues) || isBatchWhole(segment, batchOffset, limit, ahead)
    ? FRAME_OK
    : FRAME_BAD
}

/**
 * True when every frame of the batch that starts at `batchOffset` checks. What was checked before is not read again, so that a walk
 * that had to stop for bytes from another tier gets further each time.
 */
const isBatchWhole = (segment: Segment, batchOffset: number, limit: number, ahead: number): boolean => {
  const { verified } = segment
  if (verified.hasBatch(batchOffset)) return true
  const window = new Window()
  let offset = batchOffset
  for (;;) {
    const known = verified.nextOf(offset)
    const next = known ?? checkBatchFrame(segment, { window, offset, batchOffset, limit, ahead })
    if (next === undefined) return false
    if (known === undefined) verified.addNext(offset, next)
    if (next === 0) break
    offset = next
  }
  verified.addBatch(batchOffset)
  return true
}

interface BatchFrame {
  readonly window: Window
  readonly offset: number
  readonly batchOffset: number
  readonly limit: number
  readonly ahead: number
}

/** The offset of the frame in which the batch goes on, 0 when it ends here, undefined when the frame does not check. */
const checkBatchFrame = (
  segment: Segment,
  { window, offset, batchOffset, limit, ahead }: BatchFrame,
): number | undefined => {
  if (!segment.fill(window, offset, frameHeaderBytes, ahead, limit)) return undefined
  if (!isFrameHeader(window.view, offset - window.base, offset, limit)) return undefined
  const lengthBytes = window.view.getUint32(offset - window.base + at.lengthBytes, true)
  if (!segment.fill(window, offset, lengthBytes, ahead, limit)) return undefined
  const start = offset - window.base
  if (window.view.getUint32(start + at.batchOffset, true) !== batchOffset) return undefined
  if (!isFrameIntact(window.buffer, window.view, start, segment.header.checksumSeed)) return undefined
  const continues = (window.view.getUint16(start + at.flags, true) & frameContinues) !== 0
  return continues ? alignFrame(offset + lengthBytes) : 0
}

/** Bytes read at once in a scan. */
export const blockBytes: number = 256 * 1024

/** A look for the next batch, which goes on where it had to stop for bytes of another tier. */
export interface BatchSearch {
  /** Where the damage begins, as a position. */
  readonly from: number
  /** Offset up to which there is no batch. */
  at: number
}

/** The search behind a position: the one that is under way when that is the same. */
export const searchBehind = (from: number, underWay: BatchSearch | undefined): BatchSearch =>
  underWay?.from === from ? underWay : { from, at: alignFrame(segmentOffsetOf(from) + 1) }

/**
 * The offset of the first whole batch that starts behind where `search` began, or `limit` when there is none: where reading goes on behind
 * damage. Looks for a header that names its own offset, then for its checksum. Of what is known to be damaged nothing is looked at.
 */
export const findNextBatch = (segment: Segment, search: BatchSearch, limit: number): number => {
  const window = new Window()
  for (let offset = search.at; offset + frameHeaderBytes < limit; offset += 8) {
    search.at = offset
    if (!segment.fill(window, offset, frameHeaderBytes, blockBytes, limit)) {
      const damage = segment.residency.damage.firstIn(offset, offset + frameHeaderBytes)
      if (damage === undefined) return limit
      // The loop adds 8.
      offset = alignFrame(Math.max(damage.to, offset + 8)) - 8
      continue
    }
    const start = offset - window.base
    if (!isFrameHeader(window.view, start, offset, limit)) continue
    if (window.view.getUint32(start + at.batchOffset, true) !== offset) continue
    if (checkFrame(segment, new Window(), offset, limit, frameHeaderBytes) === FRAME_OK) return offset
  }
  return limit
}
