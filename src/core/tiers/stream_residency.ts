/** What a caller may ask of the tiers for one stream: bring segments up, let them go, walk them one by one. */
import * as Effect from "effect/Effect"
import { checkNames } from "../../model/config_check.ts"
import { type AofError, invalidArgument, storeRefused } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import { whenAtHand } from "../read/cold_need.ts"
import { type ForwardCursor, openSegmentCursor } from "../read/cursor.ts"
import type { ReadLevel } from "../read/reader.ts"
import type { Segment } from "../stream/segment.ts"
import { checkOpen, type StreamState } from "../stream/stream_state.ts"
import type { HydrationTarget } from "./hydrate_segment.ts"
import { hydrationPriority } from "./hydrator.ts"
import type { Residency } from "./residency.ts"

/** Which segments, and where to. */
export interface PrefetchOptions {
  /** Index of the first segment; default the first that is left. */
  readonly from?: number | undefined
  /** Segments at most, 1 or more; default all. */
  readonly count?: number | undefined
  /** `tier1`: to warm files; `tier0`: on to plain files. Default `tier0`. */
  readonly to?: HydrationTarget | undefined
}

/** Where segments are to go. */
export interface EvictOptions {
  /** `tier1`: out of Tier 0; `tier2`: off the local disk. Default `tier1`. */
  readonly to?: "tier1" | "tier2" | undefined
}

/** Asks for segments ahead of their use and returns when all are there. Interrupting it lets them come all the same. */
export const prefetch: (stream: StreamState, options: PrefetchOptions) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (stream, options) {
    const { target, residencies } = yield* attempt(() => planPrefetch(stream, options))
    const { hydrator } = stream.services.tiers.coordinator
    for (const one of residencies) hydrator.prefetch(one, target, hydrationPriority.prefetch)
    yield* Effect.forEach(residencies, (one) => hydrator.request(one, target, hydrationPriority.prefetch), {
      concurrency: "unbounded",
      discard: true,
    })
  })

const planPrefetch = (
  stream: StreamState,
  options: PrefetchOptions,
): { readonly target: HydrationTarget; readonly residencies: ReadonlyArray<Residency> } => {
  checkOpen(stream)
  checkNames("prefetch option", options, ["from", "count", "to"])
  if (stream.services.config.readOnly) throw storeRefused("prefetch", "a read-only one", "a writable store")
  const { from = 0, count = Number.MAX_SAFE_INTEGER, to = "tier0" } = options
  if (to !== "tier0" && to !== "tier1") throw invalidArgument("prefetch to", to, "tier0 or tier1")
  if (!Number.isSafeInteger(from) || from < 0) throw invalidArgument("prefetch from", from, "an integer of at least 0")
  if (!Number.isSafeInteger(count) || count < 1)
    throw invalidArgument("prefetch count", count, "an integer of at least 1")
  const isAway = (one: Residency): boolean => !one.isHot && (to === "tier0" || !one.isWarm)
  const wanted = stream.catalog.entries.filter((segment) => segment.state === "sealed" && segment.index >= from)
  return {
    target: to,
    residencies: wanted
      .slice(0, count)
      .map((segment) => segment.residency)
      .filter(isAway),
  }
}

/**
 * Moves all sealed segments of a stream down, as soon as compression and upload allow, and returns when they have left. Fails with what
 * stands in the way once it was tried as often as configured.
 */
export const evict: (stream: StreamState, options: EvictOptions) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream, options) {
    const { tiers, config } = stream.services
    const to = yield* attempt(() => {
      checkOpen(stream)
      checkNames("evict option", options, ["to"])
      if (config.readOnly) throw storeRefused("evict", "a read-only one", "a writable store")
      const { to: target = "tier1" } = options
      if (target !== "tier1" && target !== "tier2") throw invalidArgument("evict to", target, "tier1 or tier2")
      if (target === "tier2" && tiers.services.tier2 === undefined) {
        throw invalidArgument("evict to", target, "tier1, as there is no Tier 2")
      }
      return target
    })
    // Those whose footer is on its way are complete, and leave as soon as they are sealed.
    const leaving = stream.catalog.entries.filter(({ state }) => state !== "active").map(({ residency }) => residency)
    // Who sends it away does not expect the next scan to bring it back.
    for (const one of leaving) one.scannedTo = 0
    tiers.coordinator.evict(leaving, to)
    // One that is not sealed stays when its stream is closed: it has not left.
    const isThere = (one: Residency): boolean => tiers.coordinator.isLeaving(one) || one.seal === undefined
    while (leaving.some((one) => isThere(one) && !one.isGone)) {
      yield* attempt(() => checkOpen(stream))
      if (to === "tier2") yield* checkBucket(stream)
      const stuck = leaving.find((one) => one.failures > config.tier1.retriesMax && one.lastError !== undefined)
      if (stuck !== undefined) return yield* Effect.fail(stuck.lastError!)
      yield* tiers.coordinator.nextRound
    }
  },
)

/** Fails when the root is lost, or HEAD cannot be put: then nothing leaves the disk. */
const checkBucket = ({ services }: StreamState): Effect.Effect<void, AofError> => {
  const { bucket, tier1 } = services.tiers.services
  const error = services.fence.error ?? bucket?.trouble(tier1.retriesMax)
  return error === undefined ? Effect.void : Effect.fail(error)
}

/** One sealed segment after the other, each in Tier 0 while it is read, the next one on its way meanwhile. */
export class SegmentWalk {
  readonly #stream: StreamState
  readonly #level: ReadLevel
  #index: number
  #cursor: ForwardCursor | undefined = undefined

  constructor(stream: StreamState, from: number, level: ReadLevel) {
    this.#stream = stream
    this.#level = level
    this.#index = from
  }

  /** A cursor over the next sealed segment; undefined when there is none now. The cursor before is closed. */
  readonly next: Effect.Effect<ForwardCursor | undefined, AofError> = Effect.suspend(() => {
    this.close()
    const segment = this.#nextSealed(this.#index)
    if (segment === undefined) return Effect.succeed(undefined)
    const { hydrator } = this.#stream.services.tiers.coordinator
    const after = this.#nextSealed(segment.index + 1)
    const opened = whenAtHand(hydrator, () => openSegmentCursor(this.#stream, segment.index, this.#level))
    return Effect.map(opened, (cursor) => {
      this.#index = segment.index + 1
      this.#cursor = cursor
      if (after !== undefined && !after.residency.isHot && !this.#stream.services.config.readOnly) {
        hydrator.prefetch(after.residency, "tier0", hydrationPriority.ahead)
      }
      return cursor
    })
  })

  /** Closes the cursor handed out last. */
  close(): void {
    this.#cursor?.close()
    this.#cursor = undefined
  }

  #nextSealed(index: number): Segment | undefined {
    checkOpen(this.#stream)
    const segment = this.#stream.catalog.atOrAbove(index)
    return segment?.state === "sealed" ? segment : undefined
  }
}
