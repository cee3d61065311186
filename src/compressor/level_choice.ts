/**
 * Spares the level of a job where it gains nothing: of bytes that are random, encrypted or compressed already zstd makes blocks that hold
 * them as they are, whatever the level, and a high level takes several times as long to find that out.
 *
 * Invariants: a frame that shrinks at the fast level is tried at the level of the job, so what differs is never more than what the fast level
 * does not see at all; at least every `fullEvery`-th frame is made at the level of the job. Which level a frame gets is told by the
 * bytes alone, so one segment always gives one warm file.
 */
import type { FrameCodec } from "./checked_codec.ts"

/** Tried first where nothing was gained. It still looks for repetitions and at how often each byte occurs; levels below 1 do not do the latter. */
const fastLevel = 1
/** Frames in a row in which the level of the job gained nothing, before the fast one is tried. */
const vainMin = 8
/** At most one frame in so many is made at the level of the job while nothing is gained: for what the fast level does not see. */
const fullEvery = 16

/** The frames of one source, one after the other. */
export class LevelChoice {
  readonly #codec: Pick<FrameCodec, "compress">
  readonly #level: number
  /** Frames in a row that did not shrink at the level of the job. */
  #vain = 0
  #sinceFull = 0

  /** Makes frames with `codec`, of at best the size that `level` gives. */
  constructor(codec: Pick<FrameCodec, "compress">, level: number) {
    this.#codec = codec
    this.#level = level
  }

  /** One zstd frame with all of `content`, as `FrameCodec.compress` makes it. Throws what that throws. */
  compress(content: Uint8Array): Uint8Array {
    if (this.#level <= fastLevel || this.#vain < vainMin || this.#sinceFull >= fullEvery - 1) return this.#full(content)
    this.#sinceFull++
    const fast = this.#codec.compress(content, fastLevel)
    if (fast.length >= content.length) return fast
    this.#vain = 0
    const full = this.#full(content)
    return full.length <= fast.length ? full : fast
  }

  #full(content: Uint8Array): Uint8Array {
    const frame = this.#codec.compress(content, this.#level)
    this.#sinceFull = 0
    this.#vain = frame.length < content.length ? 0 : this.#vain + 1
    return frame
  }
}
