/**
 * One stream as both dresses use it: what never waits is a function, what may wait is an effect. An interrupted append that was
 * taken stays appended: only the wait for its acknowledgement ends.
 */
import * as Effect from "effect/Effect"
import { checkNames } from "../model/config_check.ts"
import { type AofError, closed, invalidArgument, storeRefused } from "../model/errors.ts"
import type { Waiter } from "../state/wait_queue.ts"
import {
  appendBlocked,
  type BatchItem,
  checkTimestamp,
  keepPayload,
  tryAppend,
  tryAppendBatch,
} from "./append/append.ts"
import { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "./append/append_codes.ts"
import { requestFlush } from "./append/flusher.ts"
import { endActiveSegment } from "./append/rollover.ts"
import { planSave, saveCoordinator } from "./append/save_coordinator.ts"
import { unfinishedSegmentsMax } from "./append/segment_limits.ts"
import { attempt } from "./flow/attempt.ts"
import { whenAtHand } from "./read/cold_need.ts"
import { firstRecordId, firstRecordNumber } from "./read/first_record.ts"
import { recordNumberOf } from "./read/read.ts"
import { startPolling } from "./read/read_only.ts"
import { appendedMark, checkOpen, type StreamState, unflushedBytes } from "./stream/stream_state.ts"
import { inTurn, nextSeal, ready, readyBehindAll, waitAbove } from "./stream/waits.ts"
import type { Tier } from "./tiers/residency.ts"

/** How sure an acknowledgement is: copied into memory, written to the file, or synced. */
export type AckLevel = "buffered" | "written" | "durable"

/** The acknowledgement of a record. */
export interface Ack {
  /** The record's id: rises along the stream, and stays the same for ever. */
  readonly recordId: number
  /** Ordinal in the stream, from 0. */
  readonly recordNumber: number
  /** How sure it is. */
  readonly level: AckLevel
}

/** The acknowledgement of a batch. */
export interface BatchAck {
  /** The first record. */
  readonly first: Ack
  /** The last record. */
  readonly last: Ack
  /** Records in the batch, 1 or more. */
  readonly count: number
  /** How sure all of it is. */
  readonly level: AckLevel
}

/** Options of one append. */
export interface AppendOptions {
  /** The caller's own number, never below the stream's last; 0 is none. */
  readonly extId?: number | bigint | undefined
  /** Unix time in milliseconds; the clock's by default. */
  readonly timestampMs?: number | undefined
  /** When the acknowledgement comes; default `durable`. */
  readonly level?: AckLevel | undefined
  /** Ends the wait; a record that was taken stays. */
  readonly signal?: AbortSignal | undefined
}

const levels: ReadonlyArray<unknown> = ["buffered", "written", "durable"]

/** Returns the level or the default; throws `InvalidArgument`. */
export const checkLevel = (level: AckLevel | undefined): AckLevel => {
  if (level === undefined) return "durable"
  if (levels.includes(level)) return level
  throw invalidArgument("level", level, "buffered, written or durable")
}

const appendOptionNames = ["extId", "timestampMs", "level", "signal"]

/** Checks the options of one append, before anything is taken, and returns the level; throws `InvalidArgument`. */
export const checkAppendOptions = (options: AppendOptions): AckLevel => {
  checkNames("append option", options, appendOptionNames)
  if (options.timestampMs !== undefined) checkTimestamp(options.timestampMs)
  return checkLevel(options.level)
}

const batchOptionNames = ["level", "signal"]

/** Checks the options of a batch and returns the level; throws `InvalidArgument`. */
export const checkBatchOptions = (options: Pick<AppendOptions, "level">): AckLevel => {
  checkNames("batch option", options, batchOptionNames)
  return checkLevel(options.level)
}

/** True when an append would not be taken now. */
export const isBlocked = (stream: StreamState): boolean =>
  stream.blocked < 0 ||
  stream.appendQueue.code < 0 ||
  stream.sealing.length >= unfinishedSegmentsMax ||
  stream.services.tiers.tier0.isRefused(stream.owner) ||
  stream.services.staging.isWaiting(stream) ||
  unflushedBytes(stream) + stream.services.pool.bufferBytes > stream.services.config.unflushedBytesMax

/** Returns when a `tryAppend` that was not taken may succeed; at once when nothing is known to stand in its way. */
export const whenUnblocked = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.andThen(
    attempt(() => checkWritable(stream, "ready")),
    Effect.suspend(() => (isBlocked(stream) ? readyBehindAll(stream) : Effect.void)),
  )

/** Throws `InvalidArgument` on a read-only stream, `Closed` on a closed one and `Fenced` when the root was lost. */
export const checkWritable = (stream: StreamState, what = "append"): void => {
  checkOpen(stream)
  stream.services.fence.check()
  if (stream.services.config.readOnly) throw storeRefused(what, "a read-only one", "a writable store")
}

/** Registers a waiter for `level`; with `durable` a group commit is started or joined. */
export const awaitLevel = (stream: StreamState, level: "written" | "durable", waiter: Waiter): void => {
  if (level === "written") {
    if (stream.written.position > waiter.position) return waiter.done(waiter)
    stream.writtenWaiters.add(waiter)
    return
  }
  if (stream.durable.position > waiter.position) return waiter.done(waiter)
  const { error } = stream.services.fence
  if (error !== undefined) return waiter.fail(error)
  stream.durableWaiters.add(waiter)
  // A reader asks for nothing: it looks for the watermark of the writer.
  if (stream.services.config.readOnly) startPolling(stream)
  else if (stream.flushWanted === 0) requestFlush(stream)
}

/** Waits until a record is acknowledged at `level`. */
export const acknowledge = (
  stream: StreamState,
  record: { readonly recordId: number; readonly recordNumber: number },
  level: AckLevel,
): Effect.Effect<Ack, AofError> => {
  const ack: Ack = { recordId: record.recordId, recordNumber: record.recordNumber, level }
  if (level === "buffered") return Effect.succeed(ack)
  return Effect.callback<Ack, AofError>((resume) => {
    const waiter: Waiter = {
      position: record.recordId,
      recordNumber: record.recordNumber,
      cancelled: false,
      done: () => resume(Effect.succeed(ack)),
      fail: (error) => resume(Effect.fail(error as AofError)),
    }
    awaitLevel(stream, level, waiter)
    return Effect.sync(() => {
      waiter.cancelled = true
    })
  })
}

/** Appends and acknowledges; waits for room first when there is none. */
export const append = (
  stream: StreamState,
  payload: Uint8Array | string,
  options: AppendOptions,
): Effect.Effect<Ack, AofError> =>
  Effect.gen(function* () {
    const level = yield* attempt(() => {
      checkWritable(stream)
      return checkAppendOptions(options)
    })
    const { extId = 0, timestampMs = -1 } = options
    let kept = payload
    const take = (): { readonly recordId: number; readonly recordNumber: number } | number => {
      const recordId = tryAppend(stream, kept, extId, timestampMs, true)
      return recordId < 0 ? recordId : { recordId, recordNumber: stream.writer.nextRecordNumber - 1 }
    }
    const record = yield* untilTaken(stream, take, () => {
      kept = keepPayload(payload)
    })
    return yield* acknowledge(stream, record, level)
  })

/** Appends all or nothing and acknowledges the last one, which covers the others. */
export const appendBatch = (
  stream: StreamState,
  items: ReadonlyArray<BatchItem>,
  options: Pick<AppendOptions, "level">,
): Effect.Effect<BatchAck, AofError> =>
  Effect.gen(function* () {
    const level = yield* attempt(() => {
      checkWritable(stream)
      return checkBatchOptions(options)
    })
    let kept = items
    const take = (): { readonly ids: ReadonlyArray<number>; readonly recordNumber: number } | number => {
      const ids = tryAppendBatch(stream, kept)
      return typeof ids === "number" ? ids : { ids, recordNumber: stream.writer.nextRecordNumber - 1 }
    }
    const { ids, recordNumber } = yield* untilTaken(stream, take, () => {
      kept = items.map((item) => ({ ...item, payload: keepPayload(item.payload) }))
    })
    const last = yield* acknowledge(stream, { recordId: ids.at(-1)!, recordNumber }, level)
    const first = { recordId: ids[0]!, recordNumber: recordNumber - ids.length + 1, level }
    return { first, last, count: ids.length, level }
  })

/**
 * Tries until something is taken, waiting for room in between. Appends are taken in the order of their calls: while one waits those
 * behind it wait too. `keep` is called before the wait, because what the caller gave is his own again when the call returns.
 */
const untilTaken = <A extends object>(
  stream: StreamState,
  take: () => A | number,
  keep: () => void,
): Effect.Effect<A, AofError> =>
  Effect.flatMap(
    attempt(() => {
      const taken = stream.appendQueue.code < 0 ? stream.appendQueue.code : take()
      if (typeof taken !== "number") return Effect.succeed(taken)
      keep()
      return inTurn(stream, take, taken)
    }),
    (taken) => taken,
  )

/** The typed error for a negative code of `tryAppend`, for callers who throw; `InvalidArgument` for any other number, `Closed` once the stream is. */
export const blockedError = (stream: StreamState, code: number): AofError => {
  if (stream.closedAs !== undefined) return closed(stream.closedAs)
  return code === APPEND_ADMISSION || code === APPEND_ROLLOVER || code === APPEND_FLUSH
    ? appendBlocked(stream, code)
    : invalidArgument("code of tryAppend", code, "APPEND_ADMISSION, APPEND_ROLLOVER or APPEND_FLUSH")
}

/** Starts or joins a group commit that covers `recordId`. */
export const durable = (stream: StreamState, recordId: number): Effect.Effect<Ack, AofError> =>
  Effect.flatMap(
    whenAtHand(stream.services.tiers.coordinator.hydrator, () => {
      checkOpen(stream)
      return { recordId, recordNumber: recordNumberOf(stream, recordId) }
    }),
    (record) => acknowledge(stream, record, "durable"),
  )

/** Makes everything appended before the call durable, and then the watermark of the application as it was set before it. */
export const flush = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const saved = saveCoordinator(stream)
    return attempt(() => stream.services.fence.check()).pipe(
      Effect.andThen(flushLocally(stream)),
      Effect.andThen(saved),
    )
  })

/** Makes records durable, also for a writer that has lost its root: what it has stays on its disk. */
export const flushLocally = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { position } = appendedMark(stream)
    if (stream.closedAs !== undefined || stream.services.config.readOnly || stream.durable.position >= position) {
      return attempt(() => checkOpen(stream))
    }
    requestFlush(stream)
    return waitAbove(stream.durableWaiters, position - 1)
  })

/**
 * Seals the active segment and returns when its footer is durable, and with it the watermark of the application. A stream without records
 * in it has nothing to seal.
 */
export const seal = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.gen(function* () {
    yield* attempt(() => checkWritable(stream, "seal"))
    const saved = saveCoordinator(stream)
    const { active } = stream
    if (active !== undefined && stream.writer.nextRecordNumber > active.segment.header.firstRecordNumber) {
      while (stream.sealing.length >= unfinishedSegmentsMax && stream.active === active) yield* ready(stream)
      if (stream.active === active) endActiveSegment(stream)
    }
    const segments = stream.sealing.map((one) => one.segment)
    while (segments.some((segment) => segment.state !== "sealed")) {
      if (stream.sealFailure !== undefined) return yield* Effect.fail(stream.sealFailure)
      yield* attempt(() => checkOpen(stream))
      yield* nextSeal(stream)
    }
    yield* saved
  })

/** One segment in `info`. */
export interface SegmentInfo {
  /** Rises along the stream; gaps are allowed. */
  readonly index: number
  /** `active` takes appends, `sealing` waits for its durable footer, `sealed` does not change any more. */
  readonly state: "active" | "sealing" | "sealed"
  /** Bytes of header and frames, index and footer when sealed. */
  readonly bytes: number
  /** Number of its first record, trimmed ones included. */
  readonly firstRecordNumber: number
  /** Records in it, trimmed ones included. */
  readonly count: number
  /** Where a reader finds it first: a plain file, a warm file, or an object. Undefined when no copy is left. */
  readonly tier: Tier | undefined
  /** Bytes of its warm form, in Tier 1 or Tier 2; 0 while there is none. */
  readonly warmBytes: number
  /**
   * Bytes of its object in Tier 2; undefined while another machine would not find it there, as far as is known here: it is not uploaded, or this
   * writer has put no HEAD yet that names it. A read-only store says it of what is uploaded.
   */
  readonly coldBytes: number | undefined
  /** True while a lost warm file is being fetched again. */
  readonly needsRecovery: boolean
}

/** What a stream holds at this moment. */
export interface StreamInfo {
  /** Name of the stream. */
  readonly name: string
  /** Its number in this root, never reused. */
  readonly streamId: number
  /** Records that are left, buffered ones included. */
  readonly count: number
  /** Bytes of all segments. */
  readonly bytes: number
  /** The first record that is left; 0 when there is none. */
  readonly firstId: number
  /** The last appended record; 0 when there is none. */
  readonly lastId: number
  /** Number of the first record that is left. */
  readonly firstRecordNumber: number
  /** Number that the next append gets. */
  readonly nextRecordNumber: number
  /** The last record at each level; 0 when there is none. */
  readonly watermarks: { readonly buffered: number; readonly written: number; readonly durable: number }
  /** Appended bytes that no sync covers yet. */
  readonly unflushedBytes: number
  /** How far the application above has come, as last set; 0n when it never was. */
  readonly coordinatorWatermark: bigint
  /** Its segments, oldest first. */
  readonly segments: ReadonlyArray<SegmentInfo>
}

/** Describes the stream. */
export const info = (stream: StreamState): StreamInfo => {
  checkOpen(stream)
  // In another process the next look is newer.
  if (stream.services.config.readOnly) startPolling(stream)
  const { catalog, writer } = stream
  const segments = catalog.entries.map((segment, at): SegmentInfo => {
    const next = catalog.entries[at + 1]?.header.firstRecordNumber ?? writer.nextRecordNumber
    return {
      index: segment.index,
      state: segment.state,
      bytes:
        segment.sealed?.fileBytes ??
        Math.max(segment.framesEnd, segment === stream.active?.segment ? stream.active.endOffset : 0),
      firstRecordNumber: segment.header.firstRecordNumber,
      count: segment.sealed?.recordCount ?? next - segment.header.firstRecordNumber,
      tier: segment.residency.tier,
      warmBytes: segment.residency.form?.fileBytes ?? 0,
      coldBytes: segment.residency.coldBytes,
      needsRecovery: segment.residency.needsRecovery,
    }
  })
  const first = firstRecordNumber(stream)
  const count = writer.nextRecordNumber - first
  return {
    name: stream.name,
    streamId: stream.streamId,
    count,
    bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
    firstId: firstRecordId(stream),
    lastId: count === 0 ? 0 : writer.lastRecordId,
    firstRecordNumber: first,
    nextRecordNumber: writer.nextRecordNumber,
    watermarks: {
      buffered: writer.lastRecordId,
      written: stream.written.mark.lastRecordId,
      durable: stream.durable.mark.lastRecordId,
    },
    unflushedBytes: unflushedBytes(stream),
    coordinatorWatermark: stream.coordinator.value,
    segments,
  }
}

/** Says how far the application above has come; repeated in slots, footers and the pointer, soon. Throws `InvalidArgument`. */
export const setCoordinatorWatermark = (stream: StreamState, value: number | bigint): void => {
  checkWritable(stream, "setCoordinatorWatermark")
  const isValid =
    typeof value === "bigint" ? value >= 0n && value < 2n ** 64n : Number.isSafeInteger(value) && value >= 0
  if (!isValid) throw invalidArgument("coordinator watermark", value, "an integer from 0 to 2^64 - 1")
  stream.coordinator.set(BigInt(value))
  planSave(stream)
}
