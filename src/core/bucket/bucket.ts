/**
 * What a root has in its bucket beside segments: the manifest and HEAD. One loop takes the root's epoch after opening, then brings sealed
 * chunks and snapshots up and puts a HEAD that names them, soon after something happened that another machine should know.
 *
 * Invariants: nothing in the bucket is changed before the epoch is taken, and nothing any more once another writer has taken the next one. A
 * HEAD names only what is there. Copies on the disk that a HEAD has to know before they go wait for it here.
 */
import * as Effect from "effect/Effect"
import type { HeadFile, HeadObject } from "../../format/head_object.ts"
import { type AofError, corrupt, type Fenced } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import type { ManifestHooks } from "../manifest/manifest_hooks.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import type { Residency } from "../tiers/residency.ts"
import { BucketFiles } from "./bucket_files.ts"
import { goTo } from "./bucket_move.ts"
import {
  type BucketListener,
  type BucketMove,
  type BucketOptions,
  isNews,
  isTelling,
  type QueuedObject,
} from "./bucket_options.ts"
import { CommitTimes } from "./bucket_times.ts"
import { WaitingSegments } from "./bucket_waiting.ts"
import { HeldHead, noFiles } from "./head_held.ts"
import { fenceOf } from "./head_judge.ts"
import { HeadLoop } from "./head_loop.ts"
import { HeadMaker } from "./head_maker.ts"
import type { OwnHeads } from "./head_owner.ts"
import { type FoundHead, type HeadStore, isSameHead } from "./head_store.ts"

/** How often the claim of an epoch meets a HEAD of this very root. */
const claimsMax = 8

export class Bucket {
  readonly files: BucketFiles = new BucketFiles()
  readonly waiting: WaitingSegments = new WaitingSegments()
  #listener: BucketListener = { onChange: () => {}, onCommitted: () => {}, isUrgent: () => false }
  /** HEADs that were put, and when the last one was. */
  readonly counters: { heads: number; lastHeadMs: number } = { heads: 0, lastHeadMs: 0 }
  readonly #options: BucketOptions
  readonly maker: HeadMaker
  readonly times: CommitTimes
  #manifest: ManifestLog | undefined = undefined
  #found: FoundHead | undefined = undefined
  #isFoundKnown = false
  readonly #held = new HeldHead()
  /** Sequence of the record of a takeover; 0 for none. */
  #takenSequence = 0
  /** Epoch of the writer before, as its manifest tells. */
  epochBefore = 0
  /** The bucket is about to be another one: nothing is changed in it meanwhile. */
  #isMoving = false
  /** Closing has cut a move off: where the root is, the next opening finds out. */
  #isCut = false
  readonly #loop: HeadLoop

  constructor(options: BucketOptions) {
    this.#options = options
    this.maker = new HeadMaker(options)
    this.times = new CommitTimes(options.deleteGraceMs)
    this.#loop = new HeadLoop(options, {
      isDue: () => this.#isDue,
      lastHeadMs: () => (this.#held.epoch === 0 ? undefined : this.times.headMs),
      isUrgent: () => this.#listener.isUrgent(),
      isOver: () => this.isFenced,
      work: () => (this.#held.epoch === 0 ? this.#claim() : this.#commit()),
      onEnd: () => this.#listener.onChange(),
    })
  }

  /** The root that the bucket is for. */
  get rootId(): Uint8Array {
    return this.#options.root.rootId
  }

  /** Tries to put a HEAD that failed. */
  get failures(): number {
    return this.#loop.failed
  }

  /** The HEADs that the root knows as its own. */
  get own(): OwnHeads {
    return this.maker.own
  }

  /** Epoch of this writer; 0 before it has one. */
  get epoch(): number {
    return this.#held.epoch
  }

  /** True while this writer may change the bucket, as far as it knows. */
  get isHeld(): boolean {
    return this.#held.epoch > 0 && !this.isFenced
  }

  /** True while segments may be put. One that took the root over first says so: who comes next must know that late objects of others do not count. */
  get takesSegments(): boolean {
    return this.mayChange && this.times.sequence >= this.#takenSequence
  }

  /** True while objects may be removed. */
  get mayChange(): boolean {
    return this.isHeld && !this.#isMoving
  }

  get isFenced(): boolean {
    return this.#options.fence.error !== undefined
  }

  /** True while there is something to tell the bucket and nothing is known that stands in the way. */
  get isBusy(): boolean {
    if (this.isFenced || !this.#loop.isOpen) return false
    return this.#loop.isWorking || this.#isDue
  }

  /** What stands in the way of HEAD after more than `retriesMax` further tries. */
  trouble(retriesMax: number): AofError | undefined {
    return this.#loop.trouble(retriesMax)
  }

  get #isDue(): boolean {
    if (this.#isMoving) return false
    return this.#held.epoch === 0 || this.times.isBehind
  }

  /** What the manifest tells. */
  readonly hooks: ManifestHooks = {
    onChunkSealed: (chunk) => {
      this.files.addChunk(chunk, this.#held.epoch || this.own.epoch)
      // Its size or age has sealed it: so much has happened that it is worth a HEAD.
      if (!this.#loop.isWorking && this.#manifest !== undefined) this.#want(this.times.sequence + 1)
    },
    onSnapshot: (snapshot) => this.files.addSnapshot(snapshot, this.#held.epoch || this.own.epoch),
    onRecord: (record) => {
      if (record.type === "Epoch") this.own.addRecord(record)
      if (record.type === "Tier2DeleteQueued" && record.streamId === 0) this.files.giveUp(record.key)
      if (isTelling(record)) this.#want(record.sequence)
      if (isNews(record)) this.times.news = record.sequence
    },
  }

  /** Says what was found in the bucket; it is looked at again before anything is changed. */
  note(found: FoundHead | undefined): void {
    this.#found = found
    this.#isFoundKnown = true
    if (found !== undefined) {
      this.#held.last = found.head
      this.files.noteThere(found.head.files)
    }
  }

  /** The epoch was taken before the manifest was there. */
  take(head: HeadObject, etag: string): void {
    this.#held.epoch = head.epoch
    this.#held.epochSequence = head.epochSequence
    this.#held.etag = etag
    this.#held.last = head
    this.files.noteThere(head.files)
  }

  listen(listener: BucketListener): void {
    this.#listener = listener
  }

  /** The manifest is open. When the epoch was taken before, the manifest is told of it, durably. */
  readonly attach: (manifest: ManifestLog) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (manifest: ManifestLog) {
      this.#manifest = manifest
      const { epoch } = manifest.state
      if (epoch !== undefined) this.own.addRecord(epoch)
      this.epochBefore = epoch?.epoch ?? 0
      if (this.#held.epoch === 0) return
      this.#takenSequence = this.maker.append(manifest, this.#held.epoch, undefined)
      this.#want(this.#takenSequence)
      yield* manifest.commit
    },
  )

  /** A segment is in the bucket; its local copy waits until a HEAD knows. `sequence` is that of the record that says so, 0 for an old one. */
  noteUploaded(residency: Residency, sequence: number): void {
    this.waiting.add(residency, sequence)
    if (sequence > 0) this.#want(sequence)
  }

  /** When a queued object may go whose own grace ends at `dueMs`: a grace after the HEAD that first did not need it. */
  deleteAtMs({ key, streamId, sequence }: QueuedObject, dueMs: number): number {
    if (!this.mayChange) return Number.POSITIVE_INFINITY
    if (streamId > 0) return Math.max(dueMs, this.times.deleteAtMs(sequence, this.#options.nowMs()))
    // A file of the manifest was queued when no HEAD was known to name it: one may, whose answer was lost.
    const isNamed = this.files.isUploaded(key) || this.#held.last?.files.some((file) => file.key === key) === true
    return isNamed ? Number.POSITIVE_INFINITY : dueMs
  }

  /** Puts a HEAD that knows all records up to now. Fails when that did not work; `Fenced` when somebody else has the root. Before the loop runs. */
  readonly tell: Effect.Effect<void, AofError> = Effect.suspend(() => {
    // A HEAD of its own may have been thought lost: what is there now is known then.
    const told = Effect.retry(
      Effect.suspend(() => this.#commit()),
      { times: 1, while: (error: AofError) => error._tag === "Corrupt" },
    )
    return Effect.andThen(
      this.#loop.alone(told, 0),
      attempt(() => this.#options.fence.check()),
    )
  })

  /** Looks soon whether there is something to do, also where failures have made it wait. */
  wake(): void {
    this.#loop.wake()
  }

  /** The loop, for as long as the manager is open. */
  get run(): Effect.Effect<void> {
    return this.#loop.run
  }

  /** Asks once: true when the bucket has answered within `timeoutMs` and the root is this writer's. */
  readonly ask = (timeoutMs: number): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (this.isFenced || this.#isMoving) return Effect.succeed(false)
      const looked = Effect.timeoutOption(this.#options.headStore.look, timeoutMs)
      const isOurs = Effect.map(looked, (found) => found._tag === "Some" && (!found.value || this.#isOwn(found.value)))
      return Effect.orElseSucceed(isOurs, () => false)
    })

  /** Puts a last HEAD when one is due, within `drainMs`, and notes what was put and is in none: nobody else knows of it. */
  readonly close = (drainMs: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isDue = (): boolean => this.mayChange && this.times.isBehind
      const isToPut = isDue() && !this.#loop.hasFailed && drainMs > 0
      this.#loop.end()
      const last = Effect.suspend(() =>
        isDue() ? Effect.ignore(Effect.timeoutOption(this.#commit(), drainMs)) : Effect.void,
      )
      return Effect.andThen(isToPut ? this.#loop.alone(last, drainMs) : Effect.void, this.#retireRest)
    })

  readonly #retireRest: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.mayChange || this.#manifest === undefined) return Effect.void
    const { wallMs, deleteGraceMs } = this.#options
    const files = this.#held.last?.files ?? noFiles
    return Effect.ignore(this.files.retire(this.#manifest, files, wallMs() + deleteGraceMs))
  })

  /** True for the HEAD that this writer has put last. */
  isLast(head: HeadObject): boolean {
    return this.#held.last !== undefined && isSameHead(this.#held.last, head)
  }

  /** Changes nothing in the bucket until `resume`. */
  pause(): void {
    this.#isMoving = true
  }

  resume(): void {
    // A HEAD may be on its way to the other bucket: none says here now that the root has stayed.
    if (this.#isCut) return
    this.#isMoving = false
    this.#loop.wake()
  }

  /** Goes on in another place, which has all objects. Paused. When it fails the bucket stays where it is. */
  move(move: BucketMove): Effect.Effect<void, AofError> {
    const parts = {
      options: this.#options,
      files: this.files,
      maker: this.maker,
      held: this.#held,
      manifest: this.#manifest!,
      name: this.#name,
      find: this.#find,
      isOwn: (found: FoundHead) => this.#isOwn(found),
      make: this.#make,
      onPut: (head: HeadObject, etag: string) => this.#committed(head, etag),
      // HEAD may say that the root has moved: the next one says that it has not.
      onFailed: () => this.#want(Math.max(this.times.wanted, this.times.sequence) + 1),
      onCut: () => {
        this.#isCut = true
      },
    }
    return this.#loop.alone(goTo(parts, move), Number.POSITIVE_INFINITY)
  }

  #want(sequence: number): void {
    if (this.times.want(sequence)) this.#loop.ring()
  }

  /** Takes the next epoch: by a HEAD that names the files of the one before. */
  readonly #claim: () => Effect.Effect<void, AofError> = Effect.fnUntraced({ self: this }, function* () {
    const { headStore, emit } = this.#options
    for (let claims = 0; claims < claimsMax; claims++) {
      // Seldom the one that was read when opening is old; then the put says so.
      if (!this.#isFoundKnown) this.note(yield* headStore.read)
      const found = this.#found
      this.#isFoundKnown = false
      if (found !== undefined && !this.#isOwn(found)) return
      const head = this.maker.claimOf(found)
      const epochSequence = yield* attempt(() => this.maker.append(this.#manifest!, head.epoch, found?.head))
      yield* this.#manifest!.commit
      const claimed = { ...head, epochSequence }
      const replaced = yield* headStore.replace(claimed, found?.etag)
      if (replaced.isOurs) {
        this.take(claimed, replaced.etag)
        this.#want(epochSequence)
        emit({ name: "epoch_taken", level: "info", reason: `epoch ${head.epoch} of ${headStore.place}` })
        return
      }
      this.note(replaced.found)
      this.maker.next()
    }
    yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, `it changed ${claimsMax} times while an epoch was taken`))
  })

  /** False, and the end of this writer, when somebody else has put the HEAD, or the root has moved. */
  #isOwn(found: FoundHead): boolean {
    const { headStore, root, takesBack } = this.#options
    const { own } = this
    const epoch = this.#held.epoch || own.epoch
    // Who has an epoch here, and finds that it has left, goes on here.
    const mayBeMoved = takesBack || this.#held.epoch > 0
    const error = fenceOf(found, { place: headStore.place, rootId: root.rootId, own, epoch, mayBeMoved })
    if (error !== undefined) this.#lose(error)
    return error === undefined
  }

  #lose(error: Fenced): void {
    const { fence, emit } = this.#options
    if (fence.error !== undefined) return
    fence.raise(error)
    emit({ name: "fenced", level: "error", reason: error.message })
    this.#listener.onChange()
  }

  /** Brings up what is new in the manifest and puts a HEAD that names it. */
  readonly #commit: () => Effect.Effect<void, AofError> = Effect.fnUntraced({ self: this }, function* () {
    const { headStore } = this.#options
    if (this.#held.isUncertain && !(yield* this.#find())) return
    const head = yield* this.#make(headStore, this.#held.last?.files ?? noFiles)
    this.#held.isUncertain = true
    this.#held.prepared = 0
    const replaced = yield* headStore.replace(head, this.#held.etag)
    this.#held.isUncertain = false
    if (replaced.isOurs) {
      this.#committed(head, replaced.etag)
      const { wallMs, deleteGraceMs } = this.#options
      return yield* this.files.retire(this.#manifest!, head.files, wallMs() + deleteGraceMs)
    }
    if (replaced.found !== undefined && !this.#isOwn(replaced.found)) return
    // One of this writer's own that was thought lost, or somebody has removed HEAD: it is put again.
    this.#held.etag = replaced.found?.etag
    return yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, "it is not the last one that was put"))
  })

  /** Brings up what is new in the manifest and makes a HEAD that names it; `there` are the files that are known to be there. */
  readonly #make: (headStore: HeadStore, there: ReadonlyArray<HeadFile>) => Effect.Effect<HeadObject, AofError> =
    Effect.fnUntraced({ self: this }, function* (headStore: HeadStore, there: ReadonlyArray<HeadFile>) {
      const manifest = this.#manifest!
      // What a try has prepared that did not come to its put is good for the next one.
      if (this.#held.prepared === 0 || this.times.wanted > this.#held.prepared) {
        const appended = yield* this.#name
        yield* manifest.sealChunk
        this.#held.prepared = appended
      }
      const lastSequence = this.#held.prepared
      const files = yield* this.files.upload({ ...this.#options, manifest, headStore, epoch: this.#held.epoch }, there)
      return this.maker.head(this.#held.epoch, { epochSequence: this.#held.epochSequence, lastSequence, files })
    })

  /** Appends the record of the next HEAD. */
  readonly #name: Effect.Effect<number, AofError> = attempt(() => {
    this.maker.next()
    return this.maker.append(this.#manifest!, this.#held.epoch, undefined)
  })

  /** After a put without an answer: reads what is there. False when the root is lost. */
  readonly #find: () => Effect.Effect<boolean, AofError> = Effect.fnUntraced({ self: this }, function* () {
    const found = yield* this.#options.headStore.read
    if (found !== undefined && !this.#isOwn(found)) return false
    this.#held.etag = found?.etag
    this.#held.isUncertain = false
    return true
  })

  #committed(head: HeadObject, etag: string): void {
    const { emit, nowMs, wallMs } = this.#options
    const { lastSequence: sequence } = head
    this.#held.etag = etag
    this.#held.last = head
    this.counters.heads++
    this.counters.lastHeadMs = wallMs()
    this.times.note(sequence, nowMs())
    for (const residency of this.waiting.known(sequence)) this.#listener.onCommitted(residency)
    emit({ name: "head_committed", level: "debug", key: "HEAD", reason: `records up to ${sequence}` })
  }
}
