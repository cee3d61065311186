/** Decoded bytes of a segment, as readers of other tiers share them. */
/** Decoded bytes of a segment from `offset` on, or the seek table of its warm form. */
export interface Stretch {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly view: DataView
  /** True when the log frames in it were checked where they lie. */
  readonly isIntact: boolean
}

/** A stretch of decoded bytes. */
export const makeStretch = (offset: number, bytes: Uint8Array, isIntact = false): Stretch => ({
  offset,
  bytes,
  isIntact,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
})

/** Frames of one segment at most: keys of stretches are numbered within it. */
const framesMax = 2 ** 20

/** The key of the stretch that starts with frame `index` of the warm form `uid`. */
export const stretchKey = (uid: number, index: number): number => uid * framesMax + index
