/** When a request that failed is tried again. Pure: whoever asks brings the chance and does the waiting. */
import { type RetryPolicy, retryDelayMsMax } from "../model/tier2_config.ts"

/** A try that has failed. */
export interface FailedTry {
  /** Which it was, from 1. */
  readonly attempt: number
  /** True when the same request may succeed later: `StoreError.retryable`. */
  readonly retryable: boolean
  /** An unsigned 32-bit number, drawn anew for each try. */
  readonly random32: number
}

/** Pause before the next try; undefined when there is none. */
export const nextDelayMs = (policy: RetryPolicy, { attempt, retryable, random32 }: FailedTry): number | undefined =>
  retryable && attempt < policy.maxAttempts ? retryDelayMs(policy, attempt, random32) : undefined

/**
 * Pause behind try number `attempt`: doubled with each, at most ten seconds, and of that up to the share `jitter` taken away by
 * chance, so that many who failed together do not come back together.
 */
export const retryDelayMs = (policy: RetryPolicy, attempt: number, random32: number): number => {
  const full = Math.min(retryDelayMsMax, policy.baseDelayMs * 2 ** (attempt - 1))
  return Math.round(full * (1 - policy.jitter * ((random32 >>> 0) / 2 ** 32)))
}
