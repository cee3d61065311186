/**
 * Append: from the caller's payload to staging memory and out to the file. Synchronous throughout; what would have to wait is a
 * negative code and nothing was taken. Buffers are written when they are full and in the next turn of the event loop.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import {
  admissionBlocked,
  closed,
  invalidArgument,
  isDiskFull,
  storeRefused,
  type WouldBlock,
  wouldBlock,
} from "../../model/errors.ts"
import {
  batchBytesMax,
  frameOverheadMax,
  NEEDS_BUFFER,
  NEEDS_SEGMENT,
  recordOverheadMax,
} from "../../state/segment_writer.ts"
import { caught } from "../flow/attempt.ts"
import {
  bufferBytesOf,
  checkOpen,
  nextBufferBytesOf,
  type StreamState,
  takeBufferBytes,
  unflushedBytes,
} from "../stream/stream_state.ts"
import { tier2Trouble } from "../tier2/tier2_trouble.ts"
import { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "./append_codes.ts"
import { planTurn, requestFlush, startFlushing } from "./flusher.ts"
import { openNextSegment } from "./rollover.ts"
import { tailBytesMax, unfinishedSegmentsMax } from "./segment_limits.ts"
import { batchBytesLimit, batchTooLarge, payloadTooLarge } from "./size_errors.ts"
import { markOpen } from "./watermark_slot.ts"
import { writeOut } from "./write_out.ts"

/** One record of a batch. */
export interface BatchItem {
  readonly payload: Uint8Array | string
  readonly extId?: number | bigint | undefined
  readonly timestampMs?: number | undefined
}

/**
 * Appends one record and returns its id, or a negative code: while others wait for room, what the first of them waits for, unless it is this
 * one's turn. Throws `InvalidArgument`, `Closed`, or `Unavailable` when the next segment cannot be made; nothing was taken then.
 */
export const tryAppend = (
  stream: StreamState,
  payload: Uint8Array | string,
  extId: number | bigint,
  timestampMs: number,
  isInTurn?: boolean,
): number => {
  if (typeof payload === "string") {
    if (payload.length > stream.payloadBytesSafe) checkTextLength(stream, payload)
  } else if (!(payload instanceof Uint8Array)) {
    throw invalidArgument("payload", payload, "a Uint8Array or a string")
  } else if (payload.length > stream.payloadBytesMax) {
    throw payloadTooLarge(stream, payload.length)
  } else if (payload.length === 0) checkAttached(payload)
  if (extId !== 0) checkExtId(stream.writer.extIdMax, extId)
  if (timestampMs !== -1) checkTimestamp(timestampMs)
  if (stream.appendQueue.code < 0 && isInTurn !== true) return blockedCode(stream)
  for (;;) {
    if (stream.blocked < 0) return blockedCode(stream)
    const writer = stream.active?.writer
    const result = writer === undefined ? NEEDS_SEGMENT : writer.append(payload, extId, timestampMs)
    if (result > 0) {
      if (!stream.isTurnPlanned) planTurn(stream)
      return result
    }
    const code = result === NEEDS_BUFFER ? nextBuffer(stream, payloadLength(payload)) : nextSegment(stream)
    if (code < 0) return code
  }
}

/** Appends all or nothing and returns the ids of all, or a negative code; for those whose turn it is. Throws like `tryAppend`. */
export const tryAppendBatch = (
  stream: StreamState,
  items: ReadonlyArray<BatchItem>,
): ReadonlyArray<number> | number => {
  const batch = checkBatch(stream, items)
  for (;;) {
    if (stream.blocked < 0) return blockedCode(stream)
    // Before the batch begins, because a frame that was opened for it must not stay empty.
    const admitted = admitBytes(stream, batch.sizeBytes)
    if (admitted < 0) return admitted
    const room = batch.neededBytes > bufferBytesOf(stream) ? admitMemory(stream) : 0
    if (room < 0) return room
    if (stream.active !== undefined && !admitTier0(stream, batch.neededBytes)) return refused(stream, APPEND_ADMISSION)
    if (stream.active?.isClosedInOrder === true) markOpen(stream, stream.active)
    const writer = stream.active?.writer
    const begun = writer === undefined ? NEEDS_SEGMENT : writer.beginBatch(batch.sizeBytes)
    if (begun === 0) break
    const code = begun === NEEDS_BUFFER ? nextBuffer(stream, batch.sizeBytes) : nextSegment(stream)
    if (code < 0) return code
  }
  // A batch of several frames takes as many buffers as it needs: it was admitted as a whole.
  const writer = stream.active!.writer!
  const ids = batch.records.map((record) => {
    let id = writer.append(record.payload, record.extId, record.timestampMs)
    if (id === NEEDS_BUFFER) {
      takeBuffer(stream, record.payload.length)
      id = writer.append(record.payload, record.extId, record.timestampMs)
    }
    return id
  })
  writer.endBatch()
  if (!stream.isTurnPlanned) planTurn(stream)
  return ids
}

/** The error for a negative code of `tryAppend`, with its numbers. */
export const appendBlocked = (stream: StreamState, code: number): WouldBlock => {
  const { unflushedBytesMax } = stream.services.config
  const { tiers } = stream.services
  if (code === APPEND_ADMISSION) {
    return admissionBlocked(tiers.tier0.usedBytes, tiers.tier0.limitBytes, tier2Trouble(tiers))
  }
  if (code === APPEND_ROLLOVER) return wouldBlock("Rollover", stream.sealing.length, unfinishedSegmentsMax)
  const { staging } = stream.services
  if (staging.isWaiting(stream)) return wouldBlock("Flush", staging.usedBytes, staging.bytesMax)
  return wouldBlock("Flush", unflushedBytes(stream), unflushedBytesMax)
}

interface CheckedBatch {
  readonly records: ReadonlyArray<{
    readonly payload: Uint8Array
    readonly extId: number | bigint
    readonly timestampMs: number
  }>
  readonly sizeBytes: number
  /** With all that frames add. */
  readonly neededBytes: number
}

const encoder: TextEncoder = new TextEncoder()

const checkBatch = (stream: StreamState, items: ReadonlyArray<BatchItem>): CheckedBatch => {
  if (!Array.isArray(items) || items.length === 0)
    throw invalidArgument("batch", items, "an array of at least 1 record")
  checkOpen(stream)
  let sizeBytes = 0
  let extIdMax = stream.writer.extIdMax
  const records = Array.from(items, (item) => {
    if (typeof item.payload !== "string" && !(item.payload instanceof Uint8Array)) {
      throw invalidArgument("payload", item.payload, "a Uint8Array or a string")
    }
    const payload = typeof item.payload === "string" ? encoder.encode(item.payload) : item.payload
    if (payload.length > stream.payloadBytesMax) throw payloadTooLarge(stream, payload.length)
    if (payload.length === 0) checkAttached(payload)
    const { extId = 0 } = item
    if (extId !== 0) {
      checkExtId(extIdMax, extId)
      if (extId > extIdMax) extIdMax = extId
    }
    if (item.timestampMs !== undefined) checkTimestamp(item.timestampMs)
    sizeBytes += payload.length + recordOverheadMax
    return { payload, extId, timestampMs: item.timestampMs ?? -1 }
  })
  const needed = batchBytesMax(sizeBytes, bufferBytesOf(stream))
  if (needed > batchBytesLimit(stream)) throw batchTooLarge(stream, needed)
  return { records, sizeBytes, neededBytes: needed }
}

const emptyBytes: Uint8Array = new Uint8Array(0)

/** Throws `InvalidArgument` for a view whose memory was given away, or has shrunk below it: it looks empty and is not. */
const checkAttached = (payload: Uint8Array): void => {
  const isAttached = Effect.runSync(Effect.isSuccess(Effect.try(() => emptyBytes.set(payload))))
  if (!isAttached) throw invalidArgument("payload memory", "gone", "there, neither transferred nor shrunk away")
}

/** A payload that has to wait, in memory of its own. Throws `InvalidArgument` when its memory is gone. */
export const keepPayload = <P extends Uint8Array | string>(payload: P): P | Uint8Array => {
  if (!(payload instanceof Uint8Array)) return payload
  if (payload.length === 0) checkAttached(payload)
  return payload.slice()
}

const checkTextLength = (stream: StreamState, payload: string): void => {
  const length = encoder.encode(payload).length
  if (length > stream.payloadBytesMax) throw payloadTooLarge(stream, length)
}

const extIdLimit: bigint = 2n ** 64n

const checkExtId = (extIdMax: number | bigint, extId: number | bigint): void => {
  if (
    typeof extId === "number"
      ? !Number.isSafeInteger(extId) || extId < 0
      : typeof extId !== "bigint" || extId < 0n || extId >= extIdLimit
  ) {
    throw invalidArgument("extId", extId, "a safe integer or a bigint from 0 to 2^64 - 1")
  }
  if (extId < extIdMax && extId) {
    const limit = typeof extId === "bigint" ? BigInt(extIdMax) : extIdMax
    throw invalidArgument("extId", extId, limit, `at least the stream's last, ${extIdMax}`)
  }
}

/** The largest time of a `Date`. */
const timestampMsLimit = 8.64e15

/** Throws `InvalidArgument` for what is no Unix time in milliseconds. */
export const checkTimestamp = (timestampMs: number): void => {
  if (Number.isSafeInteger(timestampMs) && timestampMs >= 0 && timestampMs <= timestampMsLimit) return
  throw invalidArgument("timestampMs", timestampMs, `an integer from 0 to ${timestampMsLimit}`)
}

const payloadLength = (payload: Uint8Array | string): number =>
  typeof payload === "string" ? encoder.encode(payload).length : payload.length

const blockedCode = (stream: StreamState): number => {
  checkOpen(stream)
  stream.services.fence.check()
  if (stream.services.config.readOnly) throw storeRefused("append", "a read-only one", "a writable store")
  if (stream.blocked < APPEND_FLUSH) throw closed(`stream ${stream.name}`)
  return refused(stream, stream.blocked < 0 ? stream.blocked : stream.appendQueue.code)
}

/** Returns 0 when `sizeBytes` more may wait for a sync, else `APPEND_FLUSH`. One record larger than the limit may go alone. */
const admitBytes = (stream: StreamState, sizeBytes: number): number => {
  const unflushed = unflushedBytes(stream)
  if (unflushed === 0 || unflushed + sizeBytes <= stream.services.config.unflushedBytesMax) return 0
  requestFlush(stream)
  return refused(stream, APPEND_FLUSH)
}

/** Returns 0 when all streams together hold little enough for one buffer more, else `APPEND_FLUSH`. */
const admitMemory = (stream: StreamState): number => {
  if (stream.services.staging.admits(stream)) return 0
  requestFlush(stream)
  return refused(stream, APPEND_FLUSH)
}

/** True when the active segment may grow by `bytes` in Tier 0; what its seal will add is part of it. */
const admitTier0 = (stream: StreamState, bytes: number): boolean => {
  const { segment, endOffset } = stream.active!
  const end = endOffset + bytes
  return segment.residency.guard?.tryGrow(end + tailBytesMax(end)) !== false
}

/** Counts a refusal, and since when it lasts. */
const refused = (stream: StreamState, code: number): number => {
  const { services } = stream
  const { wouldBlock: counts } = services.tiers.services.counters
  if (code === APPEND_ROLLOVER) counts.Rollover++
  else if (code === APPEND_FLUSH) counts.Flush++
  else {
    counts.Admission++
    if (stream.refusedSinceMs === 0) stream.refusedSinceMs = services.tiers.services.clock.currentTimeMillisUnsafe()
  }
  return code
}

const nextBuffer = (stream: StreamState, sizeBytesMax: number): number => {
  const bufferBytes = nextBufferBytesOf(stream)
  const code = admitBytes(stream, Math.min(bufferBytes, sizeBytesMax))
  if (code < 0) return code
  if (!admitTier0(stream, Math.max(bufferBytes, sizeBytesMax + recordOverheadMax + 2 * frameOverheadMax))) {
    return refused(stream, APPEND_ADMISSION)
  }
  const room = admitMemory(stream)
  if (room < 0) return room
  if (stream.active?.isClosedInOrder === true) markOpen(stream, stream.active)
  takeBuffer(stream, sizeBytesMax)
  // A caller that never lets the event loop turn is half-way to having to wait: the disk may begin now.
  if (unflushedBytes(stream) * 2 > stream.services.config.unflushedBytesMax) startFlushing(stream)
  return 0
}

/**
 * Gives the writer a buffer that holds a record of `sizeBytes`. What is staged is written, unless its file would have to be made for that: the
 * commit journal has it, or will have, and the file is made off the main thread.
 */
const takeBuffer = (stream: StreamState, sizeBytes: number): void => {
  const active = stream.active!
  const writer = active.writer!
  writer.closeFrame()
  const neededBytes = sizeBytes + recordOverheadMax + 2 * frameOverheadMax
  // What a batch of several frames takes was reckoned with full buffers.
  const bufferBytes = writer.isInBatch ? bufferBytesOf(stream) : takeBufferBytes(stream)
  const bytes = stream.services.pool.take(neededBytes, bufferBytes)
  if (active.segment.isQuiet) active.segment.leaveQuiet()
  const { guard } = active.segment.residency
  // What a batch needs beyond its estimate is counted all the same.
  if (guard !== undefined && guard.bytes < writer.endOffset) guard.resize(writer.endOffset)
  active.tail.push(writer.endOffset, bytes)
  writer.useBuffer(bytes)
  // What the commit journal has is written behind it, with that of others.
  const isJournaled = active.segment.maker !== undefined || active.journaledOffset > active.durableOffset
  // Last, as who is woken by it may append.
  if (!isJournaled) writeOut(stream)
}

const nextSegment = (stream: StreamState): number => {
  if (stream.sealing.length >= unfinishedSegmentsMax) return refused(stream, APPEND_ROLLOVER)
  const code = admitBytes(stream, 0)
  if (code < 0) return code
  const { tiers } = stream.services
  // With room for a first buffer: an empty segment could not even be sealed.
  const firstBytes = segmentHeaderBytes + nextBufferBytesOf(stream)
  if (!tiers.tier0.hasRoom(stream.owner, firstBytes + tailBytesMax(firstBytes)))
    return refused(stream, APPEND_ADMISSION)
  const failure = caught(() => openNextSegment(stream))
  if (failure !== undefined) {
    if (isDiskFull(failure)) stream.services.tiers.services.onDiskFull()
    throw failure
  }
  return 0
}
