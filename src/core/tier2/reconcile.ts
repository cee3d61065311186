/**
 * Compares what lies in Tier 2 with what the manifest says lies there. An object that nothing names is queued for removal like any other; a
 * segment whose object is missing is uploaded again from a local copy.
 *
 * Invariants: an orphan is there, and named by nothing, at the moment at which it is queued; a key is in the manifest before its first byte goes
 * out. What was uploaded before the listing began, and is not in it, is missing only when the store says so again. Objects of a later epoch
 * are left alone.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { type AofError, storeRefused, unavailable } from "../../model/errors.ts"
import type { MissingObject, OrphanObject, ReconcileReport } from "../../model/reconcile.ts"
import { recordIdOf } from "../../model/record_id.ts"
import type { ObjectBody, ObjectStore } from "../../port/object_store.ts"
import { storeError } from "../../port/store_error.ts"
import { rootIdText } from "../bucket/head_fence.ts"
import { attempt } from "../flow/attempt.ts"
import type { Tiers } from "../tiers/tiers.ts"
import { replaceObject } from "./replace_object.ts"
import type { Tier2 } from "./tier2.ts"
import { type UploadedSegment, uploadedSegments } from "./uploaded_segments.ts"

/** Segments that are asked for one by one at once. */
const looksAtOnce = 4

/** What a caller asks for. */
export interface ReconcileRequest {
  readonly isPlan: boolean
  /** Where objects may be copied from. */
  readonly from?: ObjectStore | undefined
}

/** What a reconciliation is to do. */
export interface ReconcilePlan {
  /** Only tells. */
  readonly isPlan: boolean
  /** Where objects may be copied from. */
  readonly from?: Tier2 | undefined
  /** Throws once the manager is closed, or fenced and this is not only a plan. */
  readonly check: () => void
}

/** Reconciles; with `isPlan` it only tells. */
export const reconcile: (tiers: Tiers, plan: ReconcilePlan) => Effect.Effect<ReconcileReport, AofError> =
  Effect.fnUntraced(function* (tiers: Tiers, plan: ReconcilePlan) {
    const { isPlan } = plan
    const { clock, rootId, emit, manifest } = tiers.services
    if (!isPlan) yield* untilHeld(tiers, plan.check)
    const tier2 = yield* attempt(() => checkPossible(tiers, isPlan))
    const startedMs = clock.wallMsUnsafe()
    const beganMs = clock.currentTimeMillisUnsafe()
    const uploaded = uploadedSegments(tiers)
    const listed = yield* listAll(tier2, `${rootIdText(rootId)}/`)
    const orphans = yield* queueOrphans(tiers, plan, listed)
    const checks = Effect.forEach(uploaded, (one) => checkObject(tiers, one, listed), { concurrency: looksAtOnce })
    const missing: Array<MissingObject> = []
    for (const found of yield* checks) if (found !== undefined) missing.push(yield* mend(tiers, plan, found))
    if (!isPlan) yield* manifest.commit
    tiers.coordinator.wake()
    let bytes = 0
    for (const lengthBytes of listed.values()) bytes += lengthBytes
    const counts = `${listed.size} objects, ${orphans.length} that nothing names, ${missing.length} missing`
    const level = orphans.length + missing.length > 0 ? "warn" : "info"
    emit({ name: "tier2_reconciled", level, bytes, reason: isPlan ? `${counts}, nothing changed` : counts })
    const durationMs = clock.currentTimeMillisUnsafe() - beganMs
    return { isPlan, startedMs, durationMs, place: tier2.place, objects: listed.size, bytes, orphans, missing }
  })

/** Pause while an epoch is being taken. */
const heldMs = 5

/** Waits for the epoch: a root that was just opened has none in its bucket yet. Ends without when something stands in the way. */
export const untilHeld = (tiers: Tiers, check: () => void): Effect.Effect<void, AofError> =>
  Effect.gen(function* () {
    const { bucket } = tiers.services
    while (bucket !== undefined && !bucket.isHeld && bucket.trouble(0) === undefined) {
      yield* attempt(check)
      yield* Effect.sleep(heldMs)
    }
  })

const checkPossible = ({ services }: Tiers, isPlan: boolean): Tier2 => {
  const { tier2, bucket, isReadOnly } = services
  if (tier2 === undefined) throw storeRefused("reconcile", "one without it", "a store with Tier 2")
  if (isPlan) return tier2
  if (isReadOnly) throw storeRefused("reconcile", "a read-only one", "a writable store, or plan: true")
  if (bucket?.isHeld === false) {
    throw bucket.trouble(0) ?? unavailable(`reconciling ${tier2.place}`, "EAGAIN", "its epoch has not been taken yet")
  }
  return tier2
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

/** True for the keys that something of the root names now. */
const namesNow = ({ services: { manifest, bucket } }: Tiers): ((key: string) => boolean) => {
  const { streams, deletes } = manifest.state
  const named = new Set<string>(deletes.keys())
  for (const { tiers } of streams.values()) {
    for (const { uploaded, uploading } of tiers.values()) {
      if (uploaded !== undefined) named.add(uploaded.key)
      if (uploading !== undefined) named.add(uploading.key)
    }
  }
  return (key) => named.has(key) || bucket?.files.has(key) === true
}

/** Finds what nothing names and is there still, and queues it, unless it is only a plan. */
const queueOrphans = Effect.fnUntraced(function* (
  tiers: Tiers,
  { isPlan, check }: ReconcilePlan,
  listed: ReadonlyMap<string, number>,
): Effect.fn.Return<ReadonlyArray<OrphanObject>, AofError> {
  const { manifest, bucket, clock, deleteGraceMs, rootId, tier2 } = tiers.services
  const root = rootIdText(rootId)
  const isNamed = namesNow(tiers)
  const orphans: Array<OrphanObject> = []
  for (const [key, bytes] of listed) {
    const isSegment = key.startsWith(`${root}/segments/`)
    const isManifest = bucket !== undefined && key.startsWith(`${root}/manifest/`)
    if ((!isSegment && !isManifest) || isNamed(key) || epochOf(key) > (bucket?.epoch ?? 0)) continue
    // Since it was listed it may have been removed in order, and even put anew.
    if ((yield* tier2!.head(key)) === undefined || namesNow(tiers)(key)) continue
    yield* attempt(check)
    orphans.push({ key, bytes, action: isPlan ? "it would be queued for removal" : "it was queued for removal" })
    if (isPlan) continue
    const notBeforeMs = clock.wallMsUnsafe() + deleteGraceMs
    const reasonCode = manifestReason.Requested
    manifest.append({ type: "Tier2DeleteQueued", streamId: 0, segmentIndex: 0, key, notBeforeMs, reasonCode })
  }
  return orphans
})

/** The epoch in the key of an object; above all others where there is none. */
const epochOf = (key: string): number => {
  const epoch = /-e(\d{1,15})-[0-9a-f]{16}(?:-r\d+)?\.[a-z]+$/.exec(key)?.[1]
  return epoch === undefined ? Number.POSITIVE_INFINITY : Number(epoch)
}

/** A segment whose object is not what was uploaded. */
interface Missing extends UploadedSegment {
  readonly problem: "missing" | "length"
}

const checkObject = (
  { services }: Tiers,
  uploaded: UploadedSegment,
  listed: ReadonlyMap<string, number>,
): Effect.Effect<Missing | undefined, AofError> => {
  const { residency, key, lengthBytes } = uploaded
  if (listed.get(key) === lengthBytes) return Effect.succeed(undefined)
  return Effect.map(services.tier2!.head(key), (info): Missing | undefined => {
    // Meanwhile it may have been given up.
    if (info?.lengthBytes === lengthBytes || residency.cold?.key !== key || residency.isGone) return undefined
    return { ...uploaded, problem: info === undefined ? "missing" : "length" }
  })
}

/** Where a segment without a local copy can be had; undefined for nowhere. */
const findIn = (from: Tier2 | undefined, { key, lengthBytes }: Missing): Effect.Effect<Tier2 | undefined, AofError> =>
  from === undefined
    ? Effect.succeed(undefined)
    : Effect.map(from.head(key), (info) => (info?.lengthBytes === lengthBytes ? from : undefined))

/** Uploads the local copy, or the one of another store, which is verified on the way. */
const restore = (
  tiers: Tiers,
  { residency, key, lengthBytes, problem, source }: Missing & { readonly source: Tier2 | "local" },
): Effect.Effect<string, AofError> => {
  if (source === "local") return replaceObject(tiers, residency, { isMissing: problem === "missing" })
  const { tier2 } = tiers.services
  const { stream, index: segmentIndex } = residency
  const read: ObjectBody["read"] = (offset, length) =>
    Effect.mapError(source.readRange(key, offset, length), (error) => storeError("Invalid", "get", key, error._tag))
  const checksum64 = residency.form!.checksum64
  const upload = { key, body: { lengthBytes, read }, checksum64, stream, segmentIndex }
  // It takes the place of what is there, which is not removed before: a DELETE without an answer may come late.
  const copied = Effect.flatMap(tier2!.head(key), (info) => {
    const isOther = problem === "length" && info?.lengthBytes !== lengthBytes
    return tier2!.upload({ ...upload, replaces: isOther ? info?.etag : undefined })
  })
  return Effect.as(copied, `it was copied from ${source.place}`)
}

/** Restores one segment, if that can be and it is not only a plan, and says what became of it. */
const mend = Effect.fnUntraced(function* (
  tiers: Tiers,
  { isPlan, from, check }: ReconcilePlan,
  found: Missing,
): Effect.fn.Return<MissingObject, AofError> {
  yield* attempt(check)
  const { residency, problem, key } = found
  const { stream, index, seal } = residency
  const place = { from: recordIdOf(index, 0), to: recordIdOf(index, seal?.framesEnd ?? 0) }
  const told = { stream, segmentIndex: index, key, problem, ...place }
  const source = residency.isWarm || residency.isHot ? "local" : yield* findIn(from, found)
  if (isPlan || source === undefined) return { ...told, isRepairable: source !== undefined, action: planned(source) }
  const restored = yield* Effect.result(restore(tiers, { ...found, source }))
  if (restored._tag === "Success") return { ...told, isRepairable: true, action: restored.success }
  return { ...told, isRepairable: false, action: `it could not be restored: ${restored.failure.message}` }
})

const planned = (source: Tier2 | "local" | undefined): string => {
  if (source === undefined) return "there is no other copy: its records are lost"
  return source === "local" ? "it would be uploaded again" : `it would be copied from ${source.place}`
}
