/** Copies the objects of segments to another store, verified on the way. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { ObjectBody } from "../../port/object_store.ts"
import { storeError } from "../../port/store_error.ts"
import { attempt } from "../flow/attempt.ts"
import type { Tiers } from "../tiers/tiers.ts"
import { fileBody } from "../tiers/upload_segment.ts"
import type { Tier2 } from "./tier2.ts"
import type { UploadedSegment } from "./uploaded_segments.ts"

/** What is copied, and the etag of what lies under its key and is not it. */
interface CopyTarget extends UploadedSegment {
  readonly replaces: string | undefined
}

/** Where copies go, and what was done. */
export class ObjectCopier {
  copied = 0
  copiedBytes = 0
  readonly #tiers: Tiers
  readonly #to: Tier2
  /** Keys that are there, or that neither a local copy nor the old store can give. */
  readonly #done: Set<string> = new Set()

  constructor(tiers: Tiers, to: Tier2) {
    this.#tiers = tiers
    this.#to = to
  }

  /** Those of `segments` that it has not dealt with. */
  left(segments: ReadonlyArray<UploadedSegment>): ReadonlyArray<UploadedSegment> {
    return segments.filter(({ key, residency }) => !this.#done.has(key) && !residency.isGone)
  }

  /** Copies one, unless it is there. One that is lost or damaged in the old store is left out; fails when a store does not answer. */
  readonly copy: (segment: UploadedSegment) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (segment: UploadedSegment) {
      const { key, lengthBytes, residency } = segment
      const info = yield* this.#to.head(key)
      if (info?.lengthBytes !== lengthBytes) {
        // It is not removed before: a DELETE without an answer may come late, and take the new one.
        const target = { ...segment, replaces: info?.etag }
        const copied = yield* Effect.result(Effect.catch(this.#local(target), () => this.#stored(target)))
        const isLost =
          copied._tag === "Failure" && (copied.failure._tag === "NotFound" || copied.failure._tag === "Corrupt")
        // What was trimmed meanwhile may have been removed.
        if (copied._tag === "Failure" && !isLost && !residency.isGone) return yield* Effect.fail(copied.failure)
        if (copied._tag === "Success") {
          this.copied++
          this.copiedBytes += lengthBytes
        }
      }
      this.#done.add(key)
    },
  )

  /** From the local file, where it is what was uploaded. */
  readonly #local = Effect.fnUntraced({ self: this }, function* (segment: CopyTarget): Effect.fn.Return<
    void,
    AofError
  > {
    const { residency, lengthBytes, checksum64 } = segment
    const isSame = residency.isWarm && residency.form?.checksum64 === checksum64
    if (!isSame) return yield* this.#stored(segment)
    const { directory } = this.#tiers.services
    const file = yield* attempt(() => directory.openUnsafe(residency.warmPath, "read"))
    yield* Effect.ensuring(
      this.#upload(segment, fileBody(file, lengthBytes)),
      Effect.sync(() => file.closeUnsafe()),
    )
  })

  /** From the present store. */
  #stored(segment: CopyTarget): Effect.Effect<void, AofError> {
    const { tier2 } = this.#tiers.services
    const { key, lengthBytes } = segment
    let failed: AofError | undefined
    const read: ObjectBody["read"] = (offset, length) =>
      Effect.mapError(tier2!.readRange(key, offset, length, { isBulk: true }), (error) => {
        failed = error
        return storeError("Invalid", "get", key, error._tag)
      })
    // What went wrong there is the reason, not that the new store did not get the bytes.
    return Effect.mapError(this.#upload(segment, { lengthBytes, read }), (error) => failed ?? error)
  }

  #upload({ key, checksum64, residency, replaces }: CopyTarget, body: ObjectBody): Effect.Effect<void, AofError> {
    const { stream, index: segmentIndex } = residency
    return Effect.asVoid(this.#to.upload({ key, body, checksum64, stream, segmentIndex, replaces }))
  }
}
