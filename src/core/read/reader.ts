/**
 * Walks a stream across its segments: what cursors, reads and followers have in common. Synchronous: it stops where the watermark
 * of its level stops and can be asked again later. Damage is thrown once and reading goes on behind it when asked again.
 */
import { alignFrame, frameHeader } from "../../format/frame.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { corrupt, invalidArgument, notFound, numberNotFound } from "../../model/errors.ts"
import { recordIdOf, segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import { RecordScanner } from "../../state/record_scanner.ts"
import type { Segment } from "../stream/segment.ts"
import { checkOpen, type StreamState } from "../stream/stream_state.ts"
import { firstRecord, firstRecordNumber } from "./first_record.ts"
import {
  type BatchSearch,
  blockBytes,
  checkFrame,
  FRAME_END,
  FRAME_OK,
  findNextBatch,
  searchBehind,
} from "./frame_reader.ts"
import { holeAt, missingRecords } from "./hole.ts"
import { Window } from "./window.ts"

const at = frameHeader.at

/** How far readers see. */
export type ReadLevel = "written" | "durable"

/** Returns the level or the default; throws `InvalidArgument`. */
export const checkReadLevel = (level: ReadLevel | undefined): ReadLevel => {
  if (level === undefined || level === "durable" || level === "written") return level ?? "durable"
  throw invalidArgument("level", level, "durable or written")
}

/** Bytes read at once to begin with; it doubles up to `blockBytes` while reading goes on, so a short read stays small. */
const firstBlockBytes = 16 * 1024

export class Reader extends RecordScanner {
  readonly stream: StreamState
  readonly level: ReadLevel
  readonly window: Window = new Window()
  /** Position of the next frame. */
  position = 0
  /** Where reading ends for good; infinite for one that follows. */
  endPosition: number = Number.POSITIVE_INFINITY
  /** Set while the start is still to come: records are passed over until it is true of one. */
  awaitedStart: (() => boolean) | undefined = undefined
  /** True while it moves to its start, and goes on with that after it had to wait. */
  isSkipping = false
  #segment: Segment | undefined = undefined
  #aheadBytes = firstBlockBytes
  #started = false
  /** For the end of damage, as long as it waits for bytes of another tier. */
  #search: BatchSearch | undefined = undefined
  /** Position behind the frame that was entered last, or behind the segment that damage has ended: where a gap begins. */
  #end = 0
  /** The only segment to be read, or undefined. */
  readonly #only: Segment | undefined

  constructor(stream: StreamState, level: ReadLevel, only?: Segment) {
    super()
    this.stream = stream
    this.level = level
    this.#only = only
  }

  /** The position up to which records may be shown now. */
  get limitPosition(): number {
    const { stream } = this
    return Math.min(this.endPosition, this.level === "durable" ? stream.durable.position : stream.written.position)
  }

  /** The segment of the frame that was entered last. */
  get segment(): Segment | undefined {
    return this.#segment
  }

  /** True when a record or a frame is at hand below the watermark. */
  get mayMove(): boolean {
    return this.recordsLeft > 0 || this.position < this.limitPosition
  }

  /** True when the only segment to be read is complete and all of it was read. */
  get isPastOnly(): boolean {
    const only = this.#only
    if (only === undefined || this.recordsLeft > 0 || segmentOffsetOf(this.position) < only.framesEnd) return false
    return only.state === "sealed" || segmentIndexOf(this.limitPosition) > only.index
  }

  /** Moves to the next record; false where the watermark stops. */
  move(): boolean {
    return this.step()
  }

  /** Makes `frameOffset` of `segment` the next frame. */
  seekFrame(segment: Segment, frameOffset: number): void {
    this.#segment = segment
    this.position = segment.position(frameOffset)
    this.recordsLeft = 0
    this.#started = false
  }

  /** Puts the record just moved to back, so that the next move brings it again. */
  putBack(start: number): void {
    this.recordPosition = start
    this.recordsLeft++
    this.recordNumber--
  }

  /** Where the current record's header starts in `buffer`. */
  get recordStart(): number {
    return this.recordId - this.idBase
  }

  /** True when the last look for a frame was cut short because bytes have to be fetched first, or by damage. */
  protected isCutShort = false

  /** Enters the next frame when none is entered, so that the next move needs nothing that is not at hand. */
  prepareMove(): void {
    if (this.recordsLeft === 0) this.nextFrame()
  }

  protected override nextFrame(): boolean {
    this.isCutShort = true
    const isEntered = this.#findFrame()
    this.isCutShort = false
    return isEntered
  }

  #findFrame(): boolean {
    for (;;) {
      const segment = this.#nextSegment()
      if (segment === undefined) return false
      if (segment.isTrimmed) this.#throwTrimmed(segment)
      if (segment.isLost) {
        this.#passLost(segment)
        continue
      }
      const offset = segmentOffsetOf(this.position)
      const limit = this.#limitIn(segment)
      const result = checkFrame(segment, this.window, offset, limit, this.#aheadBytes)
      if (result === FRAME_OK) {
        this.#enter(segment, offset)
        return true
      }
      if (result === FRAME_END) return false
      // What is in the window came from the file that is given up.
      if (segment.heal()) this.window.segment = undefined
      else this.#throwDamage(segment, offset, limit)
    }
  }

  #enter(segment: Segment, offset: number): void {
    const { window } = this
    const start = offset - window.base
    const expected = this.recordNumber + 1
    const gapFrom = this.#end
    this.enterFrame(window.buffer, window.view, start, segment.position(window.base))
    this.position = segment.position(alignFrame(offset + window.view.getUint32(start + at.lengthBytes, true)))
    this.#end = this.position
    if (this.#aheadBytes < blockBytes) this.#aheadBytes *= 2
    if (this.#started && this.recordNumber + 1 > expected) this.#checkGap(segment, expected, gapFrom)
    this.#started = true
  }

  /** The segment of `position`, or the next one when it is at its end; undefined when there is none below the limit. */
  #nextSegment(): Segment | undefined {
    checkOpen(this.stream)
    const limitPosition = this.limitPosition
    const found = this.#segment ?? this.stream.catalog.atOrAbove(segmentIndexOf(this.position))
    if (found === undefined) {
      // All that was below the watermark is trimmed, or lost.
      this.#leaveEnd(limitPosition)
      return undefined
    }
    let segment: Segment = found
    this.position = Math.max(this.position, segment.position(segmentHeaderBytes))
    this.#segment = segment
    while (segmentOffsetOf(this.position) >= segment.framesEnd && segment.index < segmentIndexOf(limitPosition)) {
      const next: Segment | undefined =
        this.#only === undefined ? this.stream.catalog.atOrAbove(segment.index + 1) : undefined
      if (next === undefined || next.index > segmentIndexOf(limitPosition)) {
        if (this.#only === undefined) this.#leaveEnd(limitPosition)
        return undefined
      }
      this.#expectBehind(segment)
      segment = this.#segment = next
      this.position = segment.position(segmentHeaderBytes)
    }
    return this.position < limitPosition ? segment : undefined
  }

  /** Behind damage nothing is known of the record before, but its segment says with which number the next one begins. */
  #expectBehind(segment: Segment): void {
    const { header, sealed } = segment
    if (this.#started || sealed === undefined) return
    this.recordNumber = header.firstRecordNumber + sealed.recordCount - 1
    this.#end = segment.position(segment.framesEnd)
    this.#started = true
  }

  /** Offset behind the last byte of `segment` that may be shown. */
  #limitIn(segment: Segment): number {
    const limitPosition = this.limitPosition
    return segmentIndexOf(limitPosition) > segment.index ? segment.framesEnd : segmentOffsetOf(limitPosition)
  }

  /** Goes on at `position`, in whatever segment is there then. */
  #leave(position: number): void {
    this.position = position
    this.#segment = undefined
    this.recordsLeft = 0
  }

  /**
   * Goes on at the limit, below which nothing is left. Who looks for a record that was lost there is told; who has read all there is has come to the
   * end, and what is appended behind it tells that records are missing.
   */
  #leaveEnd(limitPosition: number): void {
    if (this.position >= limitPosition) return
    this.#leave(limitPosition)
    const hole = this.isSkipping ? holeAt(this.stream, limitPosition) : undefined
    if (hole !== undefined) throw missingRecords(this.stream, hole)
  }

  /** The records of the segment are gone: the next move begins with the first one that is left. */
  #throwTrimmed(segment: Segment): never {
    const missing = this.#started ? this.recordNumber + 1 : segment.header.firstRecordNumber
    this.#leave(recordIdOf(segment.index + 1, 0))
    this.#started = false
    this.#passTrimmed()
    throw numberNotFound(missing, firstRecord(this.stream))
  }

  /** Goes on behind it: that numbers are missing is said by what comes next. */
  #passLost(segment: Segment): void {
    if (this.#only !== undefined) throw notFound("segment", segment.index, "no copy of it in any tier")
    this.#leave(recordIdOf(segment.index + 1, 0))
  }

  #passTrimmed(): void {
    const first = firstRecordNumber(this.stream)
    this.awaitedStart ??= () => this.recordNumber >= first
  }

  #checkGap(segment: Segment, expected: number, from: number): void {
    const id = this.idBase + this.recordPosition
    if (expected < firstRecordNumber(this.stream)) {
      this.#rewind(segment)
      this.#passTrimmed()
      throw numberNotFound(expected, firstRecord(this.stream))
    }
    this.#rewind(segment)
    throw corrupt(`stream ${this.stream.name}`, `records ${expected} to ${this.recordNumber} are missing`, from, id)
  }

  /** The frame just entered comes again, without the look for a gap. */
  #rewind(segment: Segment): void {
    const { window } = this
    this.position = segment.position(
      this.recordPosition - window.view.getUint16(this.recordPosition + 4, true) + window.base,
    )
    this.recordsLeft = 0
    this.#started = false
  }

  #throwDamage(segment: Segment, offset: number, limit: number): never {
    const from = segment.position(offset)
    this.#search = searchBehind(from, this.#search)
    const next = findNextBatch(segment, this.#search, limit)
    const to = segment.position(next) + (next < limit ? this.#headerBytes(segment, next, limit) : 0)
    this.position = segment.position(next)
    this.recordsLeft = 0
    this.#started = false
    this.#search = undefined
    throw corrupt(
      `stream ${this.stream.name}, segment ${segment.index}, offset ${offset} to ${next}`,
      "a frame does not check",
      from,
      to,
    )
  }

  #headerBytes(segment: Segment, offset: number, limit: number): number {
    return segment.fill(this.window, offset, frameHeader.sizeBytes, firstBlockBytes, limit)
      ? this.window.view.getUint16(offset - this.window.base + at.headerBytes, true)
      : 0
  }

  protected override recordLeavesFrame(): never {
    const segment = this.#segment!
    this.recordsLeft = 0
    throw corrupt(
      `stream ${this.stream.name}, segment ${segment.index}`,
      "a record leaves its frame",
      recordIdOf(segment.index, 0),
      this.position,
    )
  }
}
