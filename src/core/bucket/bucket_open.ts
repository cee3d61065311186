/**
 * What opening a root asks its bucket: whose it is. An empty root is made from the bucket when that holds one; one that somebody else has taken
 * over is refused, unless it is to be taken back. A root with data opens also while the bucket does not answer.
 */
import * as Effect from "effect/Effect"
import type { RootFile } from "../../format/root_file.ts"
import type { AofManagerConfig } from "../../model/config.ts"
import { type AofError, invalidArgument, notFound, unavailable } from "../../model/errors.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Directory } from "../../port/directory.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import { keysUnreadCodes } from "../../port/store_error.ts"
import { readRoot } from "../files/root.ts"
import { loadManifest } from "../manifest/manifest_load.ts"
import { manifestPath } from "../manifest/manifest_log.ts"
import type { Tier2 } from "../tier2/tier2.ts"
import { Bucket } from "./bucket.ts"
import { type Fence, fencedBy, fencedByMove, otherRootWay, rootIdText } from "./head_fence.ts"
import { fenceOf } from "./head_judge.ts"
import { type FoundHead, HeadStore } from "./head_store.ts"
import { goesOnWith, putMarker, type RestoreMarker, readMarker, removeMarker } from "./restore_marker.ts"
import { restoreRoot } from "./restore_root.ts"

/** What an open has in hand before its manifest is open. */
export interface BucketOpening {
  readonly config: AofManagerConfig
  readonly directory: Directory
  readonly store: ObjectStore
  readonly tier2: Tier2
  readonly fence: Fence
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly random32: () => number
  readonly emit: (event: TierEventInput) => void
}

/** What the bucket has said. */
export interface OpenedBucket {
  readonly bucket: Bucket
  /** The root file; undefined when the root is empty, and so is the bucket. */
  readonly root: RootFile | undefined
  /** True when the root was made from the bucket just now. */
  readonly isRestored: boolean
}

/** The marker of a root that was empty. */
const noClaims: RestoreMarker = { claims: undefined }
/** How often a takeover meets a writer that goes on meanwhile. */
const takeOversMax = 16

/** Asks the bucket. `root` is the root file that is there. The lock is held. */
export const openBucket: (opening: BucketOpening, root: RootFile | undefined) => Effect.Effect<OpenedBucket, AofError> =
  Effect.fnUntraced(function* (opening, root) {
    const { config, directory } = opening
    const headStore = makeHeadStore(opening)
    const marker = yield* readMarker(directory, config.root)
    if (root === undefined || marker !== undefined) return yield* openEmpty(opening, headStore, { root, marker })
    const bucket = makeBucket(opening, headStore, root)
    yield* readOwn(directory, config.root, { rootId: root.rootId, bucket })
    const looked = yield* Effect.result(headStore.look)
    if (looked._tag === "Failure") {
      if (looked.failure._tag === "InvalidArgument") return yield* Effect.fail(looked.failure)
      opening.emit({ name: "head_failed", level: "warn", reason: looked.failure.message, attempt: 1 })
      return { bucket, root, isRestored: false }
    }
    const found = looked.success
    if (found !== undefined) {
      yield* refuseOther(found, root)
      const mayBeMoved = config.tier2.takeOver
      const { own } = bucket
      const lost = fenceOf(found, { place: headStore.place, rootId: root.rootId, own, epoch: own.epoch, mayBeMoved })
      if (lost !== undefined) {
        if (!config.tier2.takeOver) return yield* Effect.fail(lost)
        return yield* takeOver(opening, { headStore, found, root, marker: undefined })
      }
    }
    bucket.note(found)
    return { bucket, root, isRestored: false }
  })

/** The bucket of another root is no place for this one, whoever has it. */
const refuseOther = ({ head }: FoundHead, root: RootFile): Effect.Effect<void, AofError> => {
  if (head.rootId.every((byte, at) => byte === root.rootId[at])) return Effect.void
  const own = `that of root ${rootIdText(root.rootId)}, or an empty one: ${otherRootWay}`
  return Effect.fail(invalidArgument("tier2.store", `the bucket of root ${rootIdText(head.rootId)}`, own))
}

/** What lies in a root that is to be made from its bucket. */
interface LocalRoot {
  readonly root: RootFile | undefined
  /** That of a restore that was cut off. */
  readonly marker: RestoreMarker | undefined
}

/** A root that is empty, or whose restore was cut off. */
const openEmpty = Effect.fnUntraced(function* (
  opening: BucketOpening,
  headStore: HeadStore,
  local: LocalRoot,
): Effect.fn.Return<OpenedBucket, AofError> {
  const { config, directory } = opening
  const { root, marker } = local
  const isBegun = marker !== undefined
  const asked = yield* Effect.result(headStore.read)
  if (asked._tag === "Failure") {
    const { failure } = asked
    if (failure._tag !== "Unavailable") return yield* Effect.fail(failure)
    // A refusal is an answer: what the bucket holds is not for this one to see, and nothing that passes.
    const isAsked = !keysUnreadCodes.some((code) => failure.message.includes(`(${code})`))
    if (isBegun || config.tier2.requireBucket || (isAsked && !failure.retryable)) {
      const what = `opening an empty root, whose bucket ${headStore.place} has to say whether it holds one (${failure.message}),`
      return yield* Effect.fail(unavailable(what, failure.code, config.root))
    }
    // A new root: should the bucket turn out to hold another one, this one is fenced before it changes anything there.
    opening.emit({ name: "head_failed", level: "warn", reason: failure.message, attempt: 1 })
    return newRoot(opening, headStore)
  }
  const found = asked.success
  if (found !== undefined) {
    // Data without a root file is not to be hidden behind another root: the making of a new one refuses it.
    const names = (yield* directory.list(config.root)).map(({ name }) => name)
    const isForeign = !isBegun && (names.includes("streams") || names.includes("manifest"))
    if (!isForeign) {
      const { head, movedTo } = found
      if (root !== undefined) yield* refuseOther(found, root)
      const isLost = marker !== undefined && !goesOnWith(marker, head) && !config.tier2.takeOver
      if (isLost) {
        const epoch = marker.claims?.at(-1)?.epoch ?? 0
        return yield* Effect.fail(fencedBy(head, { place: headStore.place, epoch }))
      }
      const isLeft = head.isMoved === true && !config.tier2.takeOver
      if (isLeft) return yield* Effect.fail(fencedByMove(headStore.place, head.epoch, movedTo))
      return yield* takeOver(opening, { headStore, found, root, marker })
    }
  }
  if (isBegun) return yield* Effect.fail(notFound("HEAD of a root that was being restored", headStore.place, "nothing"))
  if (config.tier2.requireBucket && found === undefined) yield* headStore.probe
  const opened = newRoot(opening, headStore)
  opened.bucket.note(found)
  return opened
})

const newRoot = (opening: BucketOpening, headStore: HeadStore): OpenedBucket => {
  const rootId = new Uint8Array(16).map(() => opening.random32() & 255)
  const bucket = makeBucket(opening, headStore, { rootId, createdMs: opening.wallMs() })
  return { bucket, root: undefined, isRestored: false }
}

/**
 * Takes the next epoch, so that nobody else goes on, and makes the root from what the bucket has then. A root that has data stays as it is until
 * the epoch is surely its own.
 */
const takeOver = Effect.fnUntraced(function* (
  opening: BucketOpening,
  from: LocalRoot & { readonly headStore: HeadStore; readonly found: FoundHead },
): Effect.fn.Return<OpenedBucket, AofError> {
  const { config, directory, emit } = opening
  const { headStore, root, marker } = from
  let found = from.found
  const { rootId, rootCreatedMs: createdMs } = found.head
  const bucket = makeBucket(opening, headStore, { rootId, createdMs })
  const hasData = root !== undefined && marker === undefined
  const own = bucket.maker.claimOf(found)
  const ownMarker = hasData || marker?.claims !== undefined ? { claims: [...(marker?.claims ?? []), own] } : noClaims
  if (!hasData) yield* putMarker(directory, config.root, ownMarker)
  for (let tries = 1; ; tries++) {
    // Of one name each time: only what they take over from differs.
    const claim = bucket.maker.claimOf(found)
    const replaced = yield* headStore.replace(claim, found.etag)
    if (replaced.isOurs) {
      bucket.take(claim, replaced.etag)
      if (hasData) yield* putMarker(directory, config.root, ownMarker)
      yield* restoreRoot(directory, { root: config.root, head: claim, headStore })
      const reason = `epoch ${claim.epoch} of ${headStore.place}, records up to ${claim.lastSequence}`
      emit({ name: "root_restored", level: "info", reason })
      return { bucket, root: yield* readRoot(directory, config.root), isRestored: true }
    }
    const next = replaced.found
    // The old writer goes on until its epoch is over; another one that takes over at this moment came first.
    if (next === undefined || next.head.epoch !== found.head.epoch || tries === takeOversMax) {
      // It is as it was.
      if (!hasData && marker === undefined) yield* removeMarker(directory, config.root)
      const head = next?.head ?? found.head
      return yield* Effect.fail(fencedBy(head, { place: headStore.place, epoch: found.head.epoch }))
    }
    found = next
  }
})

/** The HEADs that the manifest on the disk names as this root's. */
const readOwn = Effect.fnUntraced(function* (
  directory: Directory,
  root: string,
  { rootId, bucket }: { readonly rootId: Uint8Array; readonly bucket: Bucket },
): Effect.fn.Return<void, AofError> {
  const loaded = yield* loadManifest(directory, { path: manifestPath(root), rootId, isTelling: true })
  if (loaded.state.epoch !== undefined) bucket.own.addRecord(loaded.state.epoch)
  for (const record of loaded.told) if (record.type === "Epoch") bucket.own.addRecord(record)
})

const makeHeadStore = ({ store, config, random32, tier2 }: BucketOpening): HeadStore =>
  new HeadStore({
    store,
    config: config.tier2.client,
    random32,
    send: (kind, key, request) => tier2.gate.send(kind, key, request),
  })

const makeBucket = (
  opening: BucketOpening,
  headStore: HeadStore,
  root: { readonly rootId: Uint8Array; readonly createdMs: number },
): Bucket => {
  const { config, directory, fence, nowMs, wallMs, random32, emit, tier2 } = opening
  const { headIntervalMs, deleteGraceMs, takeOver: takesBack } = config.tier2
  const storeAwayUntilMs = (): number => {
    const { breaker } = tier2.gate
    return breaker.mayPass(nowMs()) ? 0 : (breaker.retryAtMs ?? nowMs() + 1000)
  }
  const settings = {
    headStore,
    directory,
    fence,
    root,
    nowMs,
    wallMs,
    random32,
    emit,
    headIntervalMs,
    deleteGraceMs,
    takesBack,
  }
  return new Bucket({ ...settings, storeAwayUntilMs })
}
