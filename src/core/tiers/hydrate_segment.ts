/**
 * Brings segments back up: an object from Tier 2 to a warm file, a warm file to a plain one in Tier 0. A file gets its name only when
 * it is whole, verified and durable; interrupting leaves at most a temporary file, which is removed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { manifestReason } from "../../format/manifest_reason.ts"
import { backgroundSyncBytes } from "../../model/background_sync.ts"
import { type AofError, notFound } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { syncPolitely } from "../../port/polite_sync.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { makeDurableFolder } from "../files/durable_folder.ts"
import { segmentsPath, warmFolder } from "../files/paths.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import { attempt } from "../flow/attempt.ts"
import type { Tier2Sink } from "../tier2/tier2.ts"
import type { Residency } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"
import type { AdmissionGuard, Tier0Owner } from "./tier0.ts"

/** Where a segment is brought to. */
export type HydrationTarget = "tier0" | "tier1"

/** Brings a segment to `target`, by way of Tier 1. Nothing happens when it is there. */
export const hydrateSegment: (
  services: TierServices,
  residency: Residency,
  target: HydrationTarget,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (services, residency, target) {
  if (residency.isGone) return yield* Effect.fail(goneError(residency))
  if (target === "tier0" && residency.isHot) return
  if (!residency.isWarm) yield* fetchWarm(services, residency)
  if (target === "tier0") yield* Effect.scoped(restoreHot(services, residency))
})

const goneError = (residency: Residency): AofError => notFound("segment", residency.index, "what trims have left")

/** Tier 2 to Tier 1. */
const fetchWarm = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
): Effect.fn.Return<void, AofError> {
  const { directory, tier2, manifest, clock } = services
  const { form, cold, streamId, stream, index: segmentIndex } = residency
  if (form === undefined || cold === undefined || tier2 === undefined) {
    return yield* Effect.fail(notFound("segment", segmentIndex, "no copy of it in any tier"))
  }
  const startMs = clock.currentTimeMillisUnsafe()
  manifest.append({ type: "HydrationStarted", streamId, segmentIndex, fromTier: 2, toTier: 1 })
  const release = services.segments.reserveWarm(form.fileBytes)
  const folder = warmFolder(services.root, stream)
  const target = `${residency.warmPath}.tmp`
  const fetched = Effect.gen(function* () {
    yield* refuseLinks(directory, [folder])
    yield* makeDurableFolder(directory, folder)
    yield* directory.remove(target)
    const file = yield* attempt(() => directory.openUnsafe(target, "create"))
    const sink = syncingSink(file)
    const { key } = cold
    const wanted = { key, lengthBytes: form.fileBytes, checksum64: form.checksum64, sink, stream, segmentIndex }
    yield* Effect.ensuring(
      Effect.andThen(tier2.fetch(wanted), file.syncData),
      Effect.sync(() => file.closeUnsafe()),
    )
  })
  const placed = placeFile(directory, { residency, target, path: residency.warmPath, folder, made: fetched })
  // A file with its name is counted: nothing may come between.
  yield* Effect.uninterruptibleMask((restore) =>
    Effect.map(Effect.ensuring(placed(restore), Effect.sync(release)), () => enterWarm(services, residency)),
  )
  const durationMs = Math.max(0, clock.currentTimeMillisUnsafe() - startMs)
  const bytes = form.fileBytes
  manifest.append({ type: "HydrationDone", streamId, segmentIndex, fromTier: 2, toTier: 1, bytes, durationMs })
})

/** Writes to a file, and syncs it as it grows. */
const syncingSink = (file: SegmentFile): Tier2Sink => {
  let syncedBytes = 0
  return {
    write: (bytes, position) =>
      Effect.flatMap(file.write(bytes, 0, bytes.length, position), () => {
        const end = position + bytes.length
        if (end - syncedBytes < backgroundSyncBytes) return Effect.void
        syncedBytes = end
        return syncPolitely(file)
      }),
  }
}

/** What did not check in the object is there in a copy that does, or does by now: nothing of what was thought of it counts any more. */
export const forgetDamage = ({ tables }: Pick<TierServices, "tables">, residency: Residency): void => {
  residency.objectDoubt.clear()
  if (residency.damage.isEmpty) return
  tables.delete(residency.uid)
  // With the numbers of the frames in a table that was made up nothing else may be found.
  residency.changeForm(residency.form)
}

const enterWarm = (services: TierServices, residency: Residency): void => {
  services.reader.release(residency)
  forgetDamage(services, residency)
  residency.isWarm = true
  residency.scannedTo = 0
  residency.needsRecovery = false
  residency.warmSinceMs = services.clock.currentTimeMillisUnsafe()
  services.uses.note(residency, false)
  services.segments.changed(residency)
}

/** Masks an effect in what cannot be interrupted otherwise. */
type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Gives a file that `made` has written to `target` its name, durably. Only `made` can be interrupted; when it was, or anything fails,
 * or the segment is gone by then, neither name is left.
 */
const placeFile =
  (
    directory: Directory,
    file: {
      readonly residency: Residency
      readonly target: string
      readonly path: string
      readonly folder: string
      readonly made: Effect.Effect<unknown, AofError>
    },
  ) =>
  (restore: Restore): Effect.Effect<void, AofError> => {
    const { residency, target, path, folder, made } = file
    let isNamed = false
    const placed = Effect.gen(function* () {
      yield* restore(made)
      if (residency.isGone) return yield* Effect.fail(goneError(residency))
      yield* directory.rename(target, path)
      isNamed = true
      yield* directory.sync(folder)
      if (residency.isGone) return yield* Effect.fail(goneError(residency))
    })
    return Effect.onExit(placed, (exit) =>
      exit._tag === "Success"
        ? Effect.void
        : Effect.suspend(() => Effect.ignore(directory.remove(isNamed ? path : target))),
    )
  }

/** Tier 1 to Tier 0. */
const restoreHot = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
): Effect.fn.Return<void, AofError, Scope.Scope> {
  const { directory, manifest, clock, compressor } = services
  const { form, streamId, stream, index: segmentIndex } = residency
  const seal = residency.seal!
  const owner = services.segments.stream(streamId)
  if (owner === undefined || form === undefined) return yield* Effect.fail(goneError(residency))
  const startMs = clock.currentTimeMillisUnsafe()
  const guard = yield* admissionGuard(services, owner, seal.fileBytes)
  manifest.append({ type: "HydrationStarted", streamId, segmentIndex, fromTier: 1, toTier: 0 })
  const target = `${residency.hotPath}.tmp`
  const restored = compressor.decompress({
    source: residency.warmPath,
    target,
    sourceBytes: form.fileBytes,
    sourceChecksum64: form.checksum64,
    targetBytes: seal.fileBytes,
    targetChecksum64: seal.checksum64,
    isDiskWanted: services.isDiskWanted,
  })
  const folder = segmentsPath(services.root, stream)
  const placed = placeFile(directory, { residency, target, path: residency.hotPath, folder, made: restored })
  yield* Effect.uninterruptibleMask((restore) =>
    Effect.map(placed(restore), () => {
      // The bytes change hands: from the guard of this scope to that of the file.
      residency.enterHot(guard.handOver())
      services.uses.note(residency, false)
      services.segments.changed(residency)
    }),
  )
  services.counters.promotions++
  const durationMs = Math.max(0, clock.currentTimeMillisUnsafe() - startMs)
  const bytes = seal.fileBytes
  manifest.append({ type: "HydrationDone", streamId, segmentIndex, fromTier: 1, toTier: 0, bytes, durationMs })
})

/**
 * Bytes of Tier 0 for as long as the scope is open. Waits while the budget is exceeded; within it, it may be overdrawn by what is
 * asked for here, so that a hydration never waits for a writer and a writer never for it.
 */
export const admissionGuard = (
  services: Pick<TierServices, "tier0">,
  owner: Tier0Owner,
  bytes: number,
): Effect.Effect<AdmissionGuard, never, Scope.Scope> => {
  const { tier0 } = services
  const admitted = Effect.callback<AdmissionGuard>((resume) => {
    const tryNow = (): boolean => {
      if (tier0.usedBytes >= tier0.limitBytes) return false
      resume(Effect.succeed(tier0.admit(owner, bytes)))
      return true
    }
    if (tryNow()) return
    const waiter: Tier0Owner = {
      streamId: owner.streamId,
      tier0BytesMax: undefined,
      onRoom: () => {
        if (!tryNow()) tier0.hasRoom(waiter, 1)
      },
    }
    tier0.hasRoom(waiter, 1)
    return Effect.sync(() => tier0.forget(waiter))
  })
  return Effect.acquireRelease(admitted, (guard) => Effect.sync(() => guard.release()), { interruptible: true })
}

/** Says in the manifest that a hydration was given up. */
export const noteHydrationFailed = (
  services: TierServices,
  residency: Residency,
  failed: { readonly target: HydrationTarget; readonly attempts: number; readonly error: AofError },
): void => {
  const { streamId, index: segmentIndex } = residency
  const { error, attempts, target } = failed
  const reasonCode =
    error._tag === "Corrupt"
      ? manifestReason.Corrupt
      : error._tag === "NotFound"
        ? manifestReason.Missing
        : manifestReason.Unavailable
  const fromTier = residency.isWarm ? 1 : 2
  const toTier = target === "tier0" ? 0 : 1
  services.manifest.append({ type: "HydrationFailed", streamId, segmentIndex, fromTier, toTier, attempts, reasonCode })
}
