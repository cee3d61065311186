/**
 * Compares what lies in Tier 2 with what the manifest says lies there. An object that nothing names is queued for removal like any other; a
 * segment whose object is missing is uploaded again from a local copy.
 *
 * Invariants: what was named when the listing ended is no orphan, as a key is in the manifest before its first byte goes out; what was uploaded
 * before the listing began, and is not in it, is missing only when the store says so again. Objects of a later epoch are left alone.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../format/manifest_reason.ts"
import { type AofError, invalidArgument, unavailable } from "../model/errors.ts"
import type { MissingObject, OrphanObject, ReconcileReport } from "../model/reconcile.ts"
import { recordIdOf } from "../model/record_id.ts"
import { attempt } from "./attempt.ts"
import { rootIdText } from "./head_fence.ts"
import { replaceObject } from "./replace_object.ts"
import type { Residency } from "./residency.ts"
import type { Tier2 } from "./tier2.ts"
import type { Tiers } from "./tiers.ts"

/** Segments that are asked for one by one at once. */
const looksAtOnce = 4

interface Uploaded {
  readonly residency: Residency
  readonly key: string
  readonly lengthBytes: number
}

/** Reconciles; with `isPlan` it only tells. */
export const reconcile: (tiers: Tiers, plan: { readonly isPlan: boolean }) => Effect.Effect<ReconcileReport, AofError> =
  Effect.fnUntraced(function* (tiers, { isPlan }) {
    const { services } = tiers
    const { clock, rootId, emit, manifest } = services
    const tier2 = yield* attempt(() => checkPossible(tiers, isPlan))
    const startedMs = clock.currentTimeMillisUnsafe()
    const uploaded = uploadedSegments(tiers)
    const listed = yield* listAll(tier2, `${rootIdText(rootId)}/`)
    const orphans = yield* attempt(() => findOrphans(tiers, listed, isPlan))
    const checks = Effect.forEach(uploaded, (one) => checkObject(tiers, one, listed), { concurrency: looksAtOnce })
    const missing: Array<MissingObject> = []
    for (const found of yield* checks) {
      if (found === undefined) continue
      const { residency, problem, key } = found
      const isRepairable = residency.isWarm || residency.isHot
      const repaired = isRepairable && !isPlan ? yield* replaceObject(tiers, residency) : undefined
      missing.push({ ...placeOf(residency), key, problem, isRepairable, action: repaired ?? actionOf(isRepairable) })
    }
    if (!isPlan) yield* manifest.commit
    tiers.coordinator.wake()
    let bytes = 0
    for (const lengthBytes of listed.values()) bytes += lengthBytes
    const reason = `${listed.size} objects, ${orphans.length} that nothing names, ${missing.length} missing${isPlan ? ", nothing changed" : ""}`
    emit({ name: "tier2_reconciled", level: orphans.length + missing.length > 0 ? "warn" : "info", bytes, reason })
    const durationMs = clock.currentTimeMillisUnsafe() - startedMs
    return { isPlan, startedMs, durationMs, place: tier2.place, objects: listed.size, bytes, orphans, missing }
  })

const checkPossible = ({ services }: Tiers, isPlan: boolean): Tier2 => {
  const { tier2, bucket, isReadOnly } = services
  if (tier2 === undefined) throw invalidArgument("reconcile", "a store without Tier 2", "one with it")
  if (isPlan) return tier2
  if (isReadOnly) throw invalidArgument("reconcile", "a read-only store", "a writable one, or plan: true")
  if (bucket?.isHeld === false) {
    throw bucket.trouble(0) ?? unavailable(`reconciling ${tier2.place}`, "EAGAIN", "its epoch has not been taken yet")
  }
  return tier2
}

const uploadedSegments = ({ segments, services }: Tiers): ReadonlyArray<Uploaded> => {
  const all: Array<Uploaded> = []
  for (const residency of segments.all()) {
    const { cold, streamId, index } = residency
    const record = services.manifest.state.streams.get(streamId)?.tiers.get(index)?.uploaded
    if (cold === undefined || residency.isGone || record?.key !== cold.key) continue
    all.push({ residency, key: cold.key, lengthBytes: record.lengthBytes })
  }
  return all
}

const listAll = Effect.fnUntraced(function* (
  tier2: Tier2,
  prefix: string,
): Effect.fn.Return<ReadonlyMap<string, number>, AofError> {
  const found = new Map<string, number>()
  let after: string | undefined
  do {
    const page = yield* tier2.list(prefix, { after })
    for (const { key, lengthBytes } of page.objects) found.set(key, lengthBytes)
    after = page.next
  } while (after !== undefined)
  return found
})

/** Queues what nothing names, unless it is only a plan. */
const findOrphans = (
  { services }: Tiers,
  listed: ReadonlyMap<string, number>,
  isPlan: boolean,
): ReadonlyArray<OrphanObject> => {
  const { manifest, bucket, clock, deleteGraceMs, rootId } = services
  const { streams, deletes } = manifest.state
  const named = new Set<string>(deletes.keys())
  for (const { tiers } of streams.values()) {
    for (const { uploaded, uploading } of tiers.values()) {
      if (uploaded !== undefined) named.add(uploaded.key)
      if (uploading !== undefined) named.add(uploading.key)
    }
  }
  const root = rootIdText(rootId)
  const orphans: Array<OrphanObject> = []
  for (const [key, bytes] of listed) {
    const isSegment = key.startsWith(`${root}/segments/`)
    const isManifest = bucket !== undefined && key.startsWith(`${root}/manifest/`)
    if ((!isSegment && !isManifest) || named.has(key) || bucket?.files.has(key)) continue
    if (epochOf(key) > (bucket?.epoch ?? 0)) continue
    orphans.push({ key, bytes, action: isPlan ? "it would be queued for removal" : "it was queued for removal" })
    if (isPlan) continue
    const notBeforeMs = clock.currentTimeMillisUnsafe() + deleteGraceMs
    const reasonCode = manifestReason.Requested
    manifest.append({ type: "Tier2DeleteQueued", streamId: 0, segmentIndex: 0, key, notBeforeMs, reasonCode })
  }
  return orphans
}

/** The epoch in the key of an object; above all others where there is none. */
const epochOf = (key: string): number => {
  const epoch = /-e(\d{1,15})-[0-9a-f]{16}\.[a-z]+$/.exec(key)?.[1]
  return epoch === undefined ? Number.POSITIVE_INFINITY : Number(epoch)
}

const checkObject = (
  { services }: Tiers,
  { residency, key, lengthBytes }: Uploaded,
  listed: ReadonlyMap<string, number>,
): Effect.Effect<
  { readonly residency: Residency; readonly key: string; readonly problem: "missing" | "length" } | undefined,
  AofError
> => {
  if (listed.get(key) === lengthBytes) return Effect.succeed(undefined)
  return Effect.map(services.tier2!.head(key), (info) => {
    // Meanwhile it may have been given up.
    if (info?.lengthBytes === lengthBytes || residency.cold?.key !== key || residency.isGone) return undefined
    return { residency, key, problem: info === undefined ? "missing" : "length" }
  })
}

const placeOf = ({ stream, index, seal }: Residency) => ({
  stream,
  segmentIndex: index,
  from: recordIdOf(index, 0),
  to: recordIdOf(index, seal?.framesEnd ?? 0),
})

const actionOf = (isRepairable: boolean): string =>
  isRepairable ? "it would be uploaded again" : "there is no other copy: its records are lost"
