/**
 * Brings a warm file to Tier 2. The manifest names the key before the first byte goes out, so that an object is never left behind
 * unknown; it calls the segment uploaded when the store has acknowledged the whole object.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { type AofError, corrupt, isMissingFile, unavailable } from "../../model/errors.ts"
import type { ObjectBody } from "../../port/object_store.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { storeError } from "../../port/store_error.ts"
import { attempt } from "../flow/attempt.ts"
import type { Residency } from "./residency.ts"
import { forgetFailures, noteFailure } from "./tier_retry.ts"
import type { TierServices } from "./tier_services.ts"

/**
 * The key of a segment: never used for other bytes, as it names its checksum, and not again once an object of the segment was given up, as a DELETE
 * that has had no answer may still come.
 */
export const objectKey = (services: Pick<TierServices, "rootId" | "bucket">, residency: Residency): string => {
  const root = [...services.rootId].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  const index = String(residency.index).padStart(10, "0")
  const checksum = residency.form!.checksum64.toString(16).padStart(16, "0")
  const { streamId, replacements } = residency
  const replacement = replacements === 0 ? "" : `-r${replacements}`
  return `${root}/segments/${streamId}/${index}-e${writerEpochOf(services)}-${checksum}${replacement}.zst`
}

/** Which replacement a key is for; 0 for the first object of a segment. */
export const replacementOf = (key: string): number => Number(/-r(\d{1,9})\.zst$/.exec(key)?.[1] ?? 0)

/** The object of a segment under `key` is given up: what is uploaded from here on has a key that no DELETE was ever sent for. */
export const giveUpKey = (residency: Residency, key: string): void => {
  residency.replacements = Math.max(residency.replacements, replacementOf(key)) + 1
}

/** The epoch of the writer, part of each key; 0 where nobody can take the root over. */
const writerEpochOf = ({ bucket }: Pick<TierServices, "bucket">): number => bucket?.epoch ?? 0

/** Uploads `residency`. Never fails: what went wrong is noted in it, and when it is tried again. */
export const uploadSegment = (services: TierServices, residency: Residency): Effect.Effect<void> =>
  Effect.matchEffect(upload(services, residency), {
    onFailure: (error) => fail(services, residency, error),
    onSuccess: () => Effect.sync(() => forgetFailures(residency)),
  })

/** Until somebody looks again whether a trim has ended. */
const trimMs = 20

const begunUpload = ({ manifest }: TierServices, { streamId, index }: Residency) =>
  manifest.state.streams.get(streamId)?.tiers.get(index)?.uploading

/** The key of the next upload: that of one which was begun by this writer, when it was of the same bytes. */
const uploadKey = (services: TierServices, residency: Residency, writerEpoch: number): string => {
  const begun = begunUpload(services, residency)
  if (begun?.writerEpoch === writerEpoch) {
    residency.replacements = Math.max(residency.replacements, replacementOf(begun.key))
    if (objectKey(services, residency) !== begun.key) giveUpKey(residency, begun.key)
  }
  // A process before this one may have queued it.
  while (services.manifest.state.deletes.has(objectKey(services, residency))) residency.replacements++
  return objectKey(services, residency)
}

const upload = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
): Effect.fn.Return<void, AofError> {
  const { manifest, compressor, directory } = services
  const { streamId, index: segmentIndex, stream, warmPath } = residency
  const { fileGeneration } = residency.seal!
  const form = residency.form!
  const writerEpoch = writerEpochOf(services)
  const key = uploadKey(services, residency, writerEpoch)
  // What left the disk damaged would be damaged everywhere.
  const checksum64 = yield* compressor.checksum({ path: warmPath, lengthBytes: form.fileBytes })
  if (checksum64 !== form.checksum64)
    return yield* Effect.fail(corrupt(`warm file ${warmPath}`, "its checksum does not match"))
  if (residency.isGone) return
  const begun = begunUpload(services, residency)
  if (begun !== undefined && begun.key !== key) {
    const reasonCode = manifestReason.Corrupt
    manifest.append({ type: "Tier2DeleteQueued", streamId, segmentIndex, key: begun.key, notBeforeMs: 0, reasonCode })
  }
  manifest.append({ type: "UploadStarted", streamId, segmentIndex, fileGeneration, writerEpoch, key })
  // A trim that is on its way to the disk came first, and has queued what it knew of: nobody would remove this object.
  // Not at once: as long as that trim takes, the segment looks as if it were to be uploaded.
  if (!manifest.state.streams.get(streamId)?.sealed.has(segmentIndex)) return yield* Effect.sleep(trimMs)
  yield* manifest.commit
  const file = yield* attempt(() => directory.openUnsafe(warmPath, "read"))
  const { etag } = yield* Effect.ensuring(
    services.tier2!.upload({ key, body: fileBody(file, form.fileBytes), checksum64, stream, segmentIndex }),
    Effect.sync(() => file.closeUnsafe()),
  )
  // A fenced writer calls nothing uploaded any more.
  if (residency.isGone || services.bucket?.isFenced) return
  const place = { writerEpoch, offset: 0, lengthBytes: form.fileBytes, checksum64, key, etag }
  const sequence = manifest.append({ type: "UploadDone", streamId, segmentIndex, fileGeneration, ...place })
  yield* manifest.commit
  if (residency.isGone) return
  residency.cold = { key, etag }
  services.bucket?.noteUploaded(residency, sequence)
  services.segments.changed(residency)
})

/** A file as the body of an object. The file stays the caller's. */
export const fileBody = (file: SegmentFile, lengthBytes: number): ObjectBody => ({
  lengthBytes,
  read: (offset, length, into) =>
    Effect.suspend(() => {
      const buffer = into?.subarray(0, length) ?? new Uint8Array(length)
      return Effect.matchEffect(file.read(buffer, 0, length, offset), {
        onFailure: (error) => Effect.fail(storeError("Invalid", "reading the body", file.path, error.code)),
        onSuccess: (count) =>
          count === length
            ? Effect.succeed(buffer)
            : Effect.fail(storeError("Invalid", "reading the body", file.path, "IncompleteBody")),
      })
    }),
})

const fail = (services: TierServices, residency: Residency, error: AofError): Effect.Effect<void> =>
  Effect.sync(() => {
    if (residency.isGone || error._tag === "Closed") return
    const isMissing = isMissingFile(error)
    if (isMissing || error._tag === "Corrupt") {
      // The plain file is still there where it may be: it is compressed anew.
      services.reader.release(residency)
      if (residency.isHot) {
        residency.isWarm = false
        services.tables.delete(residency.uid)
        residency.changeForm(undefined)
      }
    }
    noteFailure(services, residency, error)
    services.segments.changed(residency)
    const { streamId, index: segmentIndex, failures: attempts } = residency
    const reasonCode = isMissing
      ? manifestReason.Missing
      : error._tag === "Corrupt"
        ? manifestReason.Corrupt
        : manifestReason.Unavailable
    const key = residency.form === undefined ? "none" : objectKey(services, residency)
    const { fileGeneration } = residency.seal!
    services.manifest.append({
      type: "UploadFailed",
      streamId,
      segmentIndex,
      fileGeneration,
      attempts,
      key,
      reasonCode,
    })
  })

/** The error of a segment that no tier has. */
export const noCopy = (residency: Residency): AofError =>
  unavailable(
    `reading segment ${residency.index} of stream ${residency.stream} in any tier`,
    "ENOENT",
    residency.warmPath,
  )
