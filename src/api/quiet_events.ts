/** Events go to code of the user: what that throws must not reach the store. */
import type { AofManagerConfig } from "../model/config.ts"
import type { ScrubPlan, ScrubProgress } from "../model/scrub.ts"
import type { TierEvent } from "../model/tier_event.ts"

/** The same configuration with a listener that never throws; what it throws is told once, on the console. */
export const quietEvents = (config: AofManagerConfig): AofManagerConfig => {
  const { onEvent } = config
  if (onEvent === undefined) return config
  let hasTold = false
  const quiet = (event: TierEvent): void => {
    try {
      onEvent(event)
    } catch (error) {
      if (!hasTold) console.error("bop-aof: onEvent has thrown, which it must not:", error)
      hasTold = true
    }
  }
  return { ...config, onEvent: quiet }
}

/** The same plan with an `onProgress` that never throws. */
export const quietPlan = (plan: ScrubPlan): ScrubPlan => ({ ...plan, onProgress: quietProgress(plan.onProgress) })

/** A listener that never throws; what it throws is told once, on the console. */
export const quietProgress = (onProgress: ScrubPlan["onProgress"]): ScrubPlan["onProgress"] => {
  if (onProgress === undefined) return undefined
  let hasTold = false
  return (progress: ScrubProgress): void => {
    try {
      onProgress(progress)
    } catch (error) {
      if (!hasTold) console.error("bop-aof: onProgress has thrown, which it must not:", error)
      hasTold = true
    }
  }
}
