/**
 * Cursors: the fastest way to read. No object for a record: the fields describe the current one until the next move. One class goes
 * forwards, across segments and up to the live end; the other goes backwards, frame by frame.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../format/segment_header.ts"
import { type AofError, closed, notFound, wouldBlock } from "../model/errors.ts"
import { startPolling } from "./read_only.ts"
import { Reader, type ReadLevel } from "./reader.ts"
import type { RecordView } from "./record_view.ts"
import { ReverseReader, reverseFrom } from "./reverse_reader.ts"
import type { Segment } from "./segment.ts"
import { planRead, type ReadPlan, seekStart } from "./start.ts"
import { checkOpen, type StreamState } from "./stream_state.ts"
import { waitAbove } from "./waits.ts"

/** A cursor in the core; the dresses add `ready` in their own form. */
export interface CoreCursor extends RecordView {
  readonly stream: StreamState
  readonly level: ReadLevel
  /** Moves on; false at the watermark, at the limit and at the end. */
  readonly next: () => boolean
  /** Why `next` said false: `Tail` when appended records lie above the watermark. */
  readonly blocked: "Tail" | undefined
  /** True when no later `next` can be true. */
  readonly isDone: boolean
  readonly close: () => void
}

export class ForwardCursor extends Reader implements CoreCursor {
  #remaining: number
  #isClosed = false

  constructor(stream: StreamState, plan: Pick<ReadPlan, "level" | "limit">, only?: Segment) {
    super(stream, plan.level, only)
    this.#remaining = plan.limit
  }

  next(): boolean {
    if (this.#remaining <= 0 || this.#isClosed) return this.#atEnd()
    if (!this.step()) return false
    this.#remaining--
    return true
  }

  get blocked(): "Tail" | undefined {
    const { stream } = this
    return !this.isDone && stream.writer.lastRecordId >= this.limitPosition ? "Tail" : undefined
  }

  get isDone(): boolean {
    return this.#remaining <= 0 || this.#isClosed || (this.recordsLeft === 0 && this.position >= this.endPosition)
  }

  get isStable(): boolean {
    return !this.window.isTrusted && (!this.window.isOwned || this.window.keepsBuffers)
  }

  close(): void {
    this.#isClosed = true
    this.recordsLeft = 0
  }

  #atEnd(): boolean {
    if (this.#isClosed) throw closed("cursor")
    return false
  }
}

export class ReverseCursor extends ReverseReader implements CoreCursor {
  #remaining: number
  #isClosed = false
  #isAtEnd = false
  readonly blocked: undefined = undefined

  constructor(stream: StreamState, level: ReadLevel, upper: number, limit: number) {
    super(stream, level, upper)
    this.#remaining = limit
  }

  next(): boolean {
    if (this.#isClosed) throw closed("cursor")
    this.#isAtEnd = this.#remaining <= 0 || !this.moveBack()
    if (this.#isAtEnd) return false
    this.#remaining--
    return true
  }

  get isDone(): boolean {
    return this.#isAtEnd || this.#isClosed
  }

  get isStable(): boolean {
    return !this.window.isTrusted && (!this.window.isOwned || this.window.keepsBuffers)
  }

  close(): void {
    this.#isClosed = true
  }
}

/** Opens a cursor where `plan` starts. Throws like `seekStart`. */
export const openCursor = (stream: StreamState, plan: ReadPlan): ForwardCursor | ReverseCursor => {
  if (plan.isReverse) {
    const { upper, limit } = reverseFrom(stream, plan)
    return new ReverseCursor(stream, plan.level, upper, limit)
  }
  const cursor = new ForwardCursor(stream, plan)
  seekStart(cursor, plan)
  return cursor
}

/** A cursor over one segment. Throws `NotFound` when there is none of that index. */
export const openSegmentCursor = (
  stream: StreamState,
  segmentIndex: number,
  level: ReadLevel = "durable",
): ForwardCursor => {
  checkOpen(stream)
  const segment = stream.catalog.get(segmentIndex)
  if (segment === undefined) {
    const indexes = stream.catalog.entries.map((one) => one.index)
    throw notFound("segment", segmentIndex, indexes.length === 0 ? "none" : `${indexes[0]} to ${indexes.at(-1)}`)
  }
  const { level: checked } = planRead({ level })
  const cursor = new ForwardCursor(stream, { level: checked, limit: Number.POSITIVE_INFINITY }, segment)
  cursor.seekFrame(segment, segmentHeaderBytes)
  return cursor
}

/** Returns when `next` may be true again: the awaiting twin of a `next` that said false. */
export const cursorReady = (cursor: CoreCursor): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { stream, level } = cursor
    if (cursor.isDone || !(cursor instanceof Reader)) return Effect.void
    const watermark = level === "durable" ? stream.durable.position : stream.written.position
    if (cursor.position < watermark) return Effect.void
    startPolling(stream)
    return waitAbove(level === "durable" ? stream.durableWaiters : stream.writtenWaiters, cursor.position)
  })

/** The error for a record above the watermark. */
export const tailBlocked = (stream: StreamState, level: ReadLevel): AofError => {
  const mark = level === "durable" ? stream.durable.mark : stream.written.mark
  return wouldBlock("Tail", stream.writer.nextRecordNumber - mark.nextRecordNumber, 0)
}
