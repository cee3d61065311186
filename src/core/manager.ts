/**
 * An open root: hands out its streams, makes and deletes them, and closes in order: streams drain, the tiers stop, the manifest commits,
 * the lock is given back.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { RootFile } from "../format/root_file.ts"
import type { AofManagerConfig } from "../model/config.ts"
import { type AofError, closed, notFound, storeRefused } from "../model/errors.ts"
import type { MoveBucketReport } from "../model/move_bucket.ts"
import type { ReconcileReport } from "../model/reconcile.ts"
import type { ScrubPlan, ScrubReport } from "../model/scrub.ts"
import { checkStreamName } from "../model/stream_name.ts"
import type { BucketMoveRequest } from "./bucket/move_bucket.ts"
import { streamPath } from "./files/paths.ts"
import { refuseStreamLinks } from "./files/refuse_links.ts"
import { attempt } from "./flow/attempt.ts"
import { bounded, ClosingTime } from "./flow/bounded.ts"
import { LeftCalls } from "./flow/left_calls.ts"
import { NameGate } from "./flow/name_gate.ts"
import type { KeptJournalDamage } from "./journal/journal_open.ts"
import type * as ManifestLog from "./manifest/manifest_log.ts"
import { refreshStream, releaseDeletedStreams } from "./read/read_only.ts"
import { type Recovery, RecoveryReport } from "./recovery/recovery_report.ts"
import { abandonStream, drainStream, untilBatchEnded } from "./stream/close_stream.ts"
import { noteDeleted, removeFolder } from "./stream/delete_stream.ts"
import {
  applyOptions,
  checkStreamOptions,
  openKnownStream,
  openNewStream,
  type StreamOptions,
} from "./stream/open_stream.ts"
import { releaseStream } from "./stream/release_stream.ts"
import type { StreamServices, StreamState } from "./stream/stream_state.ts"
import type { ReconcileRequest } from "./tier2/reconcile.ts"
import type { StoreSwitch } from "./tier2/store_switch.ts"
import { WholeRoot } from "./whole_root.ts"

/** When each step of closing ends at the latest, as a share of `closeTimeoutMs`. */
const closingShares = { cut: 0.8, drain: 0.85, commit: 0.9, tiers: 0.95 }

export interface CoreManager {
  readonly config: AofManagerConfig
  readonly recovery: Recovery
  /** What of `recovery.manifestDamage` is damage of the commit journal. */
  readonly journalDamage: ReadonlyArray<KeptJournalDamage>
  readonly manifest: ManifestLog.ManifestLog
  readonly services: StreamServices
  /** Names of all streams, in order. */
  readonly names: () => ReadonlyArray<string>
  /** The streams that are open now. */
  readonly openStreams: () => ReadonlyArray<StreamState>
  /** Returns when the tiers have nothing left to do now; fails with `Closed` when the manager is closed, or closes meanwhile. */
  readonly settled: Effect.Effect<void, AofError>
  /** Writes a record of the application into the manifest, durably. */
  readonly customEvent: (kind: number, payload: Uint8Array) => Effect.Effect<void, AofError>
  /** Opens or makes a stream; the same name gives the same state. */
  readonly stream: (name: string, options: StreamOptions) => Effect.Effect<StreamState, AofError>
  readonly deleteStream: (name: string) => Effect.Effect<void, AofError>
  /** Reads everything and checks it. */
  readonly scrub: (plan: ScrubPlan) => Effect.Effect<ScrubReport, AofError>
  /** Compares Tier 2 with the manifest. */
  readonly reconcile: (request: ReconcileRequest) => Effect.Effect<ReconcileReport, AofError>
  /** Moves the root to another bucket, which `open` opens for as long as the manager is open. */
  readonly moveBucket: (move: BucketMoveRequest) => Effect.Effect<MoveBucketReport, AofError>
  readonly closeStream: (stream: StreamState) => Effect.Effect<void, AofError>
  /** Drains and closes everything, within `closeTimeoutMs`. */
  readonly close: Effect.Effect<void, AofError>
}

/** What an open manager is made of. */
export interface ManagerParts {
  readonly services: StreamServices
  readonly scope: Scope.Closeable
  readonly streams: Map<string, StreamState>
  readonly recovery: Recovery
  readonly journalDamage: ReadonlyArray<KeptJournalDamage>
  readonly rootFile: RootFile
  /** What requests to Tier 2 go through; undefined when there is none. */
  readonly store: StoreSwitch | undefined
}

export class Manager implements CoreManager {
  readonly services: StreamServices
  readonly recovery: Recovery
  readonly journalDamage: ReadonlyArray<KeptJournalDamage>
  readonly #scope: Scope.Closeable
  readonly #streams: Map<string, StreamState>
  /** One at a time makes or deletes a stream of one name, so that a name means one stream. */
  readonly #gate: NameGate = new NameGate()
  /** Read-only: how far the manifest was read when streams were last looked through for deleted ones. */
  #lastPrune = 0
  /** Streams that are being closed; closing one again joins. */
  readonly #draining: Map<StreamState, Deferred.Deferred<void, AofError>> = new Map()
  /** Streams that somebody asked for by name: what their options say holds. */
  readonly #asked: WeakSet<StreamState> = new WeakSet()
  readonly #whole: WholeRoot
  /** Calls that make, open or delete a stream. */
  readonly #calls: LeftCalls = new LeftCalls("manager")
  #isClosed = false
  /** Set when all streams were released: one that comes later is released by whoever brings it. */
  #isReleased = false
  #closing: Deferred.Deferred<void, AofError> | undefined = undefined

  constructor(parts: ManagerParts) {
    this.services = parts.services
    this.recovery = parts.recovery
    this.journalDamage = parts.journalDamage
    this.#scope = parts.scope
    this.#streams = parts.streams
    this.#whole = new WholeRoot({
      ...parts,
      openStreams: () => [...this.#streams.values()].filter((stream) => this.#isOpen(stream)),
      isClosed: () => this.#isClosed,
      checkOpen: () => this.#checkOpen(),
    })
  }

  get config(): AofManagerConfig {
    return this.services.config
  }

  get manifest(): ManifestLog.ManifestLog {
    return this.services.manifest
  }

  names(): ReadonlyArray<string> {
    this.#checkOpen()
    return [...this.manifest.state.streamsByName.keys()].sort()
  }

  get settled(): Effect.Effect<void, AofError> {
    const isOpen = attempt(() => this.#checkOpen())
    return isOpen.pipe(Effect.andThen(this.services.tiers.coordinator.settled), Effect.andThen(isOpen))
  }

  openStreams(): ReadonlyArray<StreamState> {
    this.#checkOpen()
    return [...this.#streams.values()].filter((stream) => this.#isOpen(stream))
  }

  customEvent(kind: number, payload: Uint8Array): Effect.Effect<void, AofError> {
    return Effect.andThen(
      attempt(() => {
        this.#checkOpen()
        this.services.fence.check()
        if (this.config.readOnly) throw storeRefused("customEvent", "a read-only one", "a writable store")
        this.manifest.customEvent(0, kind, payload)
      }),
      this.manifest.commit,
    )
  }

  scrub(plan: ScrubPlan): Effect.Effect<ScrubReport, AofError> {
    return this.#whole.scrub(plan)
  }

  reconcile(request: ReconcileRequest): Effect.Effect<ReconcileReport, AofError> {
    return this.#whole.reconcile(request)
  }

  moveBucket(move: BucketMoveRequest): Effect.Effect<MoveBucketReport, AofError> {
    return this.#whole.moveBucket(move)
  }

  stream(name: string, options: StreamOptions): Effect.Effect<StreamState, AofError> {
    return Effect.suspend(() => {
      const open = this.#streams.get(name)
      const isSame = open !== undefined && this.#asked.has(open) && this.#isOpen(open)
      return isSame && !this.#isClosed && !this.config.readOnly && Object.keys(options).length === 0
        ? Effect.succeed(open)
        : this.#calls.run(this.#gate.withName(name, this.#open(name, options)))
    })
  }

  readonly #open: (name: string, options: StreamOptions) => Effect.Effect<StreamState, AofError> = (name, options) =>
    Effect.gen({ self: this }, function* () {
      yield* attempt(() => {
        this.#checkOpen()
        checkStreamName(name)
        checkStreamOptions(options)
      })
      if (this.config.readOnly) {
        yield* this.manifest.refresh
        this.#lastPrune = releaseDeletedStreams(this.manifest, this.#streams, this.#lastPrune)
      }
      const open = yield* this.#known(name)
      if (open !== undefined) {
        if (this.config.readOnly) yield* refreshStream(open)
        if (open.closedAs !== undefined) return yield* this.#open(name, options)
        const isFirst = !this.#asked.has(open)
        this.#asked.add(open)
        return applyOptions(open, isFirst ? { retention: this.config.retention, ...options } : options)
      }
      const known = this.manifest.state.streamsByName.get(name)
      // What the manifest says of it may be on its way still: a trim that a crash would take back is not to be acted upon.
      if (known !== undefined) yield* this.manifest.commit
      const stream =
        known === undefined
          ? yield* this.#create(name, options)
          : yield* openKnownStream(this.services, known, options, new RecoveryReport())
      // Its writer has deleted it meanwhile, and may have made another of its name.
      if (stream.closedAs !== undefined) return yield* this.#open(name, options)
      if (this.#isReleased) {
        releaseStream(stream, "manager")
        return yield* Effect.fail(closed("manager"))
      }
      this.#asked.add(stream)
      this.#streams.set(name, stream)
      return stream
    })

  /** The open stream of this name. Waits for one that is being closed, and for a batch that its end has not waited for; lets go of one that its writer has deleted. */
  #known(name: string): Effect.Effect<StreamState | undefined> {
    return Effect.gen({ self: this }, function* () {
      const open = this.#streams.get(name)
      if (open === undefined) return undefined
      const closing = this.#draining.get(open)
      if (closing !== undefined) {
        yield* Effect.exit(Deferred.await(closing))
        releaseStream(open, `stream ${name}`)
      }
      if (this.manifest.state.streamsByName.get(name)?.streamId !== open.streamId) releaseStream(open, `stream ${name}`)
      return open.closedAs === undefined ? open : yield* untilBatchEnded(open)
    })
  }

  #isOpen(stream: StreamState): boolean {
    return stream.closedAs === undefined && !this.#draining.has(stream)
  }

  /** Drains a stream; a second call joins the first. */
  #drain(stream: StreamState): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const before = this.#draining.get(stream)
      if (before !== undefined) return Deferred.await(before)
      const draining = Deferred.makeUnsafe<void, AofError>()
      this.#draining.set(stream, draining)
      return Effect.onExit(drainStream(stream), (exit) => {
        this.#draining.delete(stream)
        return Deferred.done(draining, exit)
      })
    })
  }

  /** Its directories come with its first record: until then the manifest is all there is of it. */
  #create(name: string, options: StreamOptions): Effect.Effect<StreamState, AofError> {
    const { directory } = this.services
    const { root } = this.config
    return Effect.gen({ self: this }, function* () {
      if (options.create === false || this.config.readOnly) return yield* Effect.fail(missingStream(name, this.names()))
      yield* attempt(() => this.services.fence.check())
      yield* refuseStreamLinks(directory, root, name)
      const isThere = (yield* directory.kind(streamPath(root, name))) !== "missing"
      const streamId = this.manifest.state.nextStreamId
      this.manifest.append({ type: "StreamCreated", streamId, name })
      yield* this.manifest.commit
      const known = this.manifest.state.streams.get(streamId)!
      // What a stream of this name has left, whose removal failed, must not be taken for this one's.
      return isThere
        ? yield* openKnownStream(this.services, known, options, new RecoveryReport())
        : openNewStream(this.services, known, options)
    })
  }

  deleteStream(name: string): Effect.Effect<void, AofError> {
    return this.#calls.run(this.#delete(name))
  }

  #delete(name: string): Effect.Effect<void, AofError> {
    return this.#gate.withName(
      name,
      Effect.gen({ self: this }, function* () {
        yield* attempt(() => {
          this.#checkOpen()
          checkStreamName(name)
          this.services.fence.check()
          if (this.config.readOnly) throw storeRefused("deleteStream", "a read-only one", "a writable store")
        })
        const known = this.manifest.state.streamsByName.get(name)
        if (known === undefined) return yield* Effect.fail(missingStream(name, this.names()))
        const stream = this.#streams.get(name)
        const closing = stream === undefined ? undefined : this.#draining.get(stream)
        if (closing !== undefined) yield* Effect.exit(Deferred.await(closing))
        if (stream !== undefined) yield* bounded(abandonStream(stream, `stream ${name}`), this.config.closeTimeoutMs)
        this.#streams.delete(name)
        yield* noteDeleted(this.services, known)
        this.services.shared.release(known.streamId)
        yield* removeFolder(this.services, name, known.streamId)
      }),
    )
  }

  closeStream(stream: StreamState): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      if (stream.closedAs !== undefined) return Effect.void
      return Effect.uninterruptible(
        Effect.ensuring(
          bounded(this.#drain(stream), this.config.closeTimeoutMs),
          Effect.sync(() => releaseStream(stream, `stream ${stream.name}`)),
        ),
      )
    })
  }

  get close(): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const before = this.#closing
      if (before !== undefined) return Deferred.isDoneUnsafe(before) ? Effect.void : Deferred.await(before)
      const closing = (this.#closing = Deferred.makeUnsafe<void, AofError>())
      const ended = Effect.ensuring(
        this.#closeAll(),
        Effect.sync(() => {
          this.manifest.end()
          this.#calls.end()
        }),
      )
      return Effect.uninterruptible(Effect.onExit(ended, (exit) => Deferred.done(closing, exit)))
    })
  }

  #closeAll(): Effect.Effect<void, AofError> {
    this.#isClosed = true
    this.services.tiers.services.removals.hurry()
    const streams = (): ReadonlyArray<StreamState> =>
      [...this.#streams.values()].filter((stream) => stream.closedAs === undefined)
    // Behind the gate: a stream that is being made or deleted just now is part of it.
    const drained = this.#gate.withAll(
      Effect.andThen(
        this.services.shared.settleAll,
        Effect.suspend(() =>
          Effect.forEach(streams(), (stream) => Effect.result(this.#drain(stream)), { concurrency: 16 }),
        ),
      ),
    )
    const allDrained = Effect.flatMap(drained, (results) => {
      const failed = results.find((one) => one._tag === "Failure")
      return failed === undefined ? Effect.void : Effect.fail(failed.failure)
    })
    return Effect.gen({ self: this }, function* () {
      const { clock, shared, tiers, fence } = this.services
      const { closeTimeoutMs } = this.config
      const time = new ClosingTime(clock, closeTimeoutMs)
      // What is open goes to the root still, wherever it is now; what has its place is left alone.
      yield* Effect.ignore(attempt(() => fence.look()))
      const drainMs = (): number => time.leftMs(closingShares.drain)
      const [result] = yield* Effect.all(
        [
          Effect.result(bounded(allDrained, drainMs(), closeTimeoutMs)),
          // What uses the manifest, the files and the bucket ends before they are closed.
          this.#whole.end(time.leftMs(closingShares.cut), drainMs),
        ],
        { concurrency: 2 },
      )
      this.#isReleased = true
      for (const stream of streams()) releaseStream(stream, "manager")
      const committed = yield* Effect.result(bounded(this.manifest.commit, time.leftMs(closingShares.commit)))
      if (result._tag === "Success" && committed._tag === "Success") shared.endInOrder()
      const tiersMs = (): number => time.leftMs(closingShares.tiers)
      // What is not uploaded then is begun anew by the next open.
      yield* Effect.ignore(bounded(tiers.close(tiersMs), tiersMs()))
      const closed = yield* Effect.result(bounded(Scope.close(this.#scope, Exit.void), time.leftMs(1), closeTimeoutMs))
      this.services.openFiles.releaseAll()
      if (fence.error?._tag === "Unavailable") return yield* Effect.fail(fence.error)
      if (result._tag === "Failure") return yield* Effect.fail(result.failure)
      if (closed._tag === "Failure") return yield* Effect.fail(closed.failure)
    })
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed("manager")
  }
}

const missingStream = (name: string, names: ReadonlyArray<string>): AofError =>
  notFound("stream", name, names.length === 0 ? "no stream" : names.slice(0, 10).join(", "))
