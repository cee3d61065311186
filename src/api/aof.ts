/** One stream, for everybody: promises, async iterators, and the synchronous calls of the hot path. */
import * as Effect from "effect/Effect"
import type { AppendOptions, BatchAck, SegmentInfo, StreamInfo } from "../core/aof.ts"
import * as Core from "../core/aof.ts"
import { tryAppend } from "../core/append/append.ts"
import { attempt } from "../core/flow/attempt.ts"
import type { CoreManager } from "../core/manager.ts"
import { whenAtHand } from "../core/read/cold_need.ts"
import { openCursor, openSegmentCursor } from "../core/read/cursor.ts"
import { get, openSource, tryGet } from "../core/read/read.ts"
import { refreshStream } from "../core/read/read_only.ts"
import type { ReadLevel } from "../core/read/reader.ts"
import type { AofRecord } from "../core/read/record.ts"
import { planQuiet, planRead, type ReadOptions } from "../core/read/start.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { trimBefore } from "../core/stream/trim.ts"
import { type EvictOptions, evict, type PrefetchOptions, prefetch } from "../core/tiers/stream_residency.ts"
import type { Codec } from "../model/codec.ts"
import { checkNames } from "../model/config_check.ts"
import type { AofError } from "../model/errors.ts"
import { AckWaiter } from "./ack_waiter.ts"
import { type Cursor, dressCursor } from "./cursor.ts"
import { type BatchInput, encodeBatch, encodePayload } from "./payload.ts"
import { closeWith, runPromise, runWith, type WaitOptions, withoutSignal } from "./promise.ts"
import { RecordIterator } from "./record_iterator.ts"
import { makeSealedSegments, type SealedSegmentStream, type SealedSegmentsOptions } from "./sealed_segments.ts"

/** Makes a stream's dress. Set by the class, so that users do not see of what it is made. */
export let makeAof: <T, V>(state: StreamState, manager: CoreManager, codec: Codec<V> | undefined) => Aof<T, V>

/** One stream: one writer, any number of readers. Made by `manager.stream(name)`. `T` is what `append` takes: bytes or text, or what the codec encodes. */
export class Aof<T = Uint8Array | string, V = T> {
  static {
    makeAof = (state, manager, codec) => new Aof(state, manager, codec)
  }

  readonly #state: StreamState
  readonly #manager: CoreManager
  readonly #codec: Codec<V> | undefined

  private constructor(state: StreamState, manager: CoreManager, codec: Codec<V> | undefined) {
    this.#state = state
    this.#manager = manager
    this.#codec = codec
  }

  /** Its name below the root. */
  get name(): string {
    return this.#state.name
  }

  /**
   * Appends one record, which is copied before the call returns. Resolves when it has reached `level`, by default `durable`. Waits for room
   * when there is none. Rejects with `InvalidArgument`, `Closed`, `Fenced`, or `Unavailable` when the disk does not take it now. Aborting
   * ends the wait only: a record that was taken stays.
   *
   * After `Unavailable` (`EIO`, `ENOSPC`) the record may be in the log or not: one that was taken stays in memory and is written again by itself. Nothing
   * recognizes a repetition, so that who just appends again may have it twice. With the level `buffered` an `Unavailable` has taken nothing, and `durable` of
   * its id may be repeated. Or look: after `flush`, `read` behind the last acknowledged id shows all that was taken.
   */
  append(payload: T, options?: AppendOptions): Promise<Core.Ack> {
    const state = this.#state
    try {
      Core.checkWritable(state)
      const level = options === undefined ? "durable" : Core.checkAppendOptions(options)
      if (options?.signal !== undefined || level === "buffered" || state.appendQueue.code < 0) {
        return this.#appendSlowly(payload, options)
      }
      const bytes = this.#encode(payload)
      const { extId = 0, timestampMs = -1 } = options ?? noOptions
      const recordId = tryAppend(state, bytes, extId, timestampMs)
      if (recordId < 0) return runPromise(Core.append(state, bytes, options ?? {}))
      return new Promise((resolve, reject) => {
        const waiter = new AckWaiter(recordId, state.writer.nextRecordNumber - 1, level, resolve, reject)
        Core.awaitLevel(state, level, waiter)
      })
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #appendSlowly(payload: T, options: AppendOptions | undefined): Promise<Core.Ack> {
    const encoded = attempt(() => this.#encode(payload))
    const append = Effect.flatMap(encoded, (bytes) => Core.append(this.#state, bytes, options ?? {}))
    return runPromise(append, options?.signal)
  }

  /**
   * Appends all or nothing; resolves when the last one, and with it all, has reached `level`. An empty batch is `InvalidArgument`. After `Unavailable` the whole
   * batch may be in the log or not, as with `append`.
   */
  appendBatch(
    items: ReadonlyArray<BatchInput<T>>,
    options: Pick<AppendOptions, "level" | "signal"> = {},
  ): Promise<BatchAck> {
    const encoded = attempt(() => encodeBatch(this.#codec, items))
    const append = Effect.flatMap(encoded, (batch) => Core.appendBatch(this.#state, batch, options))
    return runWith(() => append, options, levelAndSignal)
  }

  /**
   * Appends one record without waiting for anything and returns its id, or `APPEND_ADMISSION`, `APPEND_ROLLOVER` or `APPEND_FLUSH`,
   * all negative, whereupon nothing was taken and `ready` tells when to try again. The record is acknowledged as `buffered` only:
   * await `durable(recordId)` or `flush()`. Throws `InvalidArgument`, `Closed` and `Unavailable`.
   */
  tryAppend(payload: T, extId: number | bigint = 0, timestampMs = -1): number {
    return tryAppend(
      this.#state,
      this.#codec === undefined ? (payload as Uint8Array | string) : this.#encode(payload),
      extId,
      timestampMs,
    )
  }

  /** Why a `tryAppend` returned this negative code, with the numbers of this moment; `Admission` says what is wrong with Tier 2. Gives `Closed` once the stream is. */
  whyBlocked(code: number): AofError {
    return Core.blockedError(this.#state, code)
  }

  /** Resolves when a `tryAppend` that returned a negative code may succeed. */
  ready(options: WaitOptions = {}): Promise<void> {
    return runWith(() => Core.whenUnblocked(this.#state), options)
  }

  /** Starts or joins a group commit; resolves when `recordId` is durable. `InvalidArgument` for an id that no append returned. */
  durable(recordId: number, options: WaitOptions = {}): Promise<Core.Ack> {
    return runWith(() => Core.durable(this.#state, recordId), options)
  }

  /** The same as `durable`. */
  flushUntil(recordId: number, options: WaitOptions = {}): Promise<Core.Ack> {
    return this.durable(recordId, options)
  }

  /** Resolves when everything appended before the call is durable, and then the watermark of the application. */
  flush(options: WaitOptions = {}): Promise<void> {
    return runWith(() => Core.flush(this.#state), options)
  }

  /** Records from a start up to the watermark of this moment. The iterator rejects with `NotFound`, `InvalidArgument`, `Corrupt`. */
  read(options: ReadOptions = {}): AsyncIterableIterator<AofRecord<V>> {
    return this.#iterate(options, false)
  }

  /** Records from a start, and then each new one as it reaches the level, for ever; end it by leaving the loop or by `signal`. */
  follow(options: ReadOptions = {}): AsyncIterableIterator<AofRecord<V>> {
    return this.#iterate(options, true)
  }

  /** A cursor from a start. It waits for nothing, so that it takes no signal. Throws `NotFound`, `InvalidArgument`, `Closed`. */
  cursor(options: Omit<ReadOptions, "signal"> = {}): Cursor {
    return dressCursor(openCursor(this.#state, planQuiet(options)))
  }

  /** The record with this id; waits for the watermark when it is above. Rejects with `NotFound`, `InvalidArgument`, `Corrupt`. */
  get(
    recordId: number,
    options: { readonly level?: ReadLevel | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<AofRecord<V>> {
    return runWith(() => get(this.#state, recordId, options.level, this.#codec), options, levelAndSignal)
  }

  /** The record with this id; throws `WouldBlock` (`Tail`) when it is above the watermark, otherwise like `get`. */
  tryGet(recordId: number, options: { readonly level?: ReadLevel | undefined } = {}): AofRecord<V> {
    checkNames("option", options, levelOnly)
    return tryGet(this.#state, recordId, options.level, this.#codec)
  }

  /**
   * A cursor over one segment, which stays in Tier 0 until the cursor is closed or at its end. Throws `NotFound` when there is no such
   * segment and `WouldBlock` (`Hydration`) when it is not in Tier 0; it is being brought from then on.
   */
  tryOpenReader(segmentIndex: number, options: { readonly level?: ReadLevel | undefined } = {}): Cursor {
    checkNames("option", options, levelOnly)
    return dressCursor(openSegmentCursor(this.#state, segmentIndex, options.level))
  }

  /** Like `tryOpenReader`, but waits until the segment is in Tier 0. Rejects also with `Unavailable` and `Corrupt`. */
  openReader(
    segmentIndex: number,
    options: { readonly level?: ReadLevel | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Cursor> {
    const { hydrator } = this.#state.services.tiers.coordinator
    const open = (): Cursor => dressCursor(openSegmentCursor(this.#state, segmentIndex, options.level))
    return runWith(() => whenAtHand(hydrator, open), options, levelAndSignal)
  }

  /** Seals the active segment; resolves when its footer and the watermark of the application are durable. */
  seal(options: WaitOptions = {}): Promise<void> {
    return runWith(() => Core.seal(this.#state), options)
  }

  /** Makes `before` the first record of the stream, durably; whole segments before it are removed. */
  trim(options: { readonly before: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    return runWith(() => trimBefore(this.#state, options?.before), options ?? {}, ["before", "signal"])
  }

  /**
   * Brings sealed segments up before they are read, and resolves when they are there. Aborting ends the wait, not the work. Rejects with
   * `Unavailable`, `Corrupt`, `NotFound`.
   */
  prefetch(options: PrefetchOptions & WaitOptions = {}): Promise<void> {
    return runWith(() => prefetch(this.#state, withoutSignal(options)), options, ["from", "count", "to", "signal"])
  }

  /**
   * Moves all sealed segments down, to warm files or off the local disk, and resolves when they have left. Rejects with what stands in the
   * way.
   */
  evict(options: EvictOptions & WaitOptions = {}): Promise<void> {
    return runWith(() => evict(this.#state, withoutSignal(options)), options, ["to", "signal"])
  }

  /**
   * The sealed segments one by one, oldest first, each with a cursor over its records. A segment is in Tier 0 while it is read, and the
   * next one is brought meanwhile. Throws `InvalidArgument`.
   */
  sealedSegments(options: SealedSegmentsOptions = {}): SealedSegmentStream {
    return makeSealedSegments(this.#state, options)
  }

  /** What the stream holds now. Throws `Closed`. */
  info(): StreamInfo {
    return Core.info(this.#state)
  }

  /** The segments of the stream, oldest first. */
  segments(): ReadonlyArray<SegmentInfo> {
    return Core.info(this.#state).segments
  }

  /** How far the application above has come, as last set here or recovered; 0n when it never was. */
  get coordinatorWatermark(): bigint {
    return this.#state.coordinator.value
  }

  /**
   * Sets it, from 0 to 2^64 - 1; it may go back. It is written soon, within 10 ms on a quiet stream, also when nothing was appended: then a kill leaves it there.
   * `flush`, `seal` and `close` make it durable. Throws `InvalidArgument`, `Closed`, `Fenced`.
   */
  setCoordinatorWatermark(value: number | bigint): void {
    Core.setCoordinatorWatermark(this.#state, value)
  }

  /** Drains and closes this stream; a second close does nothing. Rejects `Unavailable` when that takes longer than it may. */
  close(options: WaitOptions = {}): Promise<void> {
    return closeWith(() => runPromise(this.#manager.closeStream(this.#state)), options)
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #iterate(options: ReadOptions, isFollowing: boolean): AsyncIterableIterator<AofRecord<V>> {
    const state = this.#state
    const open = Effect.flatMap(
      attempt(() => planRead(options)),
      (plan) => {
        const source = attempt(() => openSource(state, plan, this.#codec, isFollowing))
        return state.services.config.readOnly ? Effect.andThen(refreshStream(state), source) : source
      },
    )
    return new RecordIterator(open, options?.signal)
  }

  #encode(payload: T): Uint8Array | string {
    return encodePayload(this.#codec, payload)
  }
}

const levelOnly: ReadonlyArray<string> = ["level"]
const levelAndSignal: ReadonlyArray<string> = ["level", "signal"]
const noOptions: AppendOptions = {}
