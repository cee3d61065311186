/**
 * How fast a scrub reads. Bytes are taken in pieces, and each piece waits until the time of those before it has passed: in no stretch of
 * time is more read than the rate allows and one piece. What was not used of the rate is not made up for.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const pieceBytesMin = 64 * 1024
const pieceBytesMax = 1024 * 1024
/** Pieces in a second, while they are not at their bounds. */
const piecesPerSecond = 8

export class ScrubPace {
  /** Bytes to read at once. */
  readonly pieceBytes: number
  readonly #clock: Clock.Clock
  readonly #bytesPerSecond: number
  #freeAtMs = 0
  #bytes = 0

  constructor(clock: Clock.Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerSecond = bytesPerSecond
    this.pieceBytes = Math.min(pieceBytesMax, Math.max(pieceBytesMin, Math.floor(bytesPerSecond / piecesPerSecond)))
  }

  /** Bytes taken so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns when `bytes` more may be read. */
  take(bytes: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const nowMs = this.#clock.currentTimeMillisUnsafe()
      const waitMs = Math.max(0, this.#freeAtMs - nowMs)
      this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes * 1000) / this.#bytesPerSecond
      this.#bytes += bytes
      return waitMs < 1 ? Effect.void : Effect.sleep(Math.ceil(waitMs))
    })
  }
}
