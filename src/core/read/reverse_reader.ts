/** Walks a stream backwards: the frames of one index stretch at a time, the records of a frame from its last one. */
import { alignFrame, frameHeader, isFrameHeader } from "../../format/frame.ts"
import { recordIsControl } from "../../format/record.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { assert } from "../../model/assert.ts"
import { corrupt } from "../../model/errors.ts"
import { isRecordId, segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import { RecordScanner } from "../../state/record_scanner.ts"
import type { IndexKey } from "../../state/segment_index.ts"
import type { Segment } from "../stream/segment.ts"
import { checkOpen, type StreamState } from "../stream/stream_state.ts"
import { firstRecordNumber } from "./first_record.ts"
import { type BatchSearch, blockBytes, checkFrame, FRAME_OK, findNextBatch, searchBehind } from "./frame_reader.ts"
import { holeAt, missingRecords } from "./hole.ts"
import type { Reader, ReadLevel } from "./reader.ts"
import { isSegmentEnd, type ReadPlan, searchSegment, seekStart } from "./start.ts"
import { Window } from "./window.ts"

const at = frameHeader.at

/** Where a backward read begins: records below `upper`, at most `limit` of them. `reader` looks for it; asked again it goes on. */
export const reverseFrom = (reader: Reader, plan: ReadPlan): { readonly upper: number; readonly limit: number } => {
  const { by, value } = plan.start
  const { stream } = reader
  const end = plan.level === "durable" ? stream.durable.position : stream.written.position
  if (by === "from" && value === "end") return { upper: end, limit: plan.limit }
  if (by === "last") return { upper: end, limit: Math.min(plan.limit, value as number) }
  const isId = (by === "from" || by === "after") && isRecordId(value)
  if (isId && isSegmentEnd(stream, value)) return { upper: value, limit: plan.limit }
  // An exclusive start is exclusive in the direction of reading: the search is for the record itself.
  seekStart(reader, by === "after" ? { ...plan, start: { by: "from", value } } : plan)
  if (reader.awaitedStart !== undefined || !reader.move()) {
    // Past the end there is nothing to go back from; what is appended and not shown yet is not past it.
    const { lastRecordId, nextRecordNumber } = stream.writer
    const isThere = isId ? value <= lastRecordId : by === "number" && (value as number) < nextRecordNumber
    return { upper: isThere ? end : 0, limit: plan.limit }
  }
  return { upper: by === "after" ? reader.recordId : reader.recordId + 1, limit: plan.limit }
}

const byOffset = (value: number): IndexKey => ({ by: "offset", value })

/** Frames below a position, up to an offset. */
interface CollectedFrames {
  readonly upper: number
  readonly frames: Array<number>
  offset: number
}

export abstract class ReverseReader extends RecordScanner {
  readonly stream: StreamState
  readonly level: ReadLevel
  readonly window: Window = new Window()
  /** Records at or above this position are not shown any more; set by `startBelow`. */
  #upper = 0
  #segment: Segment | undefined = undefined
  /** Offsets of frames below `#upper`, the next one to be read last. */
  #frames: Array<number> = []
  /** Places in `buffer` of records not shown yet, the next one last. */
  #starts: Array<number> = []
  #firstNumber = 0
  /** What `#previousStretch` has collected, as long as it waits for bytes of another tier. */
  #stretch: CollectedFrames | undefined = undefined
  /** Ends of damage in the stretch, as offsets, by the position where it begins; and the look for one. */
  readonly #gaps: Map<number, number> = new Map()
  #search: BatchSearch | undefined = undefined
  /** Number of the first record of the frame entered before; undefined when nothing can be told from it. */
  #lowest: number | undefined = undefined

  constructor(stream: StreamState, level: ReadLevel) {
    super()
    this.stream = stream
    this.level = level
  }

  /** Begins with the last record below a position. */
  protected startBelow(position: number): void {
    this.#upper = position
    const hole = position === 0 ? undefined : holeAt(this.stream, position)
    // The first look for a frame says that records are missing above it, where there is one.
    if (hole !== undefined && this.stream.catalog.first === undefined) throw missingRecords(this.stream, hole)
    this.#lowest = hole?.nextNumber
  }

  /** Enters the frame of the record before, so that the next move needs nothing that is not at hand. */
  protected prepareMoveBack(): void {
    while (this.#starts.length === 0) if (!this.#previousFrame()) return
  }

  /** Moves to the record before; false when there is none. */
  moveBack(): boolean {
    const firstLeft = firstRecordNumber(this.stream)
    for (;;) {
      while (this.#starts.length === 0) if (!this.#previousFrame()) return false
      const start = this.#starts.pop()!
      const number = this.#firstNumber + this.#starts.length
      if (number < firstLeft) return false
      const isControl = (this.parse(start) & recordIsControl) !== 0
      this.recordNumber = number
      this.#upper = this.recordId
      if (!isControl) return true
    }
  }

  #previousFrame(): boolean {
    checkOpen(this.stream)
    // What was trimmed on the way is where the stream begins now.
    if (this.#segment?.isTrimmed) return false
    if (this.#segment?.isLost) {
      this.#frames = []
      this.#upper = Math.min(this.#upper, this.#segment.position(0))
    }
    while (this.#frames.length === 0) if (!this.#previousStretch()) return false
    const segment = this.#segment!
    const offset = this.#frames.at(-1)!
    const limit = this.#limitIn(segment)
    // A frame that has to be fetched first is asked for again.
    const result = checkFrame(segment, this.window, offset, limit, blockBytes)
    if (result !== FRAME_OK && segment.heal()) {
      this.window.segment = undefined
      return this.#previousFrame()
    }
    if (result !== FRAME_OK) {
      this.#throwDamage(segment, offset, limit)
    }
    this.#frames.pop()
    if (this.#gaps.delete(segment.position(offset))) {
      // What did not check does by now: the frames behind it are looked for as well.
      this.#frames = []
      return true
    }
    const start = offset - this.window.base
    this.enterFrame(this.window.buffer, this.window.view, start, segment.position(this.window.base))
    this.#checkGap(segment, offset)
    this.#firstNumber = this.recordNumber + 1
    this.#lowest = this.#firstNumber
    while (this.recordsLeft > 0) {
      const from = this.recordPosition
      this.parse(from)
      this.recordPosition = this.payloadEnd
      this.recordsLeft--
      if (this.recordId >= this.#upper) break
      this.#starts.push(from)
    }
    this.recordsLeft = 0
    this.#upper = Math.min(this.#upper, segment.position(offset))
    return true
  }

  #throwDamage(segment: Segment, offset: number, limit: number): never {
    const next = this.#gapAt(segment, offset, limit)
    const isFrame = next < limit && segment.fill(this.window, next, frameHeader.sizeBytes, blockBytes, limit)
    const headerBytes = isFrame ? this.window.view.getUint16(next - this.window.base + at.headerBytes, true) : 0
    this.#frames.pop()
    this.#upper = segment.position(offset)
    this.#lowest = undefined
    const where = `stream ${this.stream.name}, segment ${segment.index}, offset ${offset} to ${next}`
    throw corrupt(where, "a frame does not check", segment.position(offset), segment.position(next) + headerBytes)
  }

  /** Where the damage ends that begins at `offset`. */
  #gapAt(segment: Segment, offset: number, limit: number): number {
    const from = segment.position(offset)
    const known = this.#gaps.get(from)
    if (known !== undefined) return known
    this.#search = searchBehind(from, this.#search)
    const next = findNextBatch(segment, this.#search, limit)
    this.#gaps.set(from, next)
    return next
  }

  /** Throws once when records between the frame just entered, at `offset`, and the one behind it are nowhere. */
  #checkGap(segment: Segment, offset: number): void {
    const end = this.recordNumber + 1 + this.recordsLeft
    const expected = this.#lowest
    if (expected === undefined || end >= expected || end < firstRecordNumber(this.stream)) return
    this.#lowest = undefined
    this.#frames.push(offset)
    this.recordsLeft = 0
    const hole = { firstNumber: end, nextNumber: expected, from: segment.position(offset), to: this.#upper }
    throw missingRecords(this.stream, hole)
  }

  /** The same between two segments, of which the lower one knows how many records it has: damage at its end must not hide more. */
  #checkCrossing(expected: number, { header, sealed }: Segment, to: number): void {
    this.#lowest = expected
    if (sealed === undefined) return
    const end = header.firstRecordNumber + sealed.recordCount
    this.#lowest = end
    if (end >= expected || end < firstRecordNumber(this.stream)) return
    throw missingRecords(this.stream, { firstNumber: end, nextNumber: expected, from: this.#upper, to })
  }

  /** Collects the frames between the indexed one before `#upper` and `#upper`. */
  #previousStretch(): boolean {
    const { catalog } = this.stream
    let segment = catalog.get(segmentIndexOf(this.#upper)) ?? catalog.below(segmentIndexOf(this.#upper))
    if (segment === undefined) return false
    let end = segment.index === segmentIndexOf(this.#upper) ? segmentOffsetOf(this.#upper) : segment.framesEnd
    if (end <= segmentHeaderBytes) {
      segment = catalog.below(segment.index)
      if (segment === undefined) return false
      end = segment.framesEnd
    }
    const above = this.#segment
    const upper = above?.position(0) ?? this.#upper
    this.#segment = segment
    this.#upper = segment.position(end)
    const expected = this.#lowest ?? above?.header.firstRecordNumber
    if (expected !== undefined && above !== segment) this.#checkCrossing(expected, segment, upper)
    const limit = this.#limitIn(segment)
    if (this.#stretch?.upper !== this.#upper) {
      this.#stretch = { upper: this.#upper, offset: searchSegment(this.stream, segment, byOffset(end - 1)), frames: [] }
      this.#gaps.clear()
    }
    const stretch = this.#stretch
    while (stretch.offset < end) {
      const { offset } = stretch
      const isThere = segment.fill(this.window, offset, frameHeader.sizeBytes, blockBytes, limit)
      const start = offset - this.window.base
      stretch.offset =
        isThere && isFrameHeader(this.window.view, start, offset, limit)
          ? alignFrame(offset + this.window.view.getUint32(start + at.lengthBytes, true))
          : this.#gapAt(segment, offset, limit)
      stretch.frames.push(offset)
    }
    this.#frames = stretch.frames
    this.#stretch = undefined
    return true
  }

  #limitIn(segment: Segment): number {
    const limit = this.level === "durable" ? this.stream.durable.position : this.stream.written.position
    return segmentIndexOf(limit) > segment.index ? segment.framesEnd : segmentOffsetOf(limit)
  }

  protected override nextFrame(): boolean {
    return false
  }

  protected override recordLeavesFrame(): never {
    assert(false, "a checked frame holds its records")
  }
}
