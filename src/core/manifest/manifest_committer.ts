/**
 * Group commit of the manifest: one fiber writes what was staged and wakes all that wait in one pass; what is appended while a
 * sync runs goes with the next. Between two commits it takes a snapshot when the log has grown, which is written beside the commits.
 *
 * Whoever uses the writer holds the gate. Time is looked at with each commit; only when somebody wants chunks sealed in time does one
 * fiber sleep until the open chunk is too old, and none when there is no such chunk.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { ManifestEvent, ManifestRecord } from "../../format/manifest_record.ts"
import { type AofError, closed, isAofError, isDiskFull } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { applyManifestRecord, type ManifestState, snapshotRecords } from "../../state/manifest_state.ts"
import { type Waiter, WaitQueue } from "../../state/wait_queue.ts"
import { keepNoContext } from "../flow/plain_fiber.ts"
import { type ManifestHooks, tell } from "./manifest_hooks.ts"
import type { LoadedManifest } from "./manifest_load.ts"
import { removeManifestFiles, writeManifestSnapshot } from "./manifest_snapshot.ts"
import type { ManifestWriter } from "./manifest_writer.ts"

/** More chunks than these are replaced by a snapshot whatever their size: every unclean end leaves one. */
const chunkCountMax = 64
/** Hints are staged until a commit takes them along, but no more bytes of them than these. */
const hintBytesMax = 65536
/** Pause while another snapshot is being written. */
const renewPauseMs = 5

/** What a committer is made of. */
export interface ManifestCommitterOptions {
  readonly directory: Directory
  readonly path: string
  readonly rootId: Uint8Array
  readonly chunkBytes: number
  readonly nowMs: () => number
  readonly hooks: ManifestHooks
  /** True when a chunk is to be sealed in time also when nothing is committed any more. */
  readonly sealsIdle: boolean
  readonly loaded: LoadedManifest
  /** Called when the disk is full; after true a commit is tried once more. */
  readonly makeRoom: Effect.Effect<boolean> | undefined
}

/** Owns the writer of an open manifest. */
export class ManifestCommitter {
  readonly #writer: ManifestWriter
  readonly #options: ManifestCommitterOptions
  readonly #state: ManifestState
  readonly #waiting: WaitQueue = new WaitQueue()
  #lastSequence: number
  #committedSequence: number
  #snapshotBytes: number
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  #isSnapshotting = false
  #isWatchingAge = false
  #isHintDue = false
  #isClosed = false
  /** Set while the fiber waits for work. */
  #wake: (() => void) | undefined

  constructor(writer: ManifestWriter, options: ManifestCommitterOptions) {
    this.#writer = writer
    this.#options = options
    this.#state = options.loaded.state
    this.#lastSequence = options.loaded.lastSequence
    this.#committedSequence = options.loaded.lastSequence
    this.#snapshotBytes = options.loaded.snapshot.fileBytes
  }

  /** Starts the fiber in the scope. When that closes, what was staged is committed, the chunk closed in order, and who waits then is told. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.flatMap(Effect.scope, (scope) => {
    const close = Effect.andThen(
      Effect.ensuring(Effect.ignore(this.#join), Effect.sync(this.end)),
      Effect.suspend(() => this.#gate.withPermit(this.#writer.close)),
    )
    return Effect.forkIn(Effect.forever(this.#round(scope)), scope).pipe(
      Effect.map(keepNoContext),
      Effect.andThen(this.#watchAge(scope)),
      Effect.andThen(Scope.addFinalizer(scope, close)),
    )
  })

  /** Fails all who wait with `Closed`, and who comes later. */
  readonly end = (): void => {
    this.#isClosed = true
    this.#waiting.failAll(closed("the manifest"))
  }

  /** Stages a record and applies it to the state; returns its sequence. Throws `Closed` after close. */
  readonly append = (event: ManifestEvent): number => {
    if (this.#isClosed) throw closed("the manifest")
    const sequence = this.#lastSequence + 1
    const timestampMs = this.#options.nowMs()
    const record = { reasonCode: 0, rest: undefined, ...event, sequence, timestampMs } as ManifestRecord
    this.#writer.stage(record)
    this.#lastSequence = sequence
    applyManifestRecord(this.#state, record)
    if (this.#writer.stagedBytes > hintBytesMax) {
      this.#isHintDue = true
      this.#wake?.()
    }
    return sequence
  }

  /** All records up to this sequence are durable. */
  readonly committedSequence = (): number => (this.#writer.isIdle ? this.#lastSequence : this.#committedSequence)

  /** Commits what was staged and seals the open chunk. */
  readonly sealChunk: Effect.Effect<void, AofError> = Effect.suspend(() =>
    this.#isClosed
      ? Effect.fail(closed("the manifest"))
      : Effect.andThen(this.#join, this.#gate.withPermit(this.#writer.seal)),
  )

  /**
   * Commits what was staged and puts a snapshot in the place of all files there are, so that what is damaged in them counts no more. What it
   * replaces is removed. Fails as `commit` does, and when the snapshot could not be written.
   */
  readonly renew: Effect.Effect<void, AofError> = Effect.suspend(() => {
    if (this.#isClosed) return Effect.fail(closed("the manifest"))
    return Effect.gen({ self: this }, function* () {
      yield* this.#join
      while (this.#isSnapshotting) yield* Effect.sleep(renewPauseMs)
      this.#isSnapshotting = true
      const sealed = Effect.andThen(this.#writer.seal, Effect.sync(this.#take))
      const written = Effect.flatMap(this.#gate.withPermit(sealed), this.#writeSnapshot)
      yield* Effect.ensuring(
        written,
        Effect.sync(() => {
          this.#isSnapshotting = false
        }),
      )
    })
  })

  /** Returns when all that was staged before is durable. */
  readonly commit: Effect.Effect<void, AofError> = Effect.suspend(() =>
    this.#isClosed ? Effect.fail(closed("the manifest")) : this.#join,
  )

  readonly #join: Effect.Effect<void, AofError> = Effect.callback((resume) => {
    if (this.#isClosed) return resume(Effect.fail(closed("the manifest")))
    if (this.#writer.isIdle) return resume(Effect.void)
    const waiter: Waiter = {
      position: this.#lastSequence,
      recordNumber: 0,
      done: () => resume(Effect.void),
      fail: (error) => resume(isAofError(error) ? Effect.fail(error) : Effect.die(error)),
      cancelled: false,
    }
    this.#waiting.add(waiter)
    this.#wake?.()
    return Effect.sync(() => {
      waiter.cancelled = true
    })
  })

  readonly #park: Effect.Effect<void> = Effect.callback((resume) => {
    if (!this.#waiting.isEmpty || this.#isHintDue) return resume(Effect.void)
    this.#wake = () => {
      this.#wake = undefined
      resume(Effect.void)
    }
  })

  /** What could not be written goes into a fresh chunk, for which a full disk has no room. */
  readonly #flush: Effect.Effect<void, AofError> = Effect.suspend(() => {
    const flush = this.#gate.withPermit(this.#writer.flush)
    const { makeRoom } = this.#options
    if (makeRoom === undefined) return flush
    return Effect.catch(flush, (error: AofError) => {
      if (!isDiskFull(error)) return Effect.fail(error)
      return Effect.flatMap(makeRoom, (isMade) => (isMade ? flush : Effect.fail(error)))
    })
  })

  /** One commit. The yield lets all that commit in this turn join it. */
  readonly #round = (scope: Scope.Scope): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      yield* this.#park
      yield* Effect.yieldNow
      // A flush of hints that fails is not tried again before there is something new.
      this.#isHintDue = false
      const end = this.#lastSequence + 1
      const flushed = yield* Effect.exit(this.#flush)
      if (Exit.isFailure(flushed)) return this.#waiting.failAll(Cause.squash(flushed.cause), end)
      this.#committedSequence = end - 1
      this.#waiting.wake(end)
      yield* this.#watchAge(scope)
      if (this.#isSnapshotting || !this.#isLong()) return
      this.#isSnapshotting = true
      const taken = this.#gate.withPermit(Effect.andThen(this.#writer.seal, Effect.sync(this.#take)))
      yield* Effect.forkIn(Effect.flatMap(taken, this.#snapshot), scope)
    })

  /** The state as records, and the newest chunk that they cover. */
  readonly #take = (): { readonly records: ReadonlyArray<ManifestRecord>; readonly chunkSequence: number } => {
    const marker = { coversSequence: this.#lastSequence, timestampMs: this.#options.nowMs() }
    return { records: snapshotRecords(this.#state, marker), chunkSequence: this.#writer.chunkSequence }
  }

  /** Starts the fiber that seals the open chunk in time, unless it runs, or there is nothing to seal. */
  readonly #watchAge = (scope: Scope.Scope): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (!this.#options.sealsIdle || this.#isWatchingAge || this.#writer.remainingMs === undefined) return Effect.void
      this.#isWatchingAge = true
      return Effect.map(Effect.forkIn(this.#sealInTime, scope), (fiber) => void keepNoContext(fiber))
    })

  /** Goes on for as long as there is a chunk with records: one that was sealed by size has a younger one behind it. */
  readonly #sealInTime: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    while (true) {
      const remainingMs = this.#writer.remainingMs
      if (remainingMs === undefined) break
      yield* remainingMs > 0 ? Effect.sleep(remainingMs) : this.#gate.withPermit(this.#sealOld)
    }
    this.#isWatchingAge = false
  })

  /** Looks again behind the gate: a commit may have put a younger chunk in its place. */
  readonly #sealOld: Effect.Effect<void> = Effect.suspend(() =>
    this.#writer.remainingMs === 0 ? this.#writer.seal : Effect.void,
  )

  #isLong(): boolean {
    const limitBytes = Math.max(4 * this.#options.chunkBytes, 2 * this.#snapshotBytes)
    return this.#writer.logBytes > limitBytes || this.#writer.chunkCount > chunkCountMax
  }

  /** Writes a snapshot and removes what it replaces. When it fails, a later commit tries again. */
  readonly #snapshot = (taken: {
    readonly records: ReadonlyArray<ManifestRecord>
    readonly chunkSequence: number
  }): Effect.Effect<void> =>
    Effect.matchEffect(this.#writeSnapshot(taken), {
      onFailure: () => Effect.sync(() => this.#endSnapshot()),
      onSuccess: () => Effect.sync(() => this.#endSnapshot()),
    })

  #endSnapshot(): void {
    this.#isSnapshotting = false
  }

  readonly #writeSnapshot = (taken: {
    readonly records: ReadonlyArray<ManifestRecord>
    readonly chunkSequence: number
  }): Effect.Effect<void, AofError> =>
    Effect.gen({ self: this }, function* () {
      const { directory, path, rootId, hooks } = this.#options
      const { written, older } = yield* writeManifestSnapshot(directory, { path, rootId, ...taken })
      this.#snapshotBytes = written.bytes
      yield* tell(hooks.onSnapshot, written)
      const names = older.concat(this.#writer.takeCovered(taken.chunkSequence))
      const removed = yield* Effect.result(removeManifestFiles(directory, path, names))
      if (Result.isSuccess(removed) && names.length > 0) yield* tell(hooks.onPruned, names)
    })
}
