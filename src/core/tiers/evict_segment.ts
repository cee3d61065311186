/**
 * Takes local copies away. Only what another durable copy stands for: a Tier 0 file with a warm file or an object, a warm file
 * with an object. A crash in between leaves the file, which the next open finds and counts again.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { type AofError, isMissingFile } from "../../model/errors.ts"
import { quarantineMove } from "../files/quarantine.ts"
import { caught } from "../flow/attempt.ts"
import type { Residency } from "./residency.ts"
import type { TierServices } from "./tier_services.ts"

/** Removes the Tier 0 file. Nothing happens when it must not go (any more). */
export const evictHot: (services: TierServices, residency: Residency) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, residency) {
    const { streamId, stream, index: segmentIndex } = residency
    const hasCopy = residency.isWarm || residency.isTold
    if (!residency.isHot || residency.isGone || residency.seal === undefined || !hasCopy || residency.pins > 0) return
    if (!residency.isTold) {
      // Somebody may have removed or changed it behind the store's back, and it would be the only copy.
      const isIntact = yield* isWarmIntact(services, residency)
      if (residency.isGone || !residency.isHot || residency.pins > 0) return
      if (!isIntact && residency.cold !== undefined) return services.reader.loseWarm(residency, "Corrupt")
      if (!isIntact) return forgetWarm(services, residency)
    }
    const bytes = residency.seal.fileBytes
    services.manifest.append({
      type: "LocalEvicted",
      streamId,
      segmentIndex,
      tier: 0,
      bytes,
      reasonCode: manifestReason.Budget,
    })
    const guard = residency.leaveHot()
    yield* Effect.onExit(services.removals.remove(residency.hotPath), (exit) =>
      Effect.sync(() => {
        // A file that could not be removed is still there, and still counted.
        if (exit._tag === "Failure" && !residency.isGone) residency.enterHot(guard)
        else guard?.release()
        services.segments.changed(residency)
      }),
    )
    if (residency.isGone) return
    services.counters.hotEvictions++
    services.counters.hotEvictedBytes += bytes
    services.emit({ name: "tier0_eviction", level: "debug", stream, segmentIndex, bytes })
  })

/** Removes the warm file. Nothing happens when it must not go (any more). */
export const evictWarm: (services: TierServices, residency: Residency) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, residency) {
    const { streamId, stream, index: segmentIndex } = residency
    const isStaying = !residency.isTold || residency.warmPins > 0
    if (!residency.isWarm || residency.isGone || isStaying) return
    const bytes = residency.warmBytes
    services.manifest.append({
      type: "LocalEvicted",
      streamId,
      segmentIndex,
      tier: 1,
      bytes,
      reasonCode: manifestReason.Budget,
    })
    // Before the file goes: readers must not open it in between.
    residency.isWarm = false
    services.reader.release(residency)
    services.segments.changed(residency)
    yield* Effect.tapError(services.removals.remove(residency.warmPath), () =>
      Effect.sync(() => {
        // It is still there, counts, and is tried again.
        residency.isWarm = !residency.isGone
        services.segments.changed(residency)
      }),
    )
    services.counters.warmEvictions++
    services.counters.warmEvictedBytes += bytes
    services.emit({ name: "tier1_eviction", level: "debug", stream, segmentIndex, bytes })
  })

/** Moves a Tier 0 file that does not check to the quarantine. */
export const quarantineHot: (services: TierServices, residency: Residency) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* ({ directory, root }, { hotPath, streamId, index }) {
    yield* quarantineMove(directory, { root, path: hotPath, name: `${streamId}-${index}.seg` })
  })

/** True when the warm file is there as it was made. */
const isWarmIntact = (services: TierServices, { warmPath, form }: Residency): Effect.Effect<boolean, AofError> =>
  Effect.suspend(() => {
    let length = -1
    const error = caught(() => {
      const file = services.directory.openUnsafe(warmPath, "read")
      length = file.sizeUnsafe()
      file.closeUnsafe()
    })
    // What could not be looked at may be as it was.
    if (error !== undefined && !isMissingFile(error)) return Effect.fail(error)
    if (form === undefined || length !== form.fileBytes) return Effect.succeed(false)
    const checksum = services.compressor.checksum({ path: warmPath, lengthBytes: length })
    return Effect.map(checksum, (checksum64) => checksum64 === form.checksum64)
  })

/** The segment is compressed anew. */
const forgetWarm = (services: TierServices, residency: Residency): void => {
  const { stream, index: segmentIndex } = residency
  services.reader.release(residency)
  services.tables.delete(residency.uid)
  residency.isWarm = false
  residency.changeForm(undefined)
  services.segments.changed(residency)
  services.emit({ name: "tier1_missing", level: "warn", stream, segmentIndex, reason: "Missing" })
}
