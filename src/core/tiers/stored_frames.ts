/**
 * Zstd frames in which the compressor gained nothing, such as those of payloads that are compressed or encrypted already: what they hold lies in
 * them as it is, and is read there. No decoder looks at it, so each log frame in it is checked against its own checksum instead.
 */
import { alignFrame, frameHeader, isFrameHeader, isFrameIntact } from "../../format/frame.ts"
import { type SeekTable, storedContent, type ZstdFrame } from "../../format/seekable_zstd.ts"

/** A run of frames as they came. */
interface PackedRun {
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

/**
 * The frames of a run, when all of them are stored and each is made of whole log frames, as it is unless records are very long; else undefined: memory is kept
 * for a whole run.
 */
export const storedFrames = (run: PackedRun): ReadonlyArray<StoredFrame> | undefined => {
  const { table, first, last, packed } = run
  const stored: Array<StoredFrame> = []
  for (let index = first.index; index <= last.index; index++) {
    const frame = table.frame(index)!
    const at = frame.compressedOffset - first.compressedOffset
    const content = storedContent(packed.subarray(at, at + frame.compressedBytes), frame.contentBytes)
    if (content === undefined || !everyLogFrame({ frame, content }, () => true)) return undefined
    stored.push({ frame, content })
  }
  return stored
}

/** True when the log frames in a stored frame check with `seed`. */
export const isStoredIntact = (stored: StoredFrame, seed: number): boolean =>
  everyLogFrame(stored, (view, at) => isFrameIntact(stored.content, view, at, seed))

/** True when a stored frame is made of whole log frames for which `is` is true; `at` is where one lies in it. */
const everyLogFrame = ({ frame, content }: StoredFrame, is: (view: DataView, at: number) => boolean): boolean => {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const end = frame.contentOffset + content.length
  for (let at = 0; at < content.length; ) {
    if (!isFrameHeader(view, at, frame.contentOffset + at, end) || !is(view, at)) return false
    at = alignFrame(at + view.getUint32(at + frameHeader.at.lengthBytes, true))
  }
  return true
}
