/**
 * Decides where the zstd frames of a warm file end: where log frames end, so that a record's frame is in one of them, near the
 * wished size and never above twice that size. What does not parse as log frames is cut at the wished size.
 *
 * Invariants: cuts go forward and end at the end of the source; one of them is where the log frames end.
 */
import { alignFrame, frameHeader, frameHeaderBytes, isFrameHeader } from "../format/frame.ts"
import { segmentHeaderBytes } from "../format/segment_header.ts"

/** What is cut, in bytes of the source. */
export interface CutPlan {
  /** Length of the source. */
  readonly sourceBytes: number
  /** Where its log frames end; at most `sourceBytes`. */
  readonly framesEnd: number
  /** Wished size of a zstd frame. */
  readonly frameBytes: number
}

/** Bytes behind the start of a zstd frame that `cut` may look at. */
export const cutWindowBytes = (frameBytes: number): number => 2 * frameBytes + frameHeaderBytes

/** The walk over the log frames of one source. */
export class FrameCutter {
  readonly #plan: CutPlan
  /** Where the next log frame starts; undefined when the source does not parse. */
  #headerAt: number | undefined

  /** Starts at the beginning of a source. */
  constructor(plan: CutPlan) {
    this.#plan = plan
    this.#headerAt = segmentHeaderBytes <= plan.framesEnd ? segmentHeaderBytes : undefined
  }

  /**
   * Where the zstd frame that starts at `start` ends. `window` holds the source from `windowOffset`, and of what is behind
   * `start` at least `cutWindowBytes`, or all that is left. `start` is the last result, at first 0, below the end of the source.
   */
  cut(window: Uint8Array, windowOffset: number, start: number): number {
    const { sourceBytes, framesEnd, frameBytes } = this.#plan
    if (start >= framesEnd) return Math.min(start + frameBytes, sourceBytes)
    const view = new DataView(window.buffer, window.byteOffset, window.byteLength)
    let end = start
    for (;;) {
      const next = this.#headerAt
      if (next === undefined || next > framesEnd) return Math.min(start + frameBytes, framesEnd)
      if (next > start) {
        const isNearer = next - start - frameBytes <= frameBytes - (end - start)
        if (!isNearer) return end > start ? end : start + frameBytes
        end = next
        if (end === framesEnd) return end
      }
      this.#headerAt = this.#nextHeader(view, windowOffset, next)
      // Where the parsing ends a frame ends too, if there is something in it.
      if (this.#headerAt === undefined && end > start) return end
    }
  }

  /** Where the log frame at `offset` ends, which is where the next one starts. */
  #nextHeader(view: DataView, windowOffset: number, offset: number): number | undefined {
    const { framesEnd } = this.#plan
    if (offset === framesEnd) return undefined
    const at = offset - windowOffset
    if (at < 0 || !isFrameHeader(view, at, offset, framesEnd)) return undefined
    return Math.min(alignFrame(offset + view.getUint32(at + frameHeader.at.lengthBytes, true)), framesEnd)
  }
}
