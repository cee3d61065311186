/** When the next step of a segment is tried again after a failure. */
import { type AofError, isDiskFull } from "../../model/errors.ts"
import type { Residency } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"

/** The longest pause; what has failed this often is still tried, but rarely. */
const delayMsMax = 30_000

/** Notes a failure: the pause doubles with each, and is long once there were more than the configured retries. */
export const noteFailure = (
  services: Pick<TierServices, "clock" | "tier1" | "onDiskFull">,
  residency: Residency,
  error: AofError,
): void => {
  const { retriesMax, retryBackoffMs } = services.tier1
  if (isDiskFull(error)) services.onDiskFull()
  residency.failures++
  residency.lastError = error
  const isExhausted = residency.failures > retriesMax
  const delayMs = isExhausted ? delayMsMax : Math.min(delayMsMax, retryBackoffMs * 2 ** (residency.failures - 1))
  residency.retryAtMs = services.clock.currentTimeMillisUnsafe() + delayMs
}

/** The step succeeded, or somebody asks for it: it begins with a clean slate. */
export const forgetFailures = (residency: Residency): void => {
  residency.failures = 0
  residency.retryAtMs = 0
  residency.lastError = undefined
}

/** What stood in the way of all of them is gone: those that wait for their next try wait no longer. */
export const forgetAllFailures = (residencies: Iterable<Residency>): void => {
  for (const one of residencies) if (!one.isBusy) forgetFailures(one)
}
