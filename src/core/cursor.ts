/**
 * Cursors: the fastest way to read. No object for a record: the fields describe the current one until the next move. One class goes
 * forwards, across segments and up to the live end; the other goes backwards, frame by frame.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../format/segment_header.ts"
import { type AofError, closed, invalidArgument, notFound, wouldBlock } from "../model/errors.ts"
import { startPolling } from "./read_only.ts"
import { Reader, type ReadLevel } from "./reader.ts"
import type { RecordView } from "./record_view.ts"
import { ReverseReader, reverseFrom } from "./reverse_reader.ts"
import type { Segment } from "./segment.ts"
import { planRead, type ReadPlan, seekFirst, seekStart } from "./start.ts"
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
  readonly isClosed: boolean
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
    if (this.#remaining <= 0 || this.#isClosed || this.stream.closedAs !== undefined) return this.#atEnd()
    if (this.awaitedStart !== undefined ? !this.#moveToStart(this.awaitedStart) : !this.step()) return this.#atTail()
    this.#remaining--
    return true
  }

  get blocked(): "Tail" | undefined {
    const { stream } = this
    const { lastRecordId } = stream.writer
    return !this.isDone && lastRecordId > 0 && lastRecordId >= this.limitPosition ? "Tail" : undefined
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get isDone(): boolean {
    if (this.#remaining <= 0 || this.#isClosed || this.isPastOnly) return true
    return this.recordsLeft === 0 && this.position >= this.endPosition
  }

  get isStable(): boolean {
    return !this.window.isTrusted && (!this.window.isOwned || this.window.keepsBuffers)
  }

  close(): void {
    this.#isClosed = true
    this.recordsLeft = 0
  }

  #atEnd(): boolean {
    checkOpen(this.stream)
    if (this.#isClosed) throw closed("cursor")
    return false
  }

  /** In another process nobody moves the watermark unless somebody looks. */
  #atTail(): boolean {
    if (this.stream.services.config.readOnly) startPolling(this.stream)
    return false
  }

  #moveToStart(isThere: () => boolean): boolean {
    while (this.step()) {
      if (!isThere()) continue
      this.awaitedStart = undefined
      return true
    }
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
    checkOpen(this.stream)
    if (this.#isClosed) throw closed("cursor")
    this.#isAtEnd = this.#remaining <= 0 || !this.moveBack()
    if (this.#isAtEnd) return false
    this.#remaining--
    return true
  }

  get isClosed(): boolean {
    return this.#isClosed
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
  if (!Number.isSafeInteger(segmentIndex) || segmentIndex < 0) {
    throw invalidArgument("segment index", segmentIndex, "an integer of at least 0")
  }
  const segment = stream.catalog.get(segmentIndex)
  if (segment === undefined) {
    const indexes = stream.catalog.entries.map((one) => one.index)
    throw notFound("segment", segmentIndex, indexes.length === 0 ? "none" : `${indexes[0]} to ${indexes.at(-1)}`)
  }
  const { level: checked } = planRead({ level })
  const cursor = new ForwardCursor(stream, { level: checked, limit: Number.POSITIVE_INFINITY }, segment)
  // What was trimmed stays so, even where its bytes are still there.
  if (segment === stream.catalog.first) seekFirst(cursor)
  else cursor.seekFrame(segment, segmentHeaderBytes)
  return cursor
}

/** Returns when `next` may be true again: the awaiting twin of a `next` that said false. */
export const cursorReady = (cursor: CoreCursor): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { stream, level } = cursor
    if (stream.closedAs !== undefined) return Effect.fail(closed(stream.closedAs))
    if (cursor.isClosed) return Effect.fail(closed("cursor"))
    if (cursor.isDone || !(cursor instanceof Reader) || cursor.mayMove) return Effect.void
    startPolling(stream)
    return waitAbove(level === "durable" ? stream.durableWaiters : stream.writtenWaiters, cursor.position)
  })

/** The error for a record above the watermark. */
export const tailBlocked = (stream: StreamState, level: ReadLevel): AofError => {
  const mark = level === "durable" ? stream.durable.mark : stream.written.mark
  return wouldBlock("Tail", stream.writer.nextRecordNumber - mark.nextRecordNumber, 0)
}
