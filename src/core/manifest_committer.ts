/**
 * Group commit of the manifest: one fiber writes what was staged and wakes all that wait in one pass; what is appended while a
 * sync runs goes with the next. Between two commits it takes a snapshot when the log has grown, which is written beside the commits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { ManifestEvent, ManifestRecord } from "../format/manifest_record.ts"
import { type AofError, closed, isAofError } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import { applyManifestRecord, type ManifestState, snapshotRecords } from "../state/manifest_state.ts"
import { type Waiter, WaitQueue } from "../state/wait_queue.ts"
import type { LoadedManifest } from "./manifest_load.ts"
import { removeManifestFiles, writeManifestSnapshot } from "./manifest_snapshot.ts"
import type { ManifestWriter } from "./manifest_writer.ts"

/** More chunks than these are replaced by a snapshot whatever their size: every unclean end leaves one. */
const chunkCountMax = 64

/** What a committer is made of. */
export interface ManifestCommitterOptions {
  readonly directory: Directory
  readonly path: string
  readonly rootId: Uint8Array
  readonly chunkBytes: number
  readonly nowMs: () => number
  readonly loaded: LoadedManifest
}

/** Owns the writer of an open manifest. */
export class ManifestCommitter {
  readonly #writer: ManifestWriter
  readonly #options: ManifestCommitterOptions
  readonly #state: ManifestState
  readonly #waiting: WaitQueue = new WaitQueue()
  #lastSequence: number
  #snapshotBytes: number
  #isSnapshotting = false
  #isClosed = false
  /** Set while the fiber waits for work. */
  #wake: (() => void) | undefined

  constructor(writer: ManifestWriter, options: ManifestCommitterOptions) {
    this.#writer = writer
    this.#options = options
    this.#state = options.loaded.state
    this.#lastSequence = options.loaded.lastSequence
    this.#snapshotBytes = options.loaded.snapshot.fileBytes
  }

  /** Starts the fiber in the scope. When that closes, what was staged is committed and the chunk closed in order. */
  readonly start: Effect.Effect<void, never, Scope.Scope> = Effect.flatMap(Effect.scope, (scope) => {
    const close = Effect.andThen(
      Effect.ignore(this.#join),
      Effect.suspend(() => {
        this.#isClosed = true
        return this.#writer.close
      }),
    )
    return Effect.andThen(Effect.forkIn(Effect.forever(this.#round(scope)), scope), Scope.addFinalizer(scope, close))
  })

  /** Stages a record and applies it to the state; returns its sequence. Throws `Closed` after close. */
  readonly append = (event: ManifestEvent): number => {
    if (this.#isClosed) throw closed("the manifest")
    const sequence = ++this.#lastSequence
    const timestampMs = this.#options.nowMs()
    const record = { reasonCode: 0, ...event, sequence, timestampMs, rest: undefined } as ManifestRecord
    this.#writer.stage(record)
    applyManifestRecord(this.#state, record)
    return sequence
  }

  /** Returns when all that was staged before is durable. */
  readonly commit: Effect.Effect<void, AofError> = Effect.suspend(() =>
    this.#isClosed ? Effect.fail(closed("the manifest")) : this.#join,
  )

  readonly #join: Effect.Effect<void, AofError> = Effect.callback((resume) => {
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
    if (!this.#waiting.isEmpty) return resume(Effect.void)
    this.#wake = () => {
      this.#wake = undefined
      resume(Effect.void)
    }
  })

  /** One commit. The yield lets all that commit in this turn join it. */
  readonly #round = (scope: Scope.Scope): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      yield* this.#park
      yield* Effect.yieldNow
      const end = this.#lastSequence + 1
      const flushed = yield* Effect.exit(this.#writer.flush)
      if (Exit.isFailure(flushed)) return this.#waiting.failAll(Cause.squash(flushed.cause), end)
      this.#waiting.wake(end)
      if (this.#isSnapshotting || !this.#isLong()) return
      this.#isSnapshotting = true
      const marker = { coversSequence: this.#lastSequence, timestampMs: this.#options.nowMs() }
      const records = snapshotRecords(this.#state, marker)
      yield* Effect.forkIn(this.#snapshot(records, this.#writer.rotate()), scope)
    })

  #isLong(): boolean {
    const limitBytes = Math.max(4 * this.#options.chunkBytes, 2 * this.#snapshotBytes)
    return this.#writer.logBytes > limitBytes || this.#writer.chunkCount > chunkCountMax
  }

  /** Writes a snapshot and removes the chunks up to `chunkSequence`. When it fails, a later commit tries again. */
  readonly #snapshot = (records: ReadonlyArray<ManifestRecord>, chunkSequence: number): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      const { directory, path, rootId } = this.#options
      const written = yield* Effect.result(writeManifestSnapshot(directory, { path, rootId, records, chunkSequence }))
      this.#isSnapshotting = false
      if (Result.isFailure(written)) return
      this.#snapshotBytes = written.success
      yield* Effect.ignore(removeManifestFiles(directory, path, this.#writer.takeCovered(chunkSequence)))
    })
}
