/**
 * Leaves the live end the larger part of the machine: while records are appended, what scans fetch comes one run at a time, with a rest behind each
 * that is some times as long as it took. Otherwise everything is fetched at once.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** How often those who rest look whether somebody still appends. */
const lookMs = 10

export class ScanPace {
  /** Milliseconds of all rests. */
  restedMs = 0
  readonly #restShare: number
  readonly #isLive: () => boolean
  readonly #nowMs: () => number
  readonly #gate = Semaphore.makeUnsafe(1)
  #restUntilMs = 0

  constructor(options: {
    /** Rest behind a run, in times of what it took; 0 for no pace at all. */
    readonly restShare: number
    /** True while somebody appends. */
    readonly isLive: () => boolean
    readonly nowMs: () => number
  }) {
    this.#restShare = options.restShare
    this.#isLive = options.isLive
    this.#nowMs = options.nowMs
  }

  /** Fetches now, or in its turn. */
  paced<A, E>(fetch: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (this.#restShare === 0 || !this.#isLive()) return fetch
      return this.#gate.withPermits(1)(Effect.andThen(this.#rest, this.#timed(fetch)))
    })
  }

  readonly #rest: Effect.Effect<void> = Effect.suspend(() => {
    const leftMs = this.#restUntilMs - this.#nowMs()
    if (leftMs <= 0 || !this.#isLive()) return Effect.void
    const restMs = Math.min(leftMs, lookMs)
    this.restedMs += restMs
    return Effect.andThen(Effect.sleep(restMs), this.#rest)
  })

  #timed<A, E>(fetch: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const startMs = this.#nowMs()
      const ended = Effect.sync(() => {
        const nowMs = this.#nowMs()
        this.#restUntilMs = nowMs + this.#restShare * (nowMs - startMs)
      })
      return Effect.ensuring(fetch, ended)
    })
  }
}
