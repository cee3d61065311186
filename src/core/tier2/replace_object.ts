/** Makes an object anew that is not what it should be, under another key: a DELETE of the old one may still come when it had no answer. */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { AofError } from "../../model/errors.ts"
import { objectOf } from "../scrub/scrub_copies.ts"
import type { Residency } from "../tiers/residency.ts"
import type { Tiers } from "../tiers/tiers.ts"
import { giveUpKey } from "../tiers/upload_segment.ts"

/** Pause while somebody else works on the segment. */
const busyMs = 5

/**
 * Gives a damaged object up, so that the segment is uploaded again. The manifest says first that it is no copy any more; the object goes like
 * any other that nothing refers to. `isMissing`: there is nothing to remove, and no DELETE is sent.
 */
export const replaceObject: (
  tiers: Tiers,
  residency: Residency,
  options?: { readonly isMissing: boolean },
) => Effect.Effect<string, AofError> = Effect.fnUntraced(function* (
  tiers,
  residency,
  { isMissing } = { isMissing: false },
) {
  const { services } = tiers
  while (residency.isBusy && !residency.isGone) yield* Effect.sleep(busyMs)
  const { streamId, index: segmentIndex } = residency
  const cold = objectOf(residency)
  const { manifest, segments } = services
  if (cold === undefined || services.tier2 === undefined || residency.isGone) return "it is gone by now"
  residency.isBusy = true
  const { key } = cold
  const replaced = Effect.gen(function* () {
    const reasonCode = isMissing ? manifestReason.Missing : manifestReason.Corrupt
    tiers.queueDeletes([{ streamId, segmentIndex, key }], reasonCode)
    if (isMissing) manifest.append({ type: "Tier2Deleted", streamId, segmentIndex, key, reasonCode })
    giveUpKey(residency, key)
    residency.cold = undefined
    residency.isUntold = false
    residency.objectDoubt.clear()
    // Nothing stands for the warm form but the plain file: it is made again.
    if (!residency.isWarm) {
      services.tables.delete(residency.uid)
      residency.changeForm(undefined)
    }
    segments.changed(residency)
    yield* manifest.commit
    return "it is uploaded again, under another key"
  })
  return yield* Effect.ensuring(
    replaced,
    Effect.sync(() => {
      residency.isBusy = false
      tiers.coordinator.hydrator.wake()
      tiers.coordinator.wake()
    }),
  )
})
