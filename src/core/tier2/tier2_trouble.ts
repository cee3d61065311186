/** What keeps segments from leaving for Tier 2, for those who wait for the room that they take. */
import type { Tier2Trouble } from "../../model/errors.ts"
import type { Tiers } from "../tiers/tiers.ts"
import { circuitOpenCode } from "./tier2_gate.ts"

/** Undefined while nothing waits for Tier 2, or nothing is known to be wrong with it. */
export const tier2Trouble = ({ services, segments }: Tiers): Tier2Trouble | undefined => {
  const { tier2, bucket } = services
  // What is there and no HEAD knows of stays on the disk, too.
  const headError = bucket?.trouble(0)
  if (tier2 === undefined || (segments.unuploaded.size === 0 && headError === undefined)) return undefined
  const { state } = tier2.gate.breaker
  const pending = [...segments.unuploaded, ...(bucket?.waiting.held() ?? [])]
  let [pendingBytes, failures] = [0, 0]
  let lastError: string | undefined
  for (const one of pending) {
    pendingBytes += one.warmBytes
    if (one.lastError === undefined || one.failures < failures) continue
    failures = one.failures
    lastError = one.lastError.message
  }
  lastError ??= headError?.message
  // That nothing is sent just now says nothing of why.
  if (lastError?.includes(circuitOpenCode)) lastError = tier2.gate.lastFailure?.message ?? lastError
  if (state === "closed" && lastError === undefined) return undefined
  return { place: tier2.place, state, pendingSegments: pending.length, pendingBytes, lastError }
}
