/**
 * How long segments have been sealed, for retention: by the clock of the machine, unless that was plainly wrong at the seal. A machine without a
 * clock of its own begins in 1970, and what it sealed before it was told the time is not 50 years old.
 */
import type * as Clock from "effect/Clock"
import { monotonicMs } from "../flow/steady_clock.ts"
import type { Segment } from "./segment.ts"

/** Nothing was sealed before 2020, Unix milliseconds. */
const earliestMs = 1_577_836_800_000

/** When this process sealed a segment, in milliseconds of the monotonic clock. */
const sealed: WeakMap<Segment, number> = new WeakMap()

/** A segment was sealed just now. */
export const noteSealed = (segment: Segment, clock: Clock.Clock): void => void sealed.set(segment, monotonicMs(clock))

/**
 * Milliseconds since the seal of each segment of a stream, in order; 0 where there is no seal. One that was sealed by a wrong clock is as old as a clock
 * that nobody sets says, and when another process has sealed it, as the oldest behind it: it was sealed before that one.
 */
export const sealAgesMs = (segments: ReadonlyArray<Segment>, clock: Clock.Clock): ReadonlyArray<number> => {
  const [nowMs, steadyMs] = [clock.currentTimeMillisUnsafe(), monotonicMs(clock)]
  const ages = new Array<number>(segments.length).fill(0)
  let oldestMs = 0
  for (let at = segments.length - 1; at >= 0; at--) {
    const segment = segments[at]!
    if (segment.sealed === undefined) continue
    const { sealedMs } = segment.sealed
    const isWrong = sealedMs > nowMs || (sealedMs < earliestMs && nowMs >= earliestMs)
    const own = sealed.get(segment)
    const steadyAgeMs = own === undefined ? oldestMs : steadyMs - own
    ages[at] = isWrong ? steadyAgeMs : nowMs - sealedMs
    oldestMs = Math.max(oldestMs, ages[at]!)
  }
  return ages
}
