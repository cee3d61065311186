/**
 * Zstd frames in which the compressor gained nothing, such as those of payloads that are compressed or encrypted already: what they hold lies in
 * them as it is, and is read there. No decoder looks at it, so each log frame in it is checked against its own checksum instead.
 */
import { alignFrame, frameHeader, isFrameHeader, isFrameIntact } from "../../format/frame.ts"
import { type SeekTable, storedContent, type ZstdFrame } from "../../format/seekable_zstd.ts"
import type { Residency } from "./residency.ts"

/** A run of frames as they came. */
interface PackedRun {
  readonly residency: Residency
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
  readonly packed: Uint8Array
}

/** A zstd frame and what it holds. */
export interface StoredFrame {
  readonly frame: ZstdFrame
  /** In the memory of the run. */
  readonly content: Uint8Array
}

/** The frames of a run that holds nothing but log frames, when all of them are stored; else undefined: memory is kept for a whole run. */
export const storedFrames = (run: PackedRun): ReadonlyArray<StoredFrame> | undefined => {
  const { residency, table, first, last, packed } = run
  const end = last.contentOffset + last.contentBytes
  // The first one begins with the header of the segment.
  if (first.index === 0 || end > (residency.seal?.framesEnd ?? 0)) return undefined
  const stored: Array<StoredFrame> = []
  for (let index = first.index; index <= last.index; index++) {
    const frame = table.frame(index)!
    const at = frame.compressedOffset - first.compressedOffset
    const content = storedContent(packed.subarray(at, at + frame.compressedBytes), frame.contentBytes)
    if (content === undefined) return undefined
    stored.push({ frame, content })
  }
  return stored
}

/** True when a stored frame is made of whole log frames that check with `seed`. */
export const isStoredIntact = ({ frame, content }: StoredFrame, seed: number): boolean => {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const end = frame.contentOffset + content.length
  let at = 0
  while (at < content.length) {
    if (!isFrameHeader(view, at, frame.contentOffset + at, end) || !isFrameIntact(content, view, at, seed)) return false
    at = alignFrame(at + view.getUint32(at + frameHeader.at.lengthBytes, true))
  }
  return true
}
