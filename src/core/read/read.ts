/** Reads as values: single records, and a source that a dress turns into an async iterator or a Stream. */
import * as Effect from "effect/Effect"
import type { Codec } from "../../model/codec.ts"
import { type AofError, type InvalidArgument, invalidArgument, type WouldBlock } from "../../model/errors.ts"
import { isRecordId, segmentIndexOf } from "../../model/record_id.ts"
import { requestFlush } from "../append/flusher.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { appendedMark, checkOpen, type StreamState } from "../stream/stream_state.ts"
import { waitAbove } from "../stream/waits.ts"
import { needOf } from "./cold_need.ts"
import { cursorReady, ForwardCursor, openCursor, tailBlocked } from "./cursor.ts"
import { missingRecord } from "./hole.ts"
import { locateRecord, readPoint } from "./point_read.ts"
import { refreshStream, startPolling } from "./read_only.ts"
import { checkReadLevel, type ReadLevel } from "./reader.ts"
import { AofRecord } from "./record.ts"
import type { RecordView } from "./record_view.ts"
import { checkNotTrimmed, type ReadPlan } from "./start.ts"

/** A source of records: `pull` never waits. */
export interface RecordSource<T> {
  /** The next record; undefined when there is none now, or none any more (`isDone`). Throws `Corrupt`, `NotFound`, `Closed`. */
  readonly pull: () => AofRecord<T> | undefined
  readonly isDone: () => boolean
  /** Returns when `pull` may give something again. */
  readonly ready: Effect.Effect<void, AofError>
  readonly close: () => void
  /** Calls back in a turn of the event loop of this reader's own, with the bytes that may be handed out in it. */
  readonly inOwnTurn: (callback: (bytes: number) => void) => void
}

/** Opens a source that ends at the watermark of this moment, or one that goes on for ever. Throws like `seekStart`. */
export const openSource = <T>(
  stream: StreamState,
  plan: ReadPlan,
  codec: Codec<T> | undefined,
  isFollowing: boolean,
): RecordSource<T> => {
  if (isFollowing && plan.isReverse) throw invalidArgument("reverse", true, "false when following")
  const cursor = openCursor(stream, plan)
  cursor.window.keepsBuffers = true
  cursor.window.isOwned = false
  if (cursor instanceof ForwardCursor && !isFollowing) cursor.endPosition = cursor.limitPosition
  let hasMoved = false
  const move = (): void => {
    hasMoved = cursor.next()
  }
  return {
    pull: () => {
      hasMoved = false
      const error = caught(move)
      if (error !== undefined && needOf(error) === undefined) throw error
      return hasMoved ? recordOf(cursor, codec) : undefined
    },
    isDone: () => !cursor.isWaiting && (cursor.isDone || (!isFollowing && cursor instanceof ForwardCursor)),
    ready: cursorReady(cursor),
    close: () => cursor.close(),
    inOwnTurn: (callback) => stream.services.readingTurns.wait(callback, cursor.window.isShared),
  }
}

/** The current record of a cursor as a value of its own. */
export const recordOf = <T>(cursor: RecordView, codec: Codec<T> | undefined): AofRecord<T> => {
  const { buffer, payloadStart, payloadEnd } = cursor
  const bytes = cursor.isStable ? buffer.subarray(payloadStart, payloadEnd) : buffer.slice(payloadStart, payloadEnd)
  return new AofRecord(cursor, bytes, codec)
}

/**
 * The record with this id. Throws `WouldBlock` `Tail` when it is appended but above the watermark, `NotFound` when it was trimmed,
 * `InvalidArgument` when no record starts there, `Corrupt` when it does not check.
 */
export const tryGet = <T>(
  stream: StreamState,
  recordId: number,
  asked: ReadLevel | undefined,
  codec: Codec<T> | undefined,
): AofRecord<T> => {
  checkOpen(stream)
  const level = checkReadLevel(asked)
  if (!isRecordId(recordId)) throw invalidArgument("record id", recordId, "an id that an append returned")
  const limit = level === "durable" ? stream.durable.position : stream.written.position
  if (recordId >= limit) {
    if (recordId > stream.writer.lastRecordId) throw unknownId(stream, recordId)
    throw tailBlocked(stream, level)
  }
  checkNotTrimmed(stream, recordId)
  const segment = stream.catalog.get(segmentIndexOf(recordId))
  if (segment === undefined) throw missingRecord(stream, recordId)
  return recordOf(readPoint(stream, segment, recordId, limit), codec)
}

/** Like `tryGet`, but waits for the watermark, and asks for durability when that is what it waits for. */
export const get = <T>(
  stream: StreamState,
  recordId: number,
  level: ReadLevel | undefined,
  codec: Codec<T> | undefined,
): Effect.Effect<AofRecord<T>, AofError> => {
  // In another process the record may be newer than what was seen last.
  const isUnseen = stream.services.config.readOnly && recordId > stream.writer.lastRecordId
  return Effect.andThen(isUnseen ? refreshStream(stream) : Effect.void, getSeen(stream, recordId, level, codec))
}

const getSeen = <T>(
  stream: StreamState,
  recordId: number,
  level: ReadLevel | undefined,
  codec: Codec<T> | undefined,
): Effect.Effect<AofRecord<T>, AofError> =>
  Effect.catchTag(
    attempt(() => tryGet(stream, recordId, level, codec)),
    "WouldBlock",
    (error: WouldBlock) => {
      const need = needOf(error)
      if (need !== undefined) {
        const { hydrator } = stream.services.tiers.coordinator
        return Effect.flatMap(hydrator.satisfy(need), () => getSeen(stream, recordId, level, codec))
      }
      if (stream.services.config.readOnly) startPolling(stream)
      else if (level !== "written") requestFlush(stream)
      const waiting = waitAbove(level === "written" ? stream.writtenWaiters : stream.durableWaiters, recordId)
      return Effect.flatMap(waiting, () => getSeen(stream, recordId, level, codec))
    },
  ) as Effect.Effect<AofRecord<T>, AofError>

const unknownId = ({ writer }: StreamState, recordId: number): InvalidArgument => {
  const limit = writer.lastRecordId
  return invalidArgument("record id", recordId, limit, `an id that an append returned, at most ${limit}`)
}

/** The number of an appended record. Throws `InvalidArgument` for an id that no append returned, `NotFound` for a trimmed one. */
export const recordNumberOf = (stream: StreamState, recordId: number): number => {
  if (!isRecordId(recordId) || recordId > stream.writer.lastRecordId) {
    throw unknownId(stream, recordId)
  }
  if (recordId === stream.writer.lastRecordId) return stream.writer.nextRecordNumber - 1
  checkNotTrimmed(stream, recordId)
  // The frame that is still open has no header to be found by.
  if (recordId >= stream.written.position) stream.active?.writer?.closeFrame()
  const segment = stream.catalog.get(segmentIndexOf(recordId))
  if (segment === undefined) throw missingRecord(stream, recordId)
  return locateRecord(stream, segment, recordId, appendedMark(stream).position).recordNumber
}
