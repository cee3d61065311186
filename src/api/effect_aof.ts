/** One stream as Effects: the same names and arguments as in the promise dress. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Ack, BatchAck, AppendOptions as CoreAppendOptions, SegmentInfo, StreamInfo } from "../core/aof.ts"
import * as Core from "../core/aof.ts"
import { tryAppend } from "../core/append/append.ts"
import { attempt } from "../core/flow/attempt.ts"
import type * as CoreManager from "../core/manager.ts"
import { whenAtHand } from "../core/read/cold_need.ts"
import { type CoreCursor, cursorReady, openCursor, openSegmentCursor } from "../core/read/cursor.ts"
import { get, openSource, tryGet } from "../core/read/read.ts"
import { refreshStream } from "../core/read/read_only.ts"
import type { ReadLevel } from "../core/read/reader.ts"
import type { AofRecord } from "../core/read/record.ts"
import type { RecordView } from "../core/read/record_view.ts"
import { type ReadOptions as CoreReadOptions, planQuiet } from "../core/read/start.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { trimBefore } from "../core/stream/trim.ts"
import { type EvictOptions, evict, type PrefetchOptions, prefetch } from "../core/tiers/stream_residency.ts"
import type { Codec } from "../model/codec.ts"
import { checkNames } from "../model/config_check.ts"
import type { AofError } from "../model/errors.ts"
import { type BatchInput, encodeBatch, encodePayload } from "./payload.ts"
import { recordPull } from "./record_pull.ts"
import { planSealedSegments, type SealedSegmentsOptions } from "./sealed_segments.ts"

/** Options of one append; interruption takes the place of a signal. */
export type AppendOptions = Omit<CoreAppendOptions, "signal">
/** Where a read starts and how it goes. */
export type ReadOptions = Omit<CoreReadOptions, "signal">

/** Walks records without an object for each; the fields of the current record live until the next move. */
export interface Cursor extends RecordView {
  /** Moves to the next record; false at the watermark, the limit and the end. Throws `Corrupt`, `NotFound`, `Closed`. */
  readonly next: () => boolean
  /** Returns when `next` may be true again. */
  readonly ready: () => Effect.Effect<void, AofError>
  /** `Tail` when appended records lie above the watermark. */
  readonly blocked: "Tail" | undefined
  /** Gives everything back; a second close does nothing. */
  readonly close: () => void
  /** The same as `close`, for `using`. */
  readonly [Symbol.dispose]: () => void
}

/** Set by the class, so that nobody outside sees of what a stream is made. */
export let makeAof: <T, V>(
  state: StreamState,
  manager: CoreManager.CoreManager,
  codec: Codec<V> | undefined,
) => Aof<T, V>

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

  /**
   * Appends one record and succeeds when it has reached `level`, by default `durable`. Interrupting ends the wait only.
   *
   * After `Unavailable` (`EIO`, `ENOSPC`) the record may be in the log or not: one that was taken stays in memory and is written again by itself. Nothing
   * recognizes a repetition, so that `Effect.retry` of an append may have it twice. With the level `buffered` an `Unavailable` has taken nothing, and `durable`
   * of its id may be retried. Or look: after `flush`, `read` behind the last acknowledged id shows all that was taken.
   */
  append(payload: T, options: AppendOptions = {}): Effect.Effect<Ack, AofError> {
    const encoded = attempt(() => {
      checkNames("append option", options, ["extId", "timestampMs", "level"])
      return encodePayload(this.#codec, payload)
    })
    return Effect.flatMap(encoded, (bytes) => Core.append(this.#state, bytes, options))
  }

  /** Appends all or nothing. After `Unavailable` the whole batch may be in the log or not, as with `append`. */
  appendBatch(
    items: ReadonlyArray<BatchInput<T>>,
    options: Pick<AppendOptions, "level"> = {},
  ): Effect.Effect<BatchAck, AofError> {
    const encoded = attempt(() => {
      checkNames("batch option", options, onlyLevel)
      return encodeBatch(this.#codec, items)
    })
    return Effect.flatMap(encoded, (batch) => Core.appendBatch(this.#state, batch, options))
  }

  /** Appends without waiting; a record id, or a negative code. Throws typed errors. */
  tryAppend(payload: T, extId: number | bigint = 0, timestampMs = -1): number {
    return tryAppend(this.#state, encodePayload(this.#codec, payload), extId, timestampMs)
  }

  /** Why a `tryAppend` returned this negative code, with the numbers of this moment; `Admission` says what is wrong with Tier 2. Gives `Closed` once the stream is. */
  whyBlocked(code: number): AofError {
    return Core.blockedError(this.#state, code)
  }

  /** Succeeds when a `tryAppend` that returned a negative code may succeed. */
  ready(): Effect.Effect<void, AofError> {
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

  /** Makes everything appended before durable, then the watermark of the application. */
  flush(): Effect.Effect<void, AofError> {
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
    return dressCursor(openCursor(this.#state, planQuiet(options)))
  }

  /** A cursor over one segment. Throws `NotFound`, and `WouldBlock` (`Hydration`) when it is not in Tier 0. */
  tryOpenReader(segmentIndex: number, options: { readonly level?: ReadLevel } = {}): Cursor {
    checkNames("option", options, onlyLevel)
    return dressCursor(openSegmentCursor(this.#state, segmentIndex, options.level))
  }

  /** Like `tryOpenReader`, but waits until the segment is in Tier 0. */
  openReader(segmentIndex: number, options: { readonly level?: ReadLevel } = {}): Effect.Effect<Cursor, AofError> {
    const { hydrator } = this.#state.services.tiers.coordinator
    return whenAtHand(hydrator, () => this.tryOpenReader(segmentIndex, options))
  }

  /** The record with this id; waits for the watermark when it is above. */
  get(recordId: number, options: { readonly level?: ReadLevel } = {}): Effect.Effect<AofRecord<V>, AofError> {
    return Effect.andThen(
      attempt(() => checkNames("option", options, onlyLevel)),
      Effect.suspend(() => get(this.#state, recordId, options.level, this.#codec)),
    )
  }

  /** The record with this id; throws `WouldBlock` (`Tail`) when it is above the watermark. */
  tryGet(recordId: number, options: { readonly level?: ReadLevel } = {}): AofRecord<V> {
    checkNames("option", options, onlyLevel)
    return tryGet(this.#state, recordId, options.level, this.#codec)
  }

  /** Seals the active segment; succeeds when its footer and the watermark of the application are durable. */
  seal(): Effect.Effect<void, AofError> {
    return Core.seal(this.#state)
  }

  /** Makes `before` the first record of the stream, durably. */
  trim(options: { readonly before: number }): Effect.Effect<void, AofError> {
    return Effect.andThen(
      attempt(() => checkNames("option", options, ["before"])),
      Effect.suspend(() => trimBefore(this.#state, options.before)),
    )
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

  /** The segments of the stream, oldest first. Throws `Closed`. */
  segments(): ReadonlyArray<SegmentInfo> {
    return Core.info(this.#state).segments
  }

  /** How far the application above has come. */
  get coordinatorWatermark(): bigint {
    return this.#state.coordinator.value
  }

  /**
   * Sets it, from 0 to 2^64 - 1; it may go back. It is written soon, within 10 ms on a quiet stream, also when nothing was appended: then a kill leaves it there.
   * `flush`, `seal` and the end of the stream make it durable. Throws `InvalidArgument`, `Closed`, `Fenced`.
   */
  setCoordinatorWatermark(value: number | bigint): void {
    Core.setCoordinatorWatermark(this.#state, value)
  }

  /** Drains and closes this stream; a second close does nothing. */
  close(): Effect.Effect<void, AofError> {
    return this.#manager.closeStream(this.#state)
  }

  #stream(options: ReadOptions, isFollowing: boolean): Stream.Stream<AofRecord<V>, AofError> {
    const state = this.#state
    const open = Effect.gen({ self: this }, function* () {
      const plan = yield* attempt(() => planQuiet(options))
      if (state.services.config.readOnly) yield* refreshStream(state)
      return recordPull(yield* attempt(() => openSource(state, plan, this.#codec, isFollowing)))
    })
    return Stream.fromPull(open)
  }
}

const onlyLevel: ReadonlyArray<string> = ["level"]

const dressCursor = (cursor: CoreCursor): Cursor =>
  Object.assign(cursor, { ready: () => cursorReady(cursor), [Symbol.dispose]: (): void => cursor.close() })
