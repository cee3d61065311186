/** Repeats what failed and may pass, by a policy. Interrupting it ends the try or the pause that it is in. */
import * as Effect from "effect/Effect"
import type { RetryPolicy } from "../../model/tier2_config.ts"
import { nextDelayMs } from "../../state/retry_policy.ts"

/** How failed tries are judged, and who is told. */
export interface RetrySettings<E> {
  readonly policy: RetryPolicy
  /** An unsigned 32-bit number by chance. */
  readonly random32: () => number
  /** True when the same thing may succeed later. */
  readonly isRetried: (error: E) => boolean
  /** Asked once for each failed try: true when it has brought something all the same, and does not count. */
  readonly hasAdvanced?: (() => boolean) | undefined
  /** Called when a pause begins after try number `attempt`. */
  readonly onRetry: (error: E, pause: { readonly attempt: number; readonly delayMs: number }) => void
}

/** Runs `run` until it succeeds, fails for good, or has failed as often as it may; then its last error is the result. */
export const retried = <A, E>(
  run: (attempt: number) => Effect.Effect<A, E>,
  settings: RetrySettings<E>,
): Effect.Effect<A, E> => {
  const attemptFrom = (attempt: number): Effect.Effect<A, E> =>
    Effect.catch(
      Effect.suspend(() => run(attempt)),
      (error) => {
        const retryable = settings.isRetried(error)
        const failed = settings.hasAdvanced?.() === true ? 0 : attempt
        const delayMs = nextDelayMs(settings.policy, { attempt: failed, retryable, random32: settings.random32() })
        if (delayMs === undefined) return Effect.fail(error)
        settings.onRetry(error, { attempt, delayMs })
        return Effect.andThen(Effect.sleep(delayMs), attemptFrom(failed + 1))
      },
    )
  return attemptFrom(1)
}
