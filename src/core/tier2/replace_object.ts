/** Makes an object anew that is not what it should be. */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { AofError } from "../../model/errors.ts"
import { objectOf } from "../scrub/scrub_copies.ts"
import type { Residency } from "../tiers/residency.ts"
import type { Tiers } from "../tiers/tiers.ts"

/** How long an object that is replaced stays queued when the replacement is cut short. */
const replaceGraceMs = 60_000
/** Pause while somebody else works on the segment. */
const busyMs = 5

/**
 * Takes a damaged object away, so that the segment is uploaded again. The manifest says first that it is no copy any more; a crash in
 * between leaves an object that is queued for deletion.
 */
export const replaceObject: (tiers: Tiers, residency: Residency) => Effect.Effect<string, AofError> = Effect.fnUntraced(
  function* (tiers, residency) {
    const { services } = tiers
    while (residency.isBusy && !residency.isGone) yield* Effect.sleep(busyMs)
    const { streamId, index: segmentIndex } = residency
    const cold = objectOf(residency)
    const { manifest, clock, tier2, segments } = services
    if (cold === undefined || tier2 === undefined || residency.isGone) return "it is gone by now"
    residency.isBusy = true
    const { key } = cold
    const replaced = Effect.gen(function* () {
      const notBeforeMs = clock.currentTimeMillisUnsafe() + replaceGraceMs
      const about = { streamId, segmentIndex, key, reasonCode: manifestReason.Corrupt }
      manifest.append({ type: "Tier2DeleteQueued", ...about, notBeforeMs })
      residency.cold = undefined
      residency.isUntold = false
      residency.isObjectDamaged = false
      // Nothing stands for the warm form but the plain file: it is made again.
      if (!residency.isWarm) {
        services.tables.delete(residency.uid)
        residency.changeForm(undefined)
      }
      segments.changed(residency)
      yield* manifest.commit
      yield* tier2.remove(key)
      manifest.append({ type: "Tier2Deleted", ...about })
      yield* manifest.commit
      return "it was removed, and is uploaded again"
    })
    return yield* Effect.ensuring(
      replaced,
      Effect.sync(() => {
        residency.isBusy = false
        tiers.coordinator.hydrator.wake()
        tiers.coordinator.wake()
      }),
    )
  },
)
