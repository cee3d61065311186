/** A clock for pauses, leases and graces: it goes on as time does, whatever is done to the clock of the machine. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A clock whose milliseconds only measure how long something takes. */
export interface SteadyClock extends Clock.Clock {
  /** What the clock of the machine shows, for what says when something happened, and for what another process reads. */
  readonly wallMsUnsafe: () => number
}

/** Milliseconds of the clock that only goes forward, with fractions. */
export const monotonicMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * Begins with what the clock of the machine shows and goes on with time: when that clock is put right, ahead or back, no pause takes longer or shorter
 * for it. It stands still while the machine is suspended.
 */
export const steadyClock = (clock: Clock.Clock): SteadyClock => {
  const startMs = clock.currentTimeMillisUnsafe()
  const startNanos = clock.monotonicTimeNanosUnsafe()
  const now = (): number => startMs + Math.floor(Number(clock.monotonicTimeNanosUnsafe() - startNanos) / 1e6)
  return {
    currentTimeMillisUnsafe: now,
    currentTimeMillis: Effect.sync(now),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    currentTimeNanos: clock.currentTimeNanos,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    wallMsUnsafe: () => clock.currentTimeMillisUnsafe(),
    sleep: (duration) => clock.sleep(duration),
  }
}
