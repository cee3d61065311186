/**
 * What closing still does for the bucket: sealed segments are compressed and uploaded, and what waits for its next try is tried once more, so
 * that another machine finds them. All by the jobs that an open manager runs: a kill in the middle costs no more than it does there.
 *
 * The bucket is asked first, with little patience: one that does not answer, or is another's by now, is left alone.
 */
import * as Effect from "effect/Effect"
import type { Residency } from "./residency.ts"
import { forgetFailures } from "./tier_retry.ts"
import type { TierSegments } from "./tier_segments.ts"
import type { TierServices } from "./tier_services.ts"

/** What the bucket has for an answer at most: so many milliseconds, and such a share of what is left. */
const askMsMax = 3000
const askShare = 0.3
/** Share of the time that is left for the last HEAD. */
const headShare = 0.25
/** Longest pause between two looks at what is left. */
const lookMs = 50

/** What a hand-over works with. */
export interface HandOverParts {
  readonly services: TierServices
  readonly segments: Pick<TierSegments, "uncompressed" | "unuploaded">
  /** Called when the bucket has answered, before anything is begun. */
  readonly onBegin: () => void
  /** Ends with the next look of the coordinator. */
  readonly nextRound: Effect.Effect<void>
}

/** Brings to the bucket what is to go there, as long as it answers, and leaves a share of `leftMs()` for the HEAD that names it. */
export const handOver = (parts: HandOverParts, leftMs: () => number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { services, segments, onBegin, nextRound } = parts
    const { tier2, bucket, isUploadEager } = services
    if (tier2 === undefined || bucket === undefined || !isUploadEager || leftMs() <= 0) return
    if (leftOver(services, segments).length === 0 && !bucket.times.hasNews) return
    tier2.gate.breaker.hurry(services.clock.currentTimeMillisUnsafe())
    if (!(yield* bucket.ask(Math.min(askMsMax, leftMs() * askShare)))) return
    for (const one of leftOver(services, segments)) if (!one.isBusy) forgetFailures(one)
    bucket.wake()
    onBegin()
    const headMs = leftMs() * headShare
    // One try for each: what has failed is not waited for.
    const isOver = (): boolean => {
      if (bucket.isFenced || bucket.trouble(0) !== undefined || tier2.gate.isAway) return true
      const left = leftOver(services, segments)
      if (tier2.gate.lastFailure !== undefined && left.some(({ failures }) => failures > 0)) return true
      return bucket.takesSegments && left.every(({ failures }) => failures > 0)
    }
    while (!isOver() && leftMs() > headMs) {
      yield* Effect.timeoutOption(nextRound, Math.max(1, Math.min(lookMs, leftMs() - headMs)))
    }
    // The last HEAD says also what is not there.
    bucket.times.want(bucket.times.news)
  })

/** Sealed segments that are to go to the bucket and are not there. */
const leftOver = (
  { tier1 }: Pick<TierServices, "tier1">,
  { uncompressed, unuploaded }: HandOverParts["segments"],
): ReadonlyArray<Residency> =>
  [...(tier1.compress === "eager" ? uncompressed : []), ...unuploaded].filter((one) => !one.isDamaged)

/** Says, at the end of closing, what another machine would not find in the bucket. */
export const tellLeftOver = (services: TierServices, segments: HandOverParts["segments"]): void => {
  const { tier2, bucket, isUploadEager } = services
  if (tier2 === undefined || bucket === undefined || !isUploadEager || bucket.isFenced) return
  const count = leftOver(services, segments).length
  if (count === 0 && !bucket.times.isBehind) return
  const what = count === 0 ? "HEAD does not name all that is there" : `sealed segments that are not there: ${count}`
  const reason = `closed before ${tier2.place} had everything, which the next opening goes on with; ${what}`
  services.emit({ name: "tier2_left_behind", level: "warn", reason })
}
