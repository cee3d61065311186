/**
 * Cursors: the fastest way to read. No object for a record: the fields describe the current one until the next move. One class goes
 * forwards, across segments and up to the live end; the other goes backwards, frame by frame.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, closed, invalidArgument, notFound, wouldBlock } from "../../model/errors.ts"
import { caught } from "../flow/attempt.ts"
import type { Segment } from "../stream/segment.ts"
import { checkOpen, type StreamState } from "../stream/stream_state.ts"
import { waitAbove } from "../stream/waits.ts"
import type { Residency } from "../tiers/residency.ts"
import { type ColdNeed, hydrationBlocked, needOf, whenAtHand } from "./cold_need.ts"
import { startPolling } from "./read_only.ts"
import { Reader, type ReadLevel } from "./reader.ts"
import type { RecordView } from "./record_view.ts"
import { ReverseReader, reverseFrom } from "./reverse_reader.ts"
import { planRead, type ReadPlan, seekFirst, seekStart } from "./start.ts"

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
  /** True when `next` cannot move before bytes of another tier are there. */
  readonly isWaiting: boolean
  /** Tries what such a move needs; throws what `next` would. */
  readonly prepare: () => void
}

export class ForwardCursor extends Reader implements CoreCursor {
  #remaining: number
  #isClosed = false
  /** The search for the start, as long as it waits for bytes of another tier. */
  #seek: (() => void) | undefined = undefined
  #pin: Pin | undefined = undefined

  constructor(stream: StreamState, plan: Pick<ReadPlan, "level" | "limit">, only?: Segment) {
    super(stream, plan.level, only)
    this.#remaining = plan.limit
  }

  /** Puts the cursor before its start now, or with the first move when bytes have to be fetched for that. */
  startWith(seek: () => void): void {
    const error = caught(seek)
    if (error === undefined) return
    if (needOf(error) === undefined) throw error
    this.#seek = seek
  }

  /** Keeps the only segment in Tier 0 until the cursor is closed, at its end, or collected. */
  hold(segment: Segment): void {
    const { coordinator } = this.stream.services.tiers
    this.#pin = new Pin(segment.residency, () => coordinator.wake())
    pins.register(this, this.#pin, this.#pin)
  }

  /** True when a move cannot be made before bytes of another tier are there. */
  get isWaiting(): boolean {
    return this.#seek !== undefined || this.isCutShort
  }

  /** Does what a move would do, but for the move. */
  prepare(): void {
    this.#seek?.()
    this.#seek = undefined
    this.prepareMove()
  }

  next(): boolean {
    if (this.#remaining <= 0 || this.#isClosed || this.stream.closedAs !== undefined) return this.#atEnd()
    if (this.#seek !== undefined) this.prepare()
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
    this.#release()
  }

  #release(): void {
    if (this.#pin === undefined) return
    pins.unregister(this.#pin)
    this.#pin.release()
    this.#pin = undefined
  }

  #atEnd(): boolean {
    checkOpen(this.stream)
    if (this.#isClosed) throw closed("cursor")
    return false
  }

  /** In another process nobody moves the watermark unless somebody looks. */
  #atTail(): boolean {
    if (this.stream.services.config.readOnly) startPolling(this.stream)
    if (this.#pin !== undefined && this.isDone) this.#release()
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
  #remaining = 0
  #isClosed = false
  #isAtEnd = false
  /** Where to begin, as long as that could not be found out. */
  #plan: ReadPlan | undefined
  #seeker: Reader | undefined = undefined
  #isCutShort = false
  readonly blocked: undefined = undefined

  constructor(stream: StreamState, plan: ReadPlan) {
    super(stream, plan.level)
    this.#plan = plan
    const error = caught(() => this.#begin())
    if (error !== undefined && needOf(error) === undefined) throw error
  }

  /** True when a move cannot be made before bytes of another tier are there. */
  get isWaiting(): boolean {
    return this.#plan !== undefined || this.#isCutShort
  }

  /** Does what a move would do, but for the move. */
  prepare(): void {
    this.#begin()
    if (this.#remaining > 0) this.prepareMoveBack()
  }

  #begin(): void {
    if (this.#plan === undefined) return
    this.#seeker ??= new Reader(this.stream, this.#plan.level)
    const { upper, limit } = reverseFrom(this.#seeker, this.#plan)
    this.startBelow(upper)
    this.#remaining = limit
    this.#plan = undefined
    this.#seeker = undefined
  }

  next(): boolean {
    checkOpen(this.stream)
    if (this.#isClosed) throw closed("cursor")
    this.#begin()
    this.#isCutShort = true
    this.#isAtEnd = this.#remaining <= 0 || !this.moveBack()
    this.#isCutShort = false
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
    return new ReverseCursor(stream, plan)
  }
  const cursor = new ForwardCursor(stream, plan)
  cursor.startWith(() => seekStart(cursor, plan))
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
  const isElsewhere = segment.state === "sealed" && !segment.residency.isHot
  if (isElsewhere && !stream.services.config.readOnly) throw notResident(stream, segment)
  const cursor = new ForwardCursor(stream, { level: checked, limit: Number.POSITIVE_INFINITY }, segment)
  // What was trimmed stays so, even where its bytes are still there.
  if (segment === stream.catalog.first) cursor.startWith(() => seekFirst(cursor))
  else cursor.seekFrame(segment, segmentHeaderBytes)
  if (segment.state === "sealed") cursor.hold(segment)
  return cursor
}

/** Asks for a segment to come back to Tier 0; the error says that it is not there yet. */
const notResident = (stream: StreamState, segment: Segment): AofError => {
  const { hydrator } = stream.services.tiers.coordinator
  const need: ColdNeed = { residency: segment.residency, kind: "hot", offset: 0, length: 0 }
  stream.services.tiers.services.counters.wouldBlock.Hydration++
  hydrator.begin(need)
  return hydrationBlocked(need, hydrator.queueDepth)
}

/** A reader's hold on the Tier 0 file of a segment. */
class Pin {
  readonly #residency: Residency
  readonly #onRelease: () => void
  #isHeld = true

  constructor(residency: Residency, onRelease: () => void) {
    this.#residency = residency
    this.#onRelease = onRelease
    residency.pins++
  }

  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#residency.pins--
    // Somebody may wait for the room.
    this.#onRelease()
  }
}

/** A cursor that nobody closed lets go when it is collected. */
const pins: FinalizationRegistry<Pin> = new FinalizationRegistry((pin) => pin.release())

/** Returns when `next` may be true again: the awaiting twin of a `next` that said false. */
export const cursorReady = (cursor: CoreCursor): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { stream, level } = cursor
    if (stream.closedAs !== undefined) return Effect.fail(closed(stream.closedAs))
    if (cursor.isClosed) return Effect.fail(closed("cursor"))
    if (cursor.isWaiting) {
      return whenAtHand(stream.services.tiers.coordinator.hydrator, () => cursor.prepare())
    }
    if (cursor.isDone || !(cursor instanceof Reader) || cursor.mayMove) return Effect.void
    startPolling(stream)
    return waitAbove(level === "durable" ? stream.durableWaiters : stream.writtenWaiters, cursor.position)
  })

/** The error for a record above the watermark. */
export const tailBlocked = (stream: StreamState, level: ReadLevel): AofError => {
  const mark = level === "durable" ? stream.durable.mark : stream.written.mark
  stream.services.tiers.services.counters.wouldBlock.Tail++
  return wouldBlock("Tail", stream.writer.nextRecordNumber - mark.nextRecordNumber, 0)
}
