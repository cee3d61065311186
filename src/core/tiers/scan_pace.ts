/**
 * Leaves the live end the larger part of the machine: while records are appended, what scans fetch comes one run at a time, with a rest behind each
 * that is twice as long as it took. Otherwise everything is fetched at once.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** Rest behind a run, in times of what it took. */
const restShare = 2
/** How often those who rest look whether somebody still appends. */
const lookMs = 10

export class ScanPace {
  readonly #isLive: () => boolean
  readonly #nowMs: () => number
  readonly #gate = Semaphore.makeUnsafe(1)
  #restUntilMs = 0

  constructor(isLive: () => boolean, nowMs: () => number) {
    this.#isLive = isLive
    this.#nowMs = nowMs
  }

  /** Fetches now, or in its turn. */
  paced<A, E>(fetch: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (!this.#isLive()) return fetch
      return this.#gate.withPermits(1)(Effect.andThen(this.#rest, this.#timed(fetch)))
    })
  }

  readonly #rest: Effect.Effect<void> = Effect.suspend(() => {
    const leftMs = this.#restUntilMs - this.#nowMs()
    if (leftMs <= 0 || !this.#isLive()) return Effect.void
    return Effect.andThen(Effect.sleep(Math.min(leftMs, lookMs)), this.#rest)
  })

  #timed<A, E>(fetch: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      const startMs = this.#nowMs()
      const ended = Effect.sync(() => {
        const nowMs = this.#nowMs()
        this.#restUntilMs = nowMs + restShare * (nowMs - startMs)
      })
      return Effect.ensuring(fetch, ended)
    })
  }
}
