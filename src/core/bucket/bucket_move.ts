/**
 * How a writer goes to another bucket, which has all segments: it brings the files of the manifest there, says in the old place that it has left, and
 * puts its HEAD in the new one. When that fails it stays where it is.
 */
import * as Effect from "effect/Effect"
import type { HeadFile, HeadObject } from "../../format/head_object.ts"
import { type AofError, corrupt, unavailable } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import type { BucketFiles } from "./bucket_files.ts"
import type { BucketMove, BucketOptions } from "./bucket_options.ts"
import { type HeldHead, noFiles } from "./head_held.ts"
import type { HeadMaker } from "./head_maker.ts"
import type { FoundHead, HeadStore } from "./head_store.ts"

/** Longest that a move which has failed waits to say so in the new place: the old one has still to be told. */
const stayMsMax = 5000
/** HEADs that may come late are few. */
const stayTriesMax = 4

/** What of a bucket takes part in a move. */
export interface MovingBucket {
  readonly options: BucketOptions
  readonly files: BucketFiles
  readonly maker: HeadMaker
  readonly held: HeldHead
  readonly manifest: ManifestLog
  /** Appends the record of the next HEAD. */
  readonly name: Effect.Effect<number, AofError>
  /** After a put without an answer: false when the root is lost. */
  readonly find: () => Effect.Effect<boolean, AofError>
  /** False, and the end of the writer, when somebody else has put the HEAD. */
  readonly isOwn: (found: FoundHead) => boolean
  /** Brings up what is new in the manifest and makes a HEAD that names it. */
  readonly make: (headStore: HeadStore, there: ReadonlyArray<HeadFile>) => Effect.Effect<HeadObject, AofError>
  /** HEAD was put. */
  readonly onPut: (head: HeadObject, etag: string) => void
  /** The bucket stays where it is. */
  readonly onFailed: () => void
}

/** Goes on in another place, which has all objects. Nothing else works meanwhile. */
export const goTo: (bucket: MovingBucket, move: BucketMove) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (bucket: MovingBucket, { headStore, found, isAbandoned, onMoved }: BucketMove) {
    const { held, options, manifest } = bucket
    const there = found?.head.files ?? noFiles
    // The place that is abandoned may not have answered since this writer was opened.
    const isNew = isAbandoned && held.epoch === 0
    const moved = Effect.gen(function* () {
      if (isNew) yield* begin(bucket, found)
      bucket.files.restart(there)
      // Most of them, so that there is little left while neither place is the one to go on with.
      yield* bucket.files.upload({ ...options, manifest, headStore, epoch: held.epoch }, there)
      if (!isAbandoned) yield* leave(bucket, headStore.place)
      const head = yield* bucket.make(headStore, there)
      held.prepared = 0
      const put = headStore.replace(head, found?.etag)
      const replaced = yield* Effect.tapError(put, () =>
        Effect.ignore(Effect.timeoutOption(stay(bucket, { headStore, found }), stayMsMax)),
      )
      if (!replaced.isOurs)
        return yield* Effect.fail(unavailable(`moving to ${headStore.place}`, "EEXIST", "another HEAD came"))
      onMoved()
      held.isUncertain = false
      bucket.onPut(head, replaced.etag)
      if (isNew)
        options.emit({ name: "epoch_taken", level: "info", reason: `epoch ${head.epoch} of ${headStore.place}` })
    })
    yield* Effect.tapError(moved, () =>
      Effect.sync(() => {
        if (isNew) held.epoch = 0
        bucket.files.restart(held.last?.files ?? noFiles)
        bucket.onFailed()
      }),
    )
  },
)

/** Takes an epoch that no place knows of yet: the HEAD of the new one tells of it. */
const begin = ({ held, maker, manifest }: MovingBucket, found: FoundHead | undefined): Effect.Effect<void, AofError> =>
  Effect.andThen(
    attempt(() => {
      const { epoch } = maker.claimOf(found)
      held.epochSequence = maker.append(manifest, epoch, found?.head)
      held.epoch = epoch
    }),
    manifest.commit,
  )

/**
 * A put without an answer may come late, and make a root where none is: a HEAD that says that the root is elsewhere takes its place, which makes
 * it come to nothing, or follows it.
 */
const stay = Effect.fnUntraced(function* (
  bucket: MovingBucket,
  { headStore, found }: Pick<BucketMove, "headStore" | "found">,
): Effect.fn.Return<void, AofError> {
  const { held, maker, options, manifest } = bucket
  let there = found
  for (let tries = 0; tries < stayTriesMax; tries++) {
    const { lastSequence = 0, files = noFiles } = there?.head ?? {}
    yield* bucket.name
    yield* manifest.commit
    const head = maker.head(held.epoch, { epochSequence: held.epochSequence, lastSequence, files, isMoved: true })
    const replaced = yield* headStore.replace(head, there?.etag, options.headStore.place)
    const isOver = replaced.isOurs || (replaced.found !== undefined && !maker.own.has(replaced.found.head))
    if (isOver) return
    there = replaced.found
  }
})

/** Puts the last HEAD of a place, which says that the root has moved. */
const leave = Effect.fnUntraced(function* (bucket: MovingBucket, place: string): Effect.fn.Return<void, AofError> {
  const { held, options, maker } = bucket
  const { headStore, fence } = options
  if (held.isUncertain && !(yield* bucket.find())) return yield* Effect.fail(fence.error!)
  const { lastSequence = 0, files = noFiles } = held.last ?? {}
  yield* bucket.name
  held.prepared = 0
  yield* bucket.manifest.commit
  const what = { epochSequence: held.epochSequence, lastSequence, files, isMoved: true }
  held.isUncertain = true
  const replaced = yield* headStore.replace(maker.head(held.epoch, what), held.etag, place)
  held.isUncertain = false
  held.etag = replaced.isOurs ? replaced.etag : replaced.found?.etag
  if (replaced.isOurs) return
  if (replaced.found !== undefined && !bucket.isOwn(replaced.found)) return yield* Effect.fail(fence.error!)
  return yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, "it is not the last one that was put"))
})
