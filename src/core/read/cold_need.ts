/**
 * What a synchronous read was missing: carried by the `WouldBlock` that it throws, so that the awaiting twin fetches just that and
 * tries again.
 */
import * as Effect from "effect/Effect"
import { type AofError, type WouldBlock, wouldBlock } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import type { Residency } from "../tiers/residency.ts"

/** Something that has to be brought before a read can go on. */
export interface ColdNeed {
  readonly residency: Residency
  /**
   * `frames`: the zstd frames of a range, from Tier 2. `scan`: the same with what lies behind, or the warm file. `hot`: the Tier 0 file. `look`: another
   * process has moved the segment, and the manifest says where it is.
   */
  readonly kind: "frames" | "scan" | "hot" | "look"
  /** Offset and length in the segment; the tail when the length is 0. */
  readonly offset: number
  readonly length: number
  /** Of a scan: how far scans had read the segment out of Tier 2 by then. */
  readonly scannedTo?: number | undefined
}

/** Brings what is missing. */
export interface NeedServer {
  readonly satisfy: (need: ColdNeed) => Effect.Effect<void, AofError>
  /** Begins to bring it, so that a later try of a caller who does not wait may succeed. */
  readonly begin: (need: ColdNeed) => void
  /** Segments that are waited for. */
  readonly queueDepth: number
}

const needs: WeakMap<WouldBlock, ColdNeed> = new WeakMap()

/** The error of a read that needs something first; its retry delay grows with the queue. */
export const hydrationBlocked = (need: ColdNeed, queueDepth: number): WouldBlock => {
  const error = wouldBlock("Hydration", queueDepth + 1, 0, Math.min(250, 10 * (queueDepth + 1)))
  needs.set(error, need)
  return error
}

/** What `error` was missing; undefined for every other error. */
export const needOf = (error: AofError): ColdNeed | undefined =>
  error._tag === "WouldBlock" ? needs.get(error) : undefined

/** Tries until nothing is missing any more, bringing in between what is. Other errors are the caller's. */
export const whenAtHand = <A>(server: NeedServer, run: () => A): Effect.Effect<A, AofError> =>
  Effect.catch(attempt(run), (error: AofError): Effect.Effect<A, AofError> => {
    const need = needOf(error)
    if (need === undefined) return Effect.fail(error)
    return Effect.flatMap(server.satisfy(need), () => whenAtHand(server, run))
  })
