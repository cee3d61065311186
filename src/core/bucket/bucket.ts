/**
 * What a root has in its bucket beside segments: the manifest and HEAD. One loop takes the root's epoch after opening, then brings sealed
 * chunks and snapshots up and puts a HEAD that names them, soon after something happened that another machine should know.
 *
 * Invariants: nothing in the bucket is changed before the epoch is taken, and nothing any more once another writer has taken the next one. A
 * HEAD names only what is there. Copies on the disk that a HEAD has to know before they go wait for it here.
 */
import * as Effect from "effect/Effect"
import { epochBase, type HeadFile, type HeadObject, nonceOf, nonceWriterBytes } from "../../format/head_object.ts"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { ManifestEvent } from "../../format/manifest_record.ts"
import { type AofError, corrupt, type Fenced } from "../../model/errors.ts"
import { Alarm } from "../flow/alarm.ts"
import { attempt } from "../flow/attempt.ts"
import type { ManifestHooks } from "../manifest/manifest_hooks.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import type { Residency } from "../tiers/residency.ts"
import { BucketFiles } from "./bucket_files.ts"
import { type BucketListener, type BucketOptions, isTelling } from "./bucket_options.ts"
import { CommitTimes } from "./bucket_times.ts"
import { WaitingSegments } from "./bucket_waiting.ts"
import { fencedBy, fencedByRoot, rootIdText } from "./head_fence.ts"
import { type HeadName, OwnHeads } from "./head_owner.ts"
import type { FoundHead } from "./head_store.ts"

/** Shortest pause of the loop. */
const lookMsMin = 5
const retryDelayMsMin = 250
const retryDelayMsMax = 15_000
/** Share of the time between two HEADs that is enough while somebody waits. */
const urgentShare = 0.1
/** How often the claim of an epoch meets a HEAD of this very root. */
const claimsMax = 8
const noFiles: ReadonlyArray<HeadFile> = []

export class Bucket {
  readonly own: OwnHeads = new OwnHeads()
  readonly files: BucketFiles = new BucketFiles()
  readonly waiting: WaitingSegments = new WaitingSegments()
  #listener: BucketListener = { onChange: () => {}, onCommitted: () => {}, isUrgent: () => false }
  /** HEADs that were put, tries that failed, and when the last one was put. */
  readonly counters: { heads: number; failures: number; lastHeadMs: number } = { heads: 0, failures: 0, lastHeadMs: 0 }
  readonly #options: BucketOptions
  readonly #writer: Uint8Array
  readonly #times: CommitTimes
  #manifest: ManifestLog | undefined = undefined
  #found: FoundHead | undefined = undefined
  #isFoundKnown = false
  #epoch = 0
  #epochSequence = 0
  /** Sequence of the record of a takeover; 0 for none. */
  #takenSequence = 0
  /** Epoch of the writer before, as its manifest tells. */
  epochBefore = 0
  #count = 0
  #there: ReadonlyArray<HeadFile> = noFiles
  #etag: string | undefined = undefined
  /** A put has had no answer: HEAD is read before the next one. */
  #isUncertain = false
  #wantedSequence = 0
  /** Sequence of the record of a HEAD that was not put yet; 0 for none. */
  #prepared = 0
  #isWorking = false
  #isClosing = false
  #failures = 0
  #lastError: AofError | undefined = undefined
  readonly #alarm = new Alarm()

  constructor(options: BucketOptions) {
    this.#options = options
    this.#writer = new Uint8Array(nonceWriterBytes).map(() => options.random32() & 255)
    this.#times = new CommitTimes(options.deleteGraceMs)
  }

  /** The root that the bucket is for. */
  get rootId(): Uint8Array {
    return this.#options.root.rootId
  }

  /** Epoch of this writer; 0 before it has one. */
  get epoch(): number {
    return this.#epoch
  }

  /** True while this writer may change the bucket, as far as it knows. */
  get isHeld(): boolean {
    return this.#epoch > 0 && !this.isFenced
  }

  /** True while segments may be put. One that took the root over first says so: who comes next must know that late objects of others do not count. */
  get takesSegments(): boolean {
    return this.isHeld && this.#times.sequence >= this.#takenSequence
  }

  get isFenced(): boolean {
    return this.#options.fence.error !== undefined
  }

  /** True while there is something to tell the bucket and nothing is known that stands in the way. */
  get isBusy(): boolean {
    if (this.isFenced || this.#isClosing || this.#failures > 0 || this.#options.storeAwayUntilMs() > 0) return false
    return this.#isWorking || this.#isDue
  }

  /** What stands in the way of HEAD after more than `retriesMax` further tries. */
  trouble(retriesMax: number): AofError | undefined {
    return this.#failures > retriesMax ? this.#lastError : undefined
  }

  get #isDue(): boolean {
    return this.#epoch === 0 || this.#wantedSequence > this.#times.sequence
  }

  /** What the manifest tells. */
  readonly hooks: ManifestHooks = {
    onChunkSealed: (chunk) => {
      this.files.addChunk(chunk, this.#epoch || this.own.epoch)
      // Its size or age has sealed it: so much has happened that it is worth a HEAD.
      if (!this.#isWorking && this.#manifest !== undefined) this.#want(this.#times.sequence + 1)
    },
    onSnapshot: (snapshot) => this.files.addSnapshot(snapshot, this.#epoch || this.own.epoch),
    onRecord: (record) => {
      if (record.type === "Epoch") this.own.addRecord(record)
      if (isTelling(record)) this.#want(record.sequence)
    },
  }

  /** Says what was found in the bucket; it is looked at again before anything is changed. */
  note(found: FoundHead | undefined): void {
    this.#found = found
    this.#isFoundKnown = true
    if (found !== undefined) {
      this.#there = found.head.files
      this.files.noteThere(found.head.files)
    }
  }

  /** The HEAD with which this writer takes over from `found`. */
  claimOf(found: FoundHead | undefined): HeadObject {
    const { epoch = 0, lastSequence = 0, files = noFiles } = found?.head ?? {}
    return this.#head(Math.max(epoch, this.own.epoch) + 1, { epochSequence: lastSequence + 1, lastSequence, files })
  }

  /** The epoch was taken before the manifest was there. */
  take(head: HeadObject, etag: string): void {
    this.#epoch = head.epoch
    this.#epochSequence = head.epochSequence
    this.#etag = etag
    this.#there = head.files
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
      if (this.#epoch === 0) return
      this.#takenSequence = this.#append(this.#epoch, undefined)
      this.#want(this.#takenSequence)
      yield* manifest.commit
    },
  )

  /** A segment is in the bucket; its local copy waits until a HEAD knows. `sequence` is that of the record that says so, 0 for an old one. */
  noteUploaded(residency: Residency, sequence: number): void {
    this.waiting.add(residency, sequence)
    if (sequence > 0) this.#want(sequence)
  }

  /** When a queued object may go: a grace after the HEAD that first did not need it. */
  deleteAtMs(record: { readonly streamId: number; readonly sequence: number; readonly notBeforeMs: number }): number {
    if (!this.isHeld) return Number.POSITIVE_INFINITY
    // A file of the manifest was queued after such a HEAD.
    if (record.streamId === 0) return record.notBeforeMs
    return Math.max(record.notBeforeMs, this.#times.deleteAtMs(record.sequence, this.#options.nowMs()))
  }

  /** Looks soon whether there is something to do, also where failures have made it wait. */
  wake(): void {
    this.#failures = 0
    this.#alarm.ring()
  }

  /** The loop, for as long as the manager is open. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.#loop())

  /** Puts a last HEAD when one is due, within `drainMs`. */
  readonly close = (drainMs: number): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      const isDue = this.isHeld && this.#failures === 0 && this.#wantedSequence > this.#times.sequence
      this.#isClosing = true
      this.#alarm.ring()
      if (!isDue || drainMs <= 0) return
      const startMs = this.#options.nowMs()
      while (this.#isWorking && this.#options.nowMs() - startMs < drainMs) yield* Effect.sleep(1)
      const isStillDue = !this.#isWorking && this.isHeld && this.#wantedSequence > this.#times.sequence
      if (isStillDue) yield* Effect.ignore(Effect.timeoutOption(this.#work(this.#commit()), drainMs))
    })

  #want(sequence: number): void {
    if (sequence <= this.#wantedSequence) return
    this.#wantedSequence = sequence
    this.#alarm.ring()
  }

  #loop(): Effect.Effect<void> {
    const { nowMs, headIntervalMs, storeAwayUntilMs } = this.#options
    let lastMs = Number.NEGATIVE_INFINITY
    return Effect.gen({ self: this }, function* () {
      while (!this.#isClosing && !this.isFenced) {
        if (!this.#isDue) {
          yield* this.#alarm.sleep(undefined)
          continue
        }
        const dueMs = Math.max(this.#nextMs(lastMs), storeAwayUntilMs())
        if (dueMs > nowMs()) {
          // Somebody may come meanwhile who waits for it.
          yield* this.#alarm.sleep(Math.min(dueMs - nowMs(), Math.max(lookMsMin, headIntervalMs * urgentShare)))
          continue
        }
        // What came in this turn goes along.
        yield* Effect.yieldNow
        const done = yield* Effect.result(this.#work(this.#epoch === 0 ? this.#claim() : this.#commit()))
        lastMs = nowMs()
        if (done._tag === "Success") this.#failures = 0
        else this.#fail(done.failure)
        this.#listener.onChange()
      }
    })
  }

  /** When the next try is due; `lastMs` is when the last one ended. */
  #nextMs(lastMs: number): number {
    const { headIntervalMs } = this.#options
    if (this.#failures > 0) return lastMs + Math.min(retryDelayMsMax, retryDelayMsMin * 2 ** (this.#failures - 1))
    if (this.#epoch === 0) return 0
    return this.counters.lastHeadMs + headIntervalMs * (this.#listener.isUrgent() ? urgentShare : 1)
  }

  #work(work: Effect.Effect<void, AofError>): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      this.#isWorking = true
      const end = Effect.sync(() => {
        this.#isWorking = false
      })
      return Effect.ensuring(work, end)
    })
  }

  #fail(error: AofError): void {
    this.#failures++
    this.#lastError = error
    this.counters.failures++
    if (error._tag === "Closed" || error._tag === "Fenced") return
    this.#options.emit({ name: "head_failed", level: "warn", reason: error.message, attempt: this.#failures })
  }

  /** The record of an epoch, or of a HEAD in it. */
  #append(epoch: number, base: HeadName | undefined): number {
    const nonce = nonceOf(this.#writer, this.#count)
    const rest = base === undefined ? undefined : new Uint8Array(epochBase.sizeBytes)
    if (base !== undefined && rest !== undefined) epochBase.encode(rest, 0, base)
    this.own.add({ epoch, nonce })
    return this.#manifest!.append({ type: "Epoch", streamId: 0, epoch, nonce, rest } as ManifestEvent)
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
      const head = this.claimOf(found)
      const epochSequence = yield* attempt(() => this.#append(head.epoch, found?.head))
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
      this.#count++
    }
    yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, `it changed ${claimsMax} times while an epoch was taken`))
  })

  #head(epoch: number, what: Pick<HeadObject, "epochSequence" | "lastSequence" | "files">): HeadObject {
    const { root, nowMs } = this.#options
    const nonce = nonceOf(this.#writer, this.#count)
    return { ...what, rootId: root.rootId, rootCreatedMs: root.createdMs, epoch, nonce, writtenMs: nowMs() }
  }

  /** False, and the end of this writer, when somebody else has put the HEAD. */
  #isOwn({ head }: FoundHead): boolean {
    const { headStore, root } = this.#options
    const { place } = headStore
    const isRoot = head.rootId.every((byte, at) => byte === root.rootId[at])
    if (isRoot && this.own.has(head)) return true
    const own = { place, epoch: this.#epoch || this.own.epoch }
    this.#lose(isRoot ? fencedBy(head, own) : fencedByRoot(place, rootIdText(root.rootId), rootIdText(head.rootId)))
    return false
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
    const { headStore, directory, root } = this.#options
    const manifest = this.#manifest!
    if (this.#isUncertain && !(yield* this.#find())) return
    // What a try has prepared that did not come to its put is good for the next one.
    if (this.#prepared === 0 || this.#wantedSequence > this.#prepared) {
      this.#count++
      const appended = yield* attempt(() => this.#append(this.#epoch, undefined))
      yield* manifest.sealChunk
      this.#prepared = appended
    }
    const sequence = this.#prepared
    const upload = { directory, headStore, rootId: rootIdText(root.rootId) }
    let files = yield* this.files.upload(upload, this.#there)
    if (files === undefined) {
      // What is on the disk is not the whole log, by damage: a snapshot is.
      yield* manifest.renew
      files = yield* this.files.upload(upload, this.#there)
    }
    if (files === undefined) return yield* Effect.fail(corrupt("manifest", "its files are not the whole log"))
    const head = this.#head(this.#epoch, { epochSequence: this.#epochSequence, lastSequence: sequence, files })
    this.#isUncertain = true
    this.#prepared = 0
    const replaced = yield* headStore.replace(head, this.#etag)
    this.#isUncertain = false
    if (replaced.isOurs) {
      this.#committed(sequence, head, replaced.etag)
      return yield* this.#retire(head)
    }
    if (replaced.found !== undefined && !this.#isOwn(replaced.found)) return
    // One of this writer's own that was thought lost, or somebody has removed HEAD: it is put again.
    this.#etag = replaced.found?.etag
    return yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, "it is not the last one that was put"))
  })

  /** After a put without an answer: reads what is there. False when the root is lost. */
  readonly #find: () => Effect.Effect<boolean, AofError> = Effect.fnUntraced({ self: this }, function* () {
    const found = yield* this.#options.headStore.read
    if (found !== undefined && !this.#isOwn(found)) return false
    this.#etag = found?.etag
    this.#isUncertain = false
    return true
  })

  #committed(sequence: number, head: HeadObject, etag: string): void {
    const { emit, nowMs } = this.#options
    this.#etag = etag
    this.#there = head.files
    this.counters.heads++
    this.counters.lastHeadMs = nowMs()
    this.#times.note(sequence, nowMs())
    for (const residency of this.waiting.known(sequence)) this.#listener.onCommitted(residency)
    emit({ name: "head_committed", level: "debug", key: "HEAD", reason: `records up to ${sequence}` })
  }

  /** What HEAD does not name any more goes after the grace. */
  readonly #retire: (head: HeadObject) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (head: HeadObject) {
      const { nowMs, deleteGraceMs } = this.#options
      const keys = this.files.takeUnnamed(head.files)
      if (keys.length === 0) return
      const queued = { streamId: 0, segmentIndex: 0, notBeforeMs: nowMs() + deleteGraceMs }
      const manifest = this.#manifest!
      yield* attempt(() => {
        for (const key of keys)
          manifest.append({ type: "Tier2DeleteQueued", ...queued, key, reasonCode: manifestReason.Requested })
      })
      yield* manifest.commit
    },
  )
}
