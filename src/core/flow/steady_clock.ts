/** A clock for pauses and graces: it never goes back. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * The same clock, but for jumps back of the system's, which it leaves out: a pause must not take an hour longer because the clock of the
 * machine was put right. After one it is ahead of that clock by as much; what says when something happened takes the clock itself.
 */
export const steadyClock = (clock: Clock.Clock): Clock.Clock => {
  let last = Number.NEGATIVE_INFINITY
  let aheadMs = 0
  const now = (): number => {
    const wallMs = clock.currentTimeMillisUnsafe()
    if (wallMs < last) aheadMs += last - wallMs
    last = wallMs
    return wallMs + aheadMs
  }
  return {
    currentTimeMillisUnsafe: now,
    currentTimeMillis: Effect.sync(now),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    currentTimeNanos: clock.currentTimeNanos,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration),
  }
}
