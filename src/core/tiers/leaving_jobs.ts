/** Jobs that no byte budget asks for: of segments that somebody wants to leave, and of a disk that is full. */
import type { TierJob } from "../../state/tier_plan.ts"
import type { Residency } from "./residency.ts"
import type { TierSegments } from "./tier_segments.ts"

type Job = TierJob<Residency, never>

/** Files that go at once when the disk is full, in each local tier. */
const diskFullEvictions = 4

/** The next step of each segment that was asked to leave; those that have left are taken out of the list. */
export const leavingJobs = (
  leaving: Map<Residency, "tier1" | "tier2">,
  now: {
    readonly nowMs: number
    readonly level: number
    readonly slots: { readonly compress: number; readonly upload: number }
  },
): ReadonlyArray<Job> => {
  const jobs: Array<Job> = []
  let { compress, upload } = now.slots
  for (const [segment, to] of leaving) {
    const isThere = !segment.isHot && (to === "tier1" || !segment.isWarm)
    if (isThere || segment.isGone || segment.isDamaged) {
      leaving.delete(segment)
      continue
    }
    if (segment.isBusy || segment.retryAtMs > now.nowMs || segment.seal === undefined) continue
    const mayLeave = segment.evictAtMs <= now.nowMs
    // The last local copy stays until a HEAD knows of the object.
    if (segment.form === undefined) {
      if (compress-- > 0) jobs.push({ type: "compress", segment, level: now.level })
    } else if (to === "tier2" && segment.cold === undefined) {
      if (upload-- > 0) jobs.push({ type: "upload", segment })
    } else if (segment.isHot) {
      if (mayLeave && segment.pins === 0 && (segment.isWarm || segment.isTold)) jobs.push({ type: "evictHot", segment })
    } else if (mayLeave && segment.warmPins === 0 && segment.isTold) jobs.push({ type: "evictWarm", segment })
  }
  return jobs
}

/** When the first of them is tried again, `soonMs` at the earliest; infinite when all wait for something else. */
export const nextLeavingMs = (leaving: Iterable<Residency>, soonMs: number): number => {
  let at = Number.POSITIVE_INFINITY
  for (const one of leaving) {
    // What a reader holds is told when it lets go, and what is being sealed when it is.
    const isWaiting = one.seal === undefined || one.isBusy || one.pins > 0 || one.warmPins > 0 || one.isUntold
    if (!isWaiting) at = Math.min(at, Math.max(one.retryAtMs, one.evictAtMs, soonMs))
  }
  return at
}

/** On a full disk nothing is begun that needs room; what has a copy elsewhere goes, a few files at a time. */
export const diskFullJobs = (segments: Pick<TierSegments, "hot" | "warm">): ReadonlyArray<Job> => {
  const isFree = (one: Residency): boolean => !one.isBusy && one.pins === 0 && one.warmPins === 0
  const evictable = [...segments.hot].filter((one) => isFree(one) && (one.isWarm || one.isTold))
  const cold = [...segments.warm].filter((one) => isFree(one) && one.isTold && !one.isHot)
  const oldest = (all: Array<Residency>): Array<Residency> =>
    all.sort((one, other) => one.lastUse - other.lastUse).slice(0, diskFullEvictions)
  return [
    ...oldest(evictable).map((segment): Job => ({ type: "evictHot", segment })),
    ...oldest(cold).map((segment): Job => ({ type: "evictWarm", segment })),
  ]
}
