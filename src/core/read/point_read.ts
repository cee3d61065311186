/**
 * One record by its id. An id is honoured only if it is a record start of a frame that checks: the record's header names the
 * distance to its frame, and a short walk from the nearest sampled start proves that a record begins there. So a stale or forged id
 * cannot make payload pass for a header.
 */
import { getSafe } from "../../format/field_table.ts"
import { frameHeader, isFrameHeader } from "../../format/frame.ts"
import { payloadLengthMask, recordHasExtId, recordHasTimestamp, recordHeaderBytes } from "../../format/record.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { assert } from "../../model/assert.ts"
import { type AofError, corrupt, invalidArgument } from "../../model/errors.ts"
import { segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import { type EnteredRecord, RecordScanner } from "../../state/record_scanner.ts"
import { type RecordStarts, sampleBytes } from "../../state/record_starts.ts"
import type { Segment } from "../stream/segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { checkFrame, FRAME_OK } from "./frame_reader.ts"
import type { RecordView } from "./record_view.ts"
import { Window } from "./window.ts"

const at = frameHeader.at

/** Where a record lies. */
export interface RecordPlace {
  readonly frameOffset: number
  readonly recordNumber: number
  readonly frameTimestampMs: number
}

/** Kept between calls: a window costs more than a read. */
const window: Window = new Window()

/** Bytes read for a record's header and, as a guess, its payload and those between it and the sampled start. */
const aheadBytes = 4096

/**
 * Finds the record `recordId` of `segment`, below `limitPosition`, a batch end. Throws `InvalidArgument` when no record starts there,
 * `Corrupt` when its frame does not check.
 */
export const locateRecord = (
  stream: StreamState,
  segment: Segment,
  recordId: number,
  limitPosition: number,
): RecordPlace => {
  const offset = segmentOffsetOf(recordId)
  const limit = segmentIndexOf(limitPosition) > segment.index ? segment.framesEnd : segmentOffsetOf(limitPosition)
  const frameOffset = frameOffsetOf(segment, offset, limit)
  const frame = frameOffset === undefined ? -1 : frameAt(stream, segment, frameOffset, limit)
  // Reading on may find that the file has gone, and then all that was known of it is forgotten.
  const { starts } = segment.verified
  const number = frame < 0 ? -1 : walkTo(segment, { starts, frame, frameOffset: frameOffset!, offset, limit })
  if (number < 0) {
    const damage = segment.residency.damage.firstIn(frameOffset ?? offset, offset + recordHeaderBytes)
    if (damage !== undefined) throw damaged(stream, segment, damage)
    throw invalidArgument("record id", recordId, "the start of a record")
  }
  return {
    frameOffset: frameOffset!,
    recordNumber: number,
    frameTimestampMs: starts.timestampMs(frame),
  }
}

/** The record itself, found like `locateRecord` and throwing like it. What is returned is good until the next call. */
export const readPoint = (
  stream: StreamState,
  segment: Segment,
  recordId: number,
  limitPosition: number,
): RecordView => {
  const { recordNumber, frameTimestampMs } = locateRecord(stream, segment, recordId, limitPosition)
  const limit = segmentIndexOf(limitPosition) > segment.index ? segment.framesEnd : segmentOffsetOf(limitPosition)
  if (point.show(segment, { recordId, recordNumber, frameTimestampMs }, limit)) return point
  const offset = segmentOffsetOf(recordId)
  throw damaged(stream, segment, segment.residency.damage.firstIn(offset, limit) ?? { from: offset, to: offset })
}

class PointReader extends RecordScanner {
  /** False when what was found a moment ago cannot be had any more. */
  show(segment: Segment, record: EnteredRecord, limit: number): boolean {
    const offset = segmentOffsetOf(record.recordId)
    const length = recordLength(window.view, offset - window.base)
    if (!segment.fill(window, offset, length, 0, limit)) return false
    this.enterRecord(window.buffer, window.view, offset - window.base, record)
    return true
  }

  /** Only a mapping stays as it is: everything else is read into again. */
  get isStable(): boolean {
    return !window.isOwned && !window.isTrusted && !window.isShared
  }

  protected override nextFrame(): boolean {
    return false
  }

  protected override recordLeavesFrame(): never {
    assert(false, "a located record lies in its frame")
  }
}

const point: PointReader = new PointReader()

const frameOffsetOf = (segment: Segment, offset: number, limit: number): number | undefined => {
  if (offset + recordHeaderBytes > limit || offset < segmentHeaderBytes) return undefined
  // From a little before, so that one read also brings the sampled start from which the record is reached.
  const isHere = segment.tail?.find(offset) !== undefined || !segment.residency.isHot
  // In another tier what is read is a whole stretch, decoded; reaching over its beginning would decode another one.
  const from = isHere ? offset : Math.max(segmentHeaderBytes, offset - sampleBytes)
  if (!segment.fill(window, from, offset - from + recordHeaderBytes, aheadBytes, limit)) return undefined
  const frameOffset = offset - window.view.getUint16(offset - window.base + 4, true)
  return frameOffset % 8 === 0 && frameOffset >= segmentHeaderBytes && frameOffset < offset ? frameOffset : undefined
}

/** The number of a frame that checks among those whose record starts are known; -1 when no frame starts there. */
const frameAt = (stream: StreamState, segment: Segment, frameOffset: number, limit: number): number => {
  const known = segment.verified.starts.find(frameOffset)
  if (known >= 0) return known
  if (!segment.fill(window, frameOffset, frameHeader.sizeBytes, 65536, limit)) return -1
  if (!isFrameHeader(window.view, frameOffset - window.base, frameOffset, limit)) return -1
  const isNamed = checkFrame(segment, window, frameOffset, limit, 65536) === FRAME_OK
  if (!isNamed && segment.heal()) {
    window.segment = undefined
    return frameAt(stream, segment, frameOffset, limit)
  }
  if (!isNamed) throw damaged(stream, segment, damageOf(segment, frameOffset, limit))
  return noteStarts(segment, window, frameOffset)
}

/** What is wrong with a frame: part of it may lie in damage that is longer. */
const damageOf = (
  segment: Segment,
  frameOffset: number,
  limit: number,
): { readonly from: number; readonly to: number } => {
  const isThere = segment.fill(window, frameOffset, frameHeader.sizeBytes, 0, limit)
  const lengthBytes = isThere ? window.view.getUint32(frameOffset - window.base + at.lengthBytes, true) : 1
  const damage = segment.residency.damage.firstIn(frameOffset, frameOffset + lengthBytes)
  return { from: frameOffset, to: damage?.to ?? frameOffset }
}

const damaged = (
  stream: StreamState,
  segment: Segment,
  { from, to }: { readonly from: number; readonly to: number },
): AofError =>
  corrupt(
    `stream ${stream.name}, segment ${segment.index}, offset ${from}`,
    "a frame does not check",
    segment.position(from),
    segment.position(Math.min(to, segment.framesEnd)),
  )

const noteStarts = ({ verified }: Segment, { view, base }: Window, frameOffset: number): number => {
  const start = frameOffset - base
  const recordCount = view.getUint32(start + at.recordCount, true)
  const lengthBytes = view.getUint32(start + at.lengthBytes, true)
  const firstRecordNumber = getSafe(view, start + at.firstRecordNumber) ?? 0
  const timestampMs = getSafe(view, start + at.timestampMs) ?? 0
  let left = recordCount
  let distance = 0
  const next = (): number | undefined => {
    distance += distance === 0 ? view.getUint16(start + at.headerBytes, true) : recordLength(view, start + distance)
    return left-- > 0 && distance < lengthBytes ? distance : undefined
  }
  return verified.addStarts({ frameOffset, lengthBytes, recordCount, firstRecordNumber, timestampMs }, next)
}

const recordLength = (view: DataView, start: number): number => {
  const head = view.getUint32(start, true)
  const extras = ((head & recordHasExtId) !== 0 ? 8 : 0) + ((head & recordHasTimestamp) !== 0 ? 8 : 0)
  return recordHeaderBytes + extras + (head & payloadLengthMask)
}

interface Walk {
  readonly starts: RecordStarts
  readonly frame: number
  readonly frameOffset: number
  readonly offset: number
  readonly limit: number
}

/** Walks from the nearest known start to `offset`; the record's number, or -1 when none starts there. */
const walkTo = (segment: Segment, { starts, frame, frameOffset, offset, limit }: Walk): number => {
  const target = offset - frameOffset
  const nearest = starts.nearest(frame, target)
  if (nearest < 0) return -1
  let distance = starts.distance(frame, nearest)
  let number = starts.recordNumber(frame, nearest)
  const from = frameOffset + distance
  if (!segment.fill(window, from, offset - from + recordHeaderBytes, offset - from + aheadBytes, limit)) return -1
  const base = frameOffset - window.base
  while (distance < target) {
    distance += recordLength(window.view, base + distance)
    number++
  }
  return distance === target ? number : -1
}
