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
  /** Closing has cut it off while a HEAD may be on its way to the other place. */
  readonly onCut: () => void
}

/**
 * Goes on in another place, which has all objects. Nothing else works meanwhile. It can be interrupted until the old place is told; from then on it goes
 * on until the new one is told too, or the cut comes.
 */
export const goTo: (bucket: MovingBucket, move: BucketMove) => Effect.Effect<void, AofError> = (bucket, move) =>
  Effect.suspend(() => {
    const { headStore, found, isAbandoned, cut } = move
    const { held, options, manifest } = bucket
    const there = found?.head.files ?? noFiles
    // The place that is abandoned may not have answered since this writer was opened.
    const isNew = isAbandoned && held.epoch === 0
    const prepared = Effect.gen(function* () {
      if (isNew) yield* begin(bucket, found)
      bucket.files.restart(there)
      // Most of them, so that there is little left while neither place is the one to go on with.
      yield* bucket.files.upload({ ...options, manifest, headStore, epoch: held.epoch }, there)
      return isAbandoned ? undefined : yield* lastHead(bucket)
    })
    const step: MoveStep = { isPutting: false, isOver: false }
    const stayed = Effect.sync(() => {
      if (step.isOver) return
      if (isNew) held.epoch = 0
      bucket.files.restart(held.last?.files ?? noFiles)
      bucket.onFailed()
    })
    const isCut = Effect.tapError(cut, () =>
      Effect.sync(() => {
        if (step.isPutting) bucket.onCut()
      }),
    )
    return Effect.uninterruptibleMask((restore) => {
      // The race, unlike what waits for it, can be interrupted, but by nothing else than the cut.
      const moved = Effect.flatMap(restore(prepared), (last) =>
        Effect.raceFirst(change(bucket, move, { last, step, isNew }), isCut),
      )
      return Effect.onError(moved, () => stayed)
    })
  })

/** How far a move has come. */
interface MoveStep {
  /** HEAD of the new place may be on its way. */
  isPutting: boolean
  isOver: boolean
}

/** Puts the `last` HEAD of the old place, if it is asked, and the first of the new one. */
const change = Effect.fnUntraced(function* (
  bucket: MovingBucket,
  { headStore, found, onMoved }: BucketMove,
  { last, step, isNew }: { readonly last: HeadObject | undefined; readonly step: MoveStep; readonly isNew: boolean },
): Effect.fn.Return<void, AofError> {
  const { held, options } = bucket
  if (last !== undefined) yield* leave(bucket, last, headStore.place)
  const head = yield* bucket.make(headStore, found?.head.files ?? noFiles)
  held.prepared = 0
  step.isPutting = true
  const put = headStore.replace(head, found?.etag)
  const replaced = yield* Effect.tapError(put, () =>
    Effect.ignore(Effect.timeoutOption(stay(bucket, { headStore, found }), stayMsMax)),
  )
  if (!replaced.isOurs)
    return yield* Effect.fail(unavailable(`moving to ${headStore.place}`, "EEXIST", "another HEAD came"))
  step.isOver = true
  onMoved()
  held.isUncertain = false
  bucket.onPut(head, replaced.etag)
  if (isNew) options.emit({ name: "epoch_taken", level: "info", reason: `epoch ${head.epoch} of ${headStore.place}` })
})

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

/** The last HEAD of a place, which says that the root has moved. */
const lastHead = Effect.fnUntraced(function* (bucket: MovingBucket): Effect.fn.Return<HeadObject, AofError> {
  const { held, options, maker } = bucket
  if (held.isUncertain && !(yield* bucket.find())) return yield* Effect.fail(options.fence.error!)
  const { lastSequence = 0, files = noFiles } = held.last ?? {}
  yield* bucket.name
  held.prepared = 0
  yield* bucket.manifest.commit
  return maker.head(held.epoch, { epochSequence: held.epochSequence, lastSequence, files, isMoved: true })
})

/** Puts it, and with it where the root has gone. */
const leave = Effect.fnUntraced(function* (
  bucket: MovingBucket,
  last: HeadObject,
  place: string,
): Effect.fn.Return<void, AofError> {
  const { held, options } = bucket
  const { headStore, fence } = options
  held.isUncertain = true
  const replaced = yield* headStore.replace(last, held.etag, place)
  held.isUncertain = false
  held.etag = replaced.isOurs ? replaced.etag : replaced.found?.etag
  if (replaced.isOurs) return
  if (replaced.found !== undefined && !bucket.isOwn(replaced.found)) return yield* Effect.fail(fence.error!)
  return yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, "it is not the last one that was put"))
})
