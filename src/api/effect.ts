/**
 * The store as Effects: the same names and arguments as the main module, typed failures in the error channel, reads as Streams.
 * `AofManager.open` needs a `Scope`, whose end closes the manager, and the layer of a runtime (`bop-aof/bun`, `/deno`, `/node`, `/memory`).
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Ack, BatchAck, AppendOptions as CoreAppendOptions, StreamInfo } from "../core/aof.ts"
import * as Core from "../core/aof.ts"
import { tryAppend } from "../core/append/append.ts"
import { attempt } from "../core/flow/attempt.ts"
import type * as CoreManager from "../core/manager.ts"
import { observe } from "../core/observability.ts"
import { openManager } from "../core/open_manager.ts"
import { whenAtHand } from "../core/read/cold_need.ts"
import { type CoreCursor, cursorReady, openCursor, openSegmentCursor } from "../core/read/cursor.ts"
import { get, openSource, tryGet } from "../core/read/read.ts"
import { refreshStream } from "../core/read/read_only.ts"
import type { ReadLevel } from "../core/read/reader.ts"
import type { AofRecord } from "../core/read/record.ts"
import type { RecordView } from "../core/read/record_view.ts"
import { type ReadOptions as CoreReadOptions, planRead } from "../core/read/start.ts"
import type { Recovery } from "../core/recovery/recovery_report.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { trimBefore } from "../core/stream/trim.ts"
import { type EvictOptions, evict, type PrefetchOptions, prefetch } from "../core/tiers/stream_residency.ts"
import { type Codec, checkCodec } from "../model/codec.ts"
import { type AofManagerOptions, makeConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import type { MoveBucketOptions, MoveBucketReport } from "../model/move_bucket.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import type { ReconcileOptions, ReconcileReport } from "../model/reconcile.ts"
import type { RepairOptions, RepairReport } from "../model/repair.ts"
import type { ReplicaInfo, ReplicaOptions } from "../model/replica.ts"
import { makeScrubPlan, type ScrubOptions, type ScrubReport } from "../model/scrub.ts"
import type { Compressor } from "../port/compressor.ts"
import type { Directory } from "../port/directory.ts"
import type { EventLoop } from "../port/event_loop.ts"
import type { RootLock } from "../port/root_lock.ts"
import { moveBucketWith } from "./move_bucket.ts"
import { openStore } from "./object_store.ts"
import { type BatchInput, encodeBatch, encodePayload } from "./payload.ts"
import { quietEvents, quietPlan } from "./quiet_events.ts"
import { reconcileHere } from "./reconcile.ts"
import { recordPull } from "./record_pull.ts"
import { repairHere } from "./repair.ts"
import { openCoreReplica } from "./replica_open.ts"
import { planSealedSegments, type SealedSegmentsOptions } from "./sealed_segments.ts"
import type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./stream_options.ts"

export * from "./effect_exports.ts"
export * from "./error_exports.ts"
export * from "./tier_exports.ts"
export type {
  AofManagerOptions,
  AofRecord,
  BatchInput,
  Codec,
  CodecStreamOptions,
  JsonStreamOptions,
  ReadLevel,
  Recovery,
  ReplicaInfo,
  ReplicaOptions,
  StreamOptions,
}

/** Options of one append; interruption takes the place of a signal. */
export type AppendOptions = Omit<CoreAppendOptions, "signal">
/** Where a read starts and how it goes. */
export type ReadOptions = Omit<CoreReadOptions, "signal">

/** Walks records without an object for each; the fields of the current record live until the next move. */
export interface Cursor extends RecordView {
  /** Moves to the next record; false at the watermark, the limit and the end. Throws `Corrupt`, `NotFound`, `Closed`. */
  readonly next: () => boolean
  /** Returns when `next` may be true again. */
  readonly ready: Effect.Effect<void, AofError>
  /** `Tail` when appended records lie above the watermark. */
  readonly blocked: "Tail" | undefined
  /** Gives everything back; a second close does nothing. */
  readonly close: () => void
}

/** Set by the class, so that nobody outside sees of what a stream is made. */
let makeAof: <T, V>(state: StreamState, manager: CoreManager.CoreManager, codec: Codec<V> | undefined) => Aof<T, V>

/** One stream: one writer, any number of readers. Made by `manager.stream(name)`. */
export class Aof<T = Uint8Array | string, V = T> {
  static {
    makeAof = (state, manager, codec) => new Aof(state, manager, codec)
  }

  readonly #state: StreamState
  readonly #manager: CoreManager.CoreManager
  readonly #codec: Codec<V> | undefined

  private constructor(state: StreamState, manager: CoreManager.CoreManager, codec: Codec<V> | undefined) {
    this.#state = state
    this.#manager = manager
    this.#codec = codec
  }

  /** Its name below the root. */
  get name(): string {
    return this.#state.name
  }

  /** Appends one record and succeeds when it has reached `level`, by default `durable`. Interrupting ends the wait only. */
  append(payload: T, options: AppendOptions = {}): Effect.Effect<Ack, AofError> {
    const encoded = attempt(() => encodePayload(this.#codec, payload))
    return Effect.flatMap(encoded, (bytes) => Core.append(this.#state, bytes, options))
  }

  /** Appends all or nothing. */
  appendBatch(
    items: ReadonlyArray<BatchInput<T>>,
    options: Pick<AppendOptions, "level"> = {},
  ): Effect.Effect<BatchAck, AofError> {
    const encoded = attempt(() => encodeBatch(this.#codec, items))
    return Effect.flatMap(encoded, (batch) => Core.appendBatch(this.#state, batch, options))
  }

  /** Appends without waiting; a record id, or a negative code. Throws typed errors. */
  tryAppend(payload: T, extId: number | bigint = 0, timestampMs = -1): number {
    return tryAppend(this.#state, encodePayload(this.#codec, payload), extId, timestampMs)
  }

  /** Why a `tryAppend` returned this negative code, with the numbers of this moment; `Admission` says what is wrong with Tier 2. */
  whyBlocked(code: number): AofError {
    return Core.blockedError(this.#state, code)
  }

  /** Succeeds when a `tryAppend` that returned a negative code may succeed. */
  get ready(): Effect.Effect<void, AofError> {
    return Core.whenUnblocked(this.#state)
  }

  /** Starts or joins a group commit that covers `recordId`. */
  durable(recordId: number): Effect.Effect<Ack, AofError> {
    return Core.durable(this.#state, recordId)
  }

  /** The same as `durable`. */
  flushUntil(recordId: number): Effect.Effect<Ack, AofError> {
    return Core.durable(this.#state, recordId)
  }

  /** Makes everything appended before durable. */
  get flush(): Effect.Effect<void, AofError> {
    return Core.flush(this.#state)
  }

  /** Records from a start up to the watermark of the moment at which the stream is run. */
  read(options: ReadOptions = {}): Stream.Stream<AofRecord<V>, AofError> {
    return this.#stream(options, false)
  }

  /** Records from a start, and then each new one as it reaches the level, for ever. */
  follow(options: ReadOptions = {}): Stream.Stream<AofRecord<V>, AofError> {
    return this.#stream(options, true)
  }

  /** A cursor from a start. Throws `NotFound`, `InvalidArgument`, `Closed`. */
  cursor(options: ReadOptions = {}): Cursor {
    return dressCursor(openCursor(this.#state, planRead(options)))
  }

  /** A cursor over one segment. Throws `NotFound`, and `WouldBlock` (`Hydration`) when it is not in Tier 0. */
  tryOpenReader(segmentIndex: number, options: { readonly level?: ReadLevel } = {}): Cursor {
    return dressCursor(openSegmentCursor(this.#state, segmentIndex, options.level))
  }

  /** Like `tryOpenReader`, but waits until the segment is in Tier 0. */
  openReader(segmentIndex: number, options: { readonly level?: ReadLevel } = {}): Effect.Effect<Cursor, AofError> {
    const { hydrator } = this.#state.services.tiers.coordinator
    return whenAtHand(hydrator, () => this.tryOpenReader(segmentIndex, options))
  }

  /** The record with this id; waits for the watermark when it is above. */
  get(recordId: number, options: { readonly level?: ReadLevel } = {}): Effect.Effect<AofRecord<V>, AofError> {
    return get(this.#state, recordId, options.level ?? "durable", this.#codec)
  }

  /** The record with this id; throws `WouldBlock` (`Tail`) when it is above the watermark. */
  tryGet(recordId: number, options: { readonly level?: ReadLevel } = {}): AofRecord<V> {
    return tryGet(this.#state, recordId, options.level ?? "durable", this.#codec)
  }

  /** Seals the active segment; succeeds when its footer is durable. */
  get seal(): Effect.Effect<void, AofError> {
    return Core.seal(this.#state)
  }

  /** Makes `before` the first record of the stream, durably. */
  trim(options: { readonly before: number }): Effect.Effect<void, AofError> {
    return trimBefore(this.#state, options.before)
  }

  /**
   * A cursor over each sealed segment, one after the other, as a Stream; each lives until the next is pulled, and is in Tier 0 while it does,
   * the next one on its way meanwhile.
   */
  sealedSegments(options: SealedSegmentsOptions = {}): Stream.Stream<Cursor, AofError> {
    const open = Effect.gen({ self: this }, function* () {
      const walk = yield* Effect.acquireRelease(
        attempt(() => planSealedSegments(this.#state, options)),
        (one) => Effect.sync(() => one.close()),
      )
      return Effect.flatMap(walk.next, (cursor) =>
        cursor === undefined ? Cause.done() : Effect.succeed<readonly [Cursor]>([dressCursor(cursor)]),
      )
    })
    return Stream.scoped(Stream.fromPull(open))
  }

  /** Brings sealed segments up before they are read. */
  prefetch(options: PrefetchOptions = {}): Effect.Effect<void, AofError> {
    return prefetch(this.#state, options)
  }

  /** Moves all sealed segments down, to warm files or off the local disk. */
  evict(options: EvictOptions = {}): Effect.Effect<void, AofError> {
    return evict(this.#state, options)
  }

  /** What the stream holds now. Throws `Closed`. */
  info(): StreamInfo {
    return Core.info(this.#state)
  }

  /** How far the application above has come. */
  get coordinatorWatermark(): bigint {
    return this.#state.coordinatorWatermark
  }

  /** Sets it. Throws `InvalidArgument`. */
  setCoordinatorWatermark(value: number | bigint): void {
    Core.setCoordinatorWatermark(this.#state, value)
  }

  /** Drains and closes this stream; a second close does nothing. */
  get close(): Effect.Effect<void, AofError> {
    return this.#manager.closeStream(this.#state)
  }

  #stream(options: ReadOptions, isFollowing: boolean): Stream.Stream<AofRecord<V>, AofError> {
    const state = this.#state
    const open = Effect.gen({ self: this }, function* () {
      const plan = yield* attempt(() => planRead(options))
      if (state.services.config.readOnly) yield* refreshStream(state)
      return recordPull(yield* attempt(() => openSource(state, plan, this.#codec, isFollowing)))
    })
    return Stream.fromPull(open)
  }
}

const dressCursor = (cursor: CoreCursor): Cursor => Object.assign(cursor, { ready: cursorReady(cursor) })

let makeManager: (core: CoreManager.CoreManager) => AofManager

/** Reads from a bucket what a writer has put there. Made by `openReplica`. */
export interface Replica {
  /** A read-only manager of the streams that the bucket has. */
  readonly manager: AofManager
  /** Asks the bucket now; true when there was something new. */
  readonly poll: Effect.Effect<boolean, AofError>
  /** What it knows of the bucket. */
  readonly info: () => ReplicaInfo
}

/** Opens a replica of the root in a bucket; the end of the scope closes it. Fails like the main module's. */
export const openReplica = (
  options: ReplicaOptions,
): Effect.Effect<Replica, AofError, Directory | RootLock | Scope.Scope> =>
  Effect.map(openCoreReplica(options), ({ manager, poll, info }) => ({ manager: makeManager(manager), poll, info }))

/** Owns a root: its lock, its manifest and its streams. Made by `AofManager.open`. */
export class AofManager {
  static {
    makeManager = (core) => new AofManager(core)
  }

  readonly #core: CoreManager.CoreManager
  readonly #streams: WeakMap<StreamState, Aof<any, any>> = new WeakMap()

  private constructor(core: CoreManager.CoreManager) {
    this.#core = core
  }

  /** Opens a root with the services of the context; the end of the scope closes it. Fails like the main module's. */
  static open(
    options: AofManagerOptions,
  ): Effect.Effect<AofManager, AofError, Directory | RootLock | EventLoop | Compressor | Scope.Scope> {
    return Effect.flatMap(
      attempt(() => quietEvents(makeConfig(options))),
      (config) =>
        Effect.map(
          Effect.flatMap(openStore(config), (store) => openManager(config, store)),
          (core) => new AofManager(core),
        ),
    )
  }

  /** Repairs a store that nobody has open, or tells what a repair would do. Fails like the main module's. */
  static repair(
    options: RepairOptions,
  ): Effect.Effect<RepairReport, AofError, Directory | RootLock | EventLoop | Compressor> {
    return repairHere(options)
  }

  /** What opening found out of order. */
  get recovery(): Recovery {
    return this.#core.recovery
  }

  /** Opens or makes a stream of JSON values; the same name gives the same object. */
  stream<V = any>(name: string, options: JsonStreamOptions): Effect.Effect<Aof<V, V>, AofError>
  /** Opens or makes a stream of the codec's values. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Effect.Effect<Aof<V, V>, AofError>
  /** Opens or makes a stream of bytes or text. */
  stream(name: string, options?: StreamOptions): Effect.Effect<Aof, AofError>
  stream(
    name: string,
    options: StreamOptions & { readonly codec?: unknown } = {},
  ): Effect.Effect<Aof<any, any>, AofError> {
    return Effect.flatMap(
      attempt(() => checkCodec(options.codec)),
      (codec) => {
        const { codec: _, ...rest } = options
        return Effect.map(this.#core.stream(name, rest), (state) => {
          const aof = this.#streams.get(state) ?? makeAof<any, any>(state, this.#core, codec)
          this.#streams.set(state, aof)
          return aof
        })
      },
    )
  }

  /** The names of all streams, in order. Throws `Closed`. */
  streams(): Array<string> {
    return [...this.#core.names()]
  }

  /** Deletes a stream with all its records, durably. */
  deleteStream(name: string): Effect.Effect<void, AofError> {
    return this.#core.deleteStream(name)
  }

  /** Everything that the manager counts, at this moment. */
  observe(): TieredObservabilitySnapshot {
    return observe(this.#core.services, this.#core.openStreams())
  }

  /** Returns when the tiers have nothing left to do now. */
  get settled(): Effect.Effect<void> {
    return this.#core.services.tiers.coordinator.settled
  }

  /** Writes a record of the application into the manifest, durably. */
  customEvent(kind: number, payload: Uint8Array): Effect.Effect<void, AofError> {
    return this.#core.customEvent(kind, payload)
  }

  /** Reads everything that the root holds and checks it; interruption takes the place of a signal. */
  scrub(options: ScrubOptions = {}): Effect.Effect<ScrubReport, AofError> {
    return Effect.flatMap(
      attempt(() => quietPlan(makeScrubPlan(options))),
      (plan) => this.#core.scrub(plan),
    )
  }

  /** Compares Tier 2 with the manifest, and repairs what it can. Fails like the main module's. */
  reconcile(options: ReconcileOptions = {}): Effect.Effect<ReconcileReport, AofError, Directory | RootLock> {
    return reconcileHere(this.#core, options)
  }

  /** Moves the root to another bucket while it is open. The services have to last as long as the manager. Fails like the main module's. */
  moveBucket(options: MoveBucketOptions): Effect.Effect<MoveBucketReport, AofError, Directory | RootLock> {
    return Effect.flatMap(Effect.context<Directory | RootLock>(), (context) =>
      moveBucketWith(this.#core, options, context),
    )
  }

  /** Drains and closes everything, within `closeTimeoutMs`; a second close does nothing. */
  get close(): Effect.Effect<void, AofError> {
    return this.#core.close
  }
}
