/**
 * Makes the warm file of a sealed segment. The manifest says so only when file and directory entry are durable; a crash before leaves a
 * temporary file, and the job is done again.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { warmBytesOf } from "../../state/tier_plan.ts"
import { makeDurableFolder } from "../files/durable_folder.ts"
import { warmFolder } from "../files/paths.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import type { Residency } from "./residency.ts"
import { forgetFailures, noteFailure } from "./tier_retry.ts"
import type { TierServices } from "./tier_services.ts"

/** How far the expected size is above that of the last segment. */
const ratioMargin = 1.25

/** Compresses `residency`. Never fails: what went wrong is noted in it, and when it is tried again. */
export const compressSegment = (services: TierServices, residency: Residency, level: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const startMs = services.clock.currentTimeMillisUnsafe()
    const release = services.segments.reserveWarm(warmBytesOf(residency, services.counters.ratio))
    return Effect.ensuring(
      Effect.matchEffect(compress(services, residency, level), {
        onFailure: (error) => fail(services, residency, error),
        onSuccess: () => Effect.sync(() => succeed(services, residency, startMs)),
      }),
      Effect.sync(release),
    )
  })

const compress = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
  level: number,
): Effect.fn.Return<void, AofError> {
  const { manifest, directory, compressor } = services
  const { streamId, index: segmentIndex } = residency
  const seal = residency.seal!
  const { fileGeneration } = seal
  manifest.append({ type: "CompressionStarted", streamId, segmentIndex, fileGeneration, level })
  const folder = warmFolder(services.root, residency.stream)
  yield* refuseLinks(directory, [folder])
  yield* makeDurableFolder(directory, folder)
  const target = `${residency.warmPath}.tmp`
  const made = yield* Effect.onInterrupt(
    compressor.compress({
      source: residency.hotPath,
      target,
      sourceBytes: seal.fileBytes,
      framesEnd: Math.max(seal.framesEnd, segmentHeaderBytes),
      checksum64: seal.checksum64,
      level,
      frameBytes: services.tier1.frameBytes,
      isDiskWanted: services.isDiskWanted,
    }),
    () => Effect.ignore(directory.remove(target)),
  )
  if (residency.isGone) return yield* Effect.ignore(directory.remove(target))
  yield* directory.rename(target, residency.warmPath)
  yield* directory.sync(folder)
  // A stream may have been deleted while the file got its name.
  if (residency.isGone) return yield* Effect.ignore(directory.remove(residency.warmPath))
  const done = { level, frameBytes: services.tier1.frameBytes, ...made }
  manifest.append({ type: "CompressionDone", streamId, segmentIndex, fileGeneration, ...done })
  yield* manifest.commit
  if (residency.isGone) return yield* Effect.ignore(directory.remove(residency.warmPath))
  residency.changeForm(made)
  residency.isWarm = true
  residency.warmSinceMs = services.clock.currentTimeMillisUnsafe()
  services.segments.changed(residency)
  services.counters.compressedFromBytes += seal.fileBytes
  services.counters.compressedToBytes += made.fileBytes
  services.counters.ratio = Math.min(1, (made.fileBytes / seal.fileBytes) * ratioMargin)
})

const succeed = (services: TierServices, residency: Residency, startMs: number): void => {
  if (residency.isGone) return
  services.counters.compressions++
  forgetFailures(residency)
  const { stream, index: segmentIndex } = residency
  const durationMs = services.clock.currentTimeMillisUnsafe() - startMs
  const bytes = residency.form?.fileBytes
  services.emit({ name: "tier1_compression_success", level: "info", stream, segmentIndex, bytes, durationMs })
}

const fail = (services: TierServices, residency: Residency, error: AofError): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (residency.isGone || error._tag === "Closed") return Effect.void
    services.counters.compressionFailures++
    // A file that does not check is not moved: what can be read of it can be read here, and nothing may take its place.
    if (error._tag === "Corrupt") residency.isDamaged = true
    noteFailure(services, residency, error)
    const { streamId, stream, index: segmentIndex, failures: attempts } = residency
    const reasonCode = error._tag === "Corrupt" ? manifestReason.Corrupt : manifestReason.Unavailable
    const { fileGeneration } = residency.seal!
    services.manifest.append({
      type: "CompressionFailed",
      streamId,
      segmentIndex,
      fileGeneration,
      attempts,
      reasonCode,
    })
    services.emit({
      name: "tier1_compression_failed",
      level: "warn",
      stream,
      segmentIndex,
      attempt: attempts,
      reason: error.message,
    })
    return Effect.ignore(services.directory.remove(`${residency.warmPath}.tmp`))
  })
