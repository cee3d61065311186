/**
 * The second phase of a deletion in Tier 2: the manifest has named the objects durably and their grace has passed, so they are removed, and
 * the manifest is told. A crash in between repeats the removal, which does nothing to what is gone.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { QueuedObject } from "../bucket/bucket_options.ts"
import type { TierServices } from "../tiers/tier_services.ts"

/** Pause after a round in which an object could not be removed. */
const retryDelayMs = 1000

/** When an object that is queued for deletion may be removed as far as HEAD and its grace go. */
const givenUpMs = (
  { bucket, deleteTimes }: Pick<TierServices, "bucket" | "deleteTimes">,
  record: QueuedObject,
): number => {
  const dueMs = deleteTimes.dueMs(record)
  return bucket === undefined ? dueMs : bucket.deleteAtMs(record, dueMs)
}

const isNeeded = ({ replicas }: Pick<TierServices, "replicas">, { sequence }: QueuedObject): boolean =>
  replicas !== undefined && sequence > replicas.lowestSequence

/** When the first of them may be removed. One that a replica needs is looked at again with the replicas. */
export const nextDeleteMs = (
  services: Pick<TierServices, "bucket" | "replicas" | "manifest" | "deleteTimes" | "mayDelete">,
): number => {
  if (!services.mayDelete) return Number.POSITIVE_INFINITY
  const atMs = (record: QueuedObject): number =>
    isNeeded(services, record)
      ? Math.max(givenUpMs(services, record), services.replicas!.nextLookMs)
      : givenUpMs(services, record)
  let next = Number.POSITIVE_INFINITY
  for (const record of services.manifest.state.deletes.values()) next = Math.min(next, atMs(record))
  return next
}

/** Removes all objects that are due. Never fails: what could not be removed stays queued. */
export const deleteObjects = (services: TierServices, inUse: ReadonlySet<string>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { manifest, clock, tier2, replicas } = services
    const nowMs = clock.currentTimeMillisUnsafe()
    const givenUp = [...manifest.state.deletes.values()].filter(
      (record) => givenUpMs(services, record) <= nowMs && !inUse.has(record.key),
    )
    // Whoever reads them may have registered, renewed or gone since the last look. Files of the manifest nobody needs who can read HEAD.
    let sequence = 0
    for (const record of givenUp) if (record.streamId > 0) sequence = Math.max(sequence, record.sequence)
    const looked = replicas === undefined ? undefined : yield* Effect.result(replicas.look(sequence))
    if (looked?._tag === "Failure") return yield* Effect.sleep(retryDelayMs)
    const due = givenUp.filter((record) => !isNeeded(services, record))
    if (due.length === 0 && replicas !== undefined && replicas.count > 0) return
    // The records are durable before the first object goes.
    const committed = yield* Effect.result(manifest.commit)
    let hasFailed = committed._tag === "Failure" || due.length === 0
    if (committed._tag === "Success" && tier2 !== undefined) {
      for (let at = 0; at < due.length; at += tier2.removesAtOnce) {
        if (services.bucket?.mayChange === false) break
        const some = due.slice(at, at + tier2.removesAtOnce)
        const gone = new Set(yield* tier2.removeMany(some.map(({ key }) => key)))
        const reasonCode = manifestReason.Requested
        for (const { streamId, segmentIndex, key } of some) {
          if (gone.has(key)) manifest.append({ type: "Tier2Deleted", streamId, segmentIndex, key, reasonCode })
        }
        hasFailed ||= gone.size < some.length
        if (hasFailed && tier2.gate.isAway) break
      }
      yield* Effect.ignore(manifest.commit)
    }
    if (hasFailed) yield* Effect.sleep(retryDelayMs)
  })
