/**
 * Who asks a store that did not answer whether it does again: one upload that waits, and not all. What has failed often waits long, longer than the
 * breaker; without this nobody would ask when it would let somebody pass.
 */
import type { Tier2Gate } from "../tier2/tier2_gate.ts"
import type { Residency } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"

/** Between two tries of which the breaker has learned nothing. */
const pauseMs = 1000

/** Uploads that may be begun, of which `left` are allowed otherwise: one while it is not known whether the store answers. */
export const uploadSlots = ({ tier2, bucket }: Pick<TierServices, "tier2" | "bucket">, left: number): number => {
  if (tier2?.gate.isAway === true || bucket?.takesSegments === false) return 0
  return tier2 === undefined || tier2.gate.breaker.state === "closed" ? left : Math.min(1, left)
}

export class TierProbe {
  #askedMs = Number.NEGATIVE_INFINITY
  /** What the breaker has said before the last try; a new word of it means that it has learned something. */
  #retryAtMs: number | undefined = undefined

  /** Makes the upload that waits longest due, when the breaker lets one pass and none is due. */
  ask(gate: Tier2Gate, waiting: Iterable<Residency>, nowMs: number): void {
    const atMs = this.nextMs(gate)
    if (atMs === undefined || atMs > nowMs || gate.isAway) return
    this.#askedMs = nowMs
    this.#retryAtMs = gate.breaker.retryAtMs
    let longest: Residency | undefined
    for (const one of waiting) {
      if (one.isBusy || one.isGone) continue
      if (one.retryAtMs <= nowMs) return
      if (longest === undefined || one.retryAtMs < longest.retryAtMs) longest = one
    }
    if (longest !== undefined) longest.retryAtMs = nowMs
  }

  /** When somebody may ask next; undefined while the breaker is closed, or waits for an answer. */
  nextMs({ breaker }: Tier2Gate): number | undefined {
    const { retryAtMs } = breaker
    if (retryAtMs === undefined || retryAtMs !== this.#retryAtMs) return retryAtMs
    return Math.max(retryAtMs, this.#askedMs + pauseMs)
  }
}
