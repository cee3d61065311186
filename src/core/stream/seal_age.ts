/**
 * How long segments have been sealed, for retention. What this process has sealed is measured by a clock that nobody sets; of the rest there is
 * only what the clock of the machine said at the seal, which may have been wrong.
 */
import type * as Clock from "effect/Clock"
import type { Segment } from "./segment.ts"

/** When this process sealed a segment, in milliseconds of the monotonic clock. */
const sealed: WeakMap<Segment, number> = new WeakMap()

const monotonicMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** A segment was sealed just now. */
export const noteSealed = (segment: Segment, clock: Clock.Clock): void => void sealed.set(segment, monotonicMs(clock))

/**
 * Milliseconds since the seal of each segment of a stream, in order; 0 where there is no seal. One that seems to have been sealed in the future is
 * as old as the oldest behind it: it was sealed before that one.
 */
export const sealAgesMs = (segments: ReadonlyArray<Segment>, clock: Clock.Clock): ReadonlyArray<number> => {
  const [nowMs, steadyMs] = [clock.currentTimeMillisUnsafe(), monotonicMs(clock)]
  const ages = new Array<number>(segments.length).fill(0)
  let oldestMs = 0
  for (let at = segments.length - 1; at >= 0; at--) {
    const segment = segments[at]!
    if (segment.sealed === undefined) continue
    const own = sealed.get(segment)
    const ageMs = own === undefined ? nowMs - segment.sealed.sealedMs : steadyMs - own
    ages[at] = ageMs < 0 ? oldestMs : ageMs
    oldestMs = Math.max(oldestMs, ages[at]!)
  }
  return ages
}
