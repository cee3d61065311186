/**
 * Leaves the live end the larger part of the machine: while records are appended, what scans fetch begins no faster than so many bytes a
 * second. Otherwise everything is fetched at once.
 */
import * as Effect from "effect/Effect"

/** How often those who wait look whether somebody still appends. */
const lookMs = 10

export class ScanPace {
  /** Milliseconds that fetches have waited. */
  waitedMs = 0
  readonly #bytesPerMs: number
  readonly #isLive: () => boolean
  readonly #nowMs: () => number
  /** When the next fetch may begin. */
  #nextMs = 0

  constructor(options: {
    readonly bytesPerSecondMax: number
    /** True while somebody appends. */
    readonly isLive: () => boolean
    readonly nowMs: () => number
  }) {
    this.#bytesPerMs = options.bytesPerSecondMax / 1000
    this.#isLive = options.isLive
    this.#nowMs = options.nowMs
  }

  /** Fetches `bytes` now, or when it is their turn. */
  paced<A, E>(bytes: number, fetch: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (!this.#isLive()) return fetch
      const startMs = Math.max(this.#nowMs(), this.#nextMs)
      const tookMs = bytes / this.#bytesPerMs
      this.#nextMs = startMs + tookMs
      // Who leaves before it began keeps nobody waiting.
      const giveBack = Effect.sync(() => {
        this.#nextMs -= tookMs
      })
      return Effect.andThen(
        Effect.onInterrupt(this.#until(startMs), () => giveBack),
        fetch,
      )
    })
  }

  #until(startMs: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const leftMs = startMs - this.#nowMs()
      if (leftMs <= 0) return Effect.void
      if (!this.#isLive()) {
        // Whoever comes next waits for nobody.
        this.#nextMs = 0
        return Effect.void
      }
      const pauseMs = Math.min(leftMs, lookMs)
      this.waitedMs += pauseMs
      return Effect.andThen(Effect.sleep(pauseMs), this.#until(startMs))
    })
  }
}
