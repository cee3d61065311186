/** A bound on how long closing takes. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type AofError, unavailable } from "../../model/errors.ts"

/**
 * Fails `Unavailable` with code `ETIMEDOUT` when closing takes longer than it may. In a fiber of its own: a call of the disk that
 * hangs cannot be interrupted, only left behind. The error names `closeTimeoutMs`, of which `timeoutMs` may be a part.
 */
export const bounded = <E>(
  effect: Effect.Effect<void, E>,
  timeoutMs: number,
  closeTimeoutMs: number = timeoutMs,
): Effect.Effect<void, E | AofError> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDetach(Effect.interruptible(effect), { startImmediately: true })
    const exit = yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), timeoutMs)
    if (exit._tag === "Some") return yield* exit.value
    fiber.interruptUnsafe()
    return yield* Effect.fail(unavailable("closing within closeTimeoutMs", "ETIMEDOUT", closeTimeoutMs))
  })

/** The time that closing has in all. A step that hangs leaves the later ones what is theirs. */
export class ClosingTime {
  readonly #clock: Clock.Clock
  readonly #startNanos: bigint
  readonly #timeoutMs: number

  constructor(clock: Clock.Clock, timeoutMs: number) {
    this.#clock = clock
    this.#startNanos = clock.monotonicTimeNanosUnsafe()
    this.#timeoutMs = timeoutMs
  }

  /** Milliseconds until `share` of the time is over, at least 1. */
  leftMs(share: number): number {
    const passedMs = Number(this.#clock.monotonicTimeNanosUnsafe() - this.#startNanos) / 1e6
    return Math.max(1, this.#timeoutMs * share - passedMs)
  }
}
