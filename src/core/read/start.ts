/** Where a read starts: by place, id, number, time, extId or from the end. Exactly one of them. */
import { alignFrame } from "../../format/frame.ts"
import type { SegmentFooter } from "../../format/segment_footer.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { checkNames } from "../../model/config_check.ts"
import { invalidArgument, notFound, numberNotFound } from "../../model/errors.ts"
import { isRecordId, segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import { decodedIndex, type IndexKey, type SegmentIndex, searchIndex } from "../../state/segment_index.ts"
import { caught } from "../flow/attempt.ts"
import { readFooter } from "../recovery/found_footer.ts"
import type { Segment } from "../stream/segment.ts"
import { appendedMark, checkOpen, type StreamState } from "../stream/stream_state.ts"
import { trimPointOf } from "../stream/trim_point.ts"
import { firstRecord, firstRecordId, firstRecordNumber } from "./first_record.ts"
import { holeAt, isHoleEnd, missingRecord, missingRecords } from "./hole.ts"
import { IndexWalk } from "./index_walk.ts"
import { locateRecord } from "./point_read.ts"
import type { Reader, ReadLevel } from "./reader.ts"

/** Where a read starts, and how it goes. Give exactly one start; without one it is `from: "start"`, backwards `from: "end"`. */
export interface ReadOptions {
  /** The first record, behind the last one, or a record id (inclusive). */
  readonly from?: "start" | "end" | number | undefined
  /** The record behind this id. */
  readonly after?: number | undefined
  /** A record number. */
  readonly number?: number | undefined
  /** The first record whose timestamp is at least this, as Unix milliseconds or a `Date`. */
  readonly time?: number | Date | undefined
  /** The first record whose extId is at least this. */
  readonly extId?: number | bigint | undefined
  /** The last so many records. */
  readonly last?: number | undefined
  /** Goes backwards from the start; default false. */
  readonly reverse?: boolean | undefined
  /** Ends after so many records. */
  readonly limit?: number | undefined
  /** How far the reader sees; default `durable`. */
  readonly level?: ReadLevel | undefined
  /** Ends the read or wait. */
  readonly signal?: AbortSignal | undefined
}

const startNames = ["from", "after", "number", "time", "extId", "last"] as const
const quietNames: ReadonlyArray<string> = [...startNames, "reverse", "limit", "level"]
const optionNames: ReadonlyArray<string> = [...quietNames, "signal"]

/** Checked options. */
export interface ReadPlan {
  readonly start: { readonly by: (typeof startNames)[number]; readonly value: unknown }
  readonly isReverse: boolean
  readonly limit: number
  readonly level: ReadLevel
}

/** The plan of a read that no signal ends, and which takes none. Throws `InvalidArgument`. */
export const planQuiet = (options: Omit<ReadOptions, "signal">): ReadPlan => {
  checkNames("read option", options, quietNames)
  return planRead(options)
}

/** Checks options; throws `InvalidArgument`. */
export const planRead = (options: ReadOptions): ReadPlan => {
  checkNames("read option", options, optionNames)
  const given = startNames.filter((name) => options[name] !== undefined)
  if (given.length > 1) throw invalidArgument("start of a read", given.join(" and "), "exactly one of them")
  // Backwards from the start there is one record: without a start such a read begins at the end.
  const by = given[0] ?? "from"
  const { reverse = false, limit = Number.POSITIVE_INFINITY, level = "durable" } = options
  if (typeof reverse !== "boolean") throw invalidArgument("reverse", reverse, "true or false")
  if (options.limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw invalidArgument("limit", limit, "an integer of at least 1")
  }
  if (level !== "durable" && level !== "written") throw invalidArgument("level", level, "durable or written")
  const value = checkStart(by, given.length > 0 ? options[by] : reverse ? "end" : "start")
  return { start: { by, value }, isReverse: reverse, limit, level }
}

const checkStart = (by: (typeof startNames)[number], value: unknown): unknown => {
  switch (by) {
    case "from":
      if (value === "start" || value === "end" || isRecordId(value)) return value
      throw invalidArgument("from", value, "start, end or a record id")
    case "after":
      if (isRecordId(value)) return value
      throw invalidArgument("after", value, "a record id")
    case "number":
    case "last":
      if (Number.isSafeInteger(value) && (value as number) >= (by === "last" ? 1 : 0)) return value
      throw invalidArgument(by, value, `an integer of at least ${by === "last" ? 1 : 0}`)
    case "time": {
      const timeMs = value instanceof Date ? value.getTime() : value
      if (typeof timeMs === "number" && !Number.isNaN(timeMs)) return timeMs
      throw invalidArgument("time", value, "Unix milliseconds or a Date")
    }
    case "extId":
      if (typeof value === "bigint" && value >= 0n && value < 2n ** 64n) return value
      if (Number.isSafeInteger(value) && (value as number) >= 0) return BigInt(value as number)
      throw invalidArgument("extId", value, "a safe integer or a bigint from 0 to 2^64 - 1")
  }
}

/**
 * Puts `reader` before the record at which `plan` starts. Throws `NotFound` with the first id that is left when that was trimmed,
 * `InvalidArgument` when an id is no record start. A start past the end is the end.
 */
export const seekStart = (reader: Reader, plan: ReadPlan): void => {
  const { stream } = reader
  checkOpen(stream)
  const { by, value } = plan.start
  switch (by) {
    case "from":
      if (value === "end") return seekEnd(reader)
      if (value === "start") return seekFirst(reader)
      return seekId(reader, value as number, false)
    case "after":
      return seekId(reader, value as number, true)
    case "number":
      return seekNumber(reader, value as number)
    case "last": {
      const mark = reader.level === "durable" ? stream.durable.mark : stream.written.mark
      return seekNumber(reader, Math.max(firstRecordNumber(stream), mark.nextRecordNumber - (value as number)))
    }
    case "time":
      return seekAbove(reader, { by, value: value as number }, () => reader.timestampMs >= (value as number))
    case "extId":
      return seekAbove(reader, { by, value: value as bigint }, () => reader.extId >= (value as bigint))
  }
}

const seekEnd = (reader: Reader): void => {
  reader.position = reader.limitPosition
  const segment = reader.stream.catalog.get(segmentIndexOf(reader.position))
  if (segment !== undefined) reader.seekFrame(segment, segmentOffsetOf(reader.position))
}

/** Puts `reader` before the first record that is left. */
export const seekFirst = (reader: Reader): void => {
  const { catalog } = reader.stream
  const trimPoint = trimPointOf(reader.stream)
  const first = catalog.first
  if (first === undefined) return
  if (trimPoint !== undefined && trimPoint.recordNumber > first.header.firstRecordNumber) {
    return seekNumber(reader, trimPoint.recordNumber)
  }
  reader.seekFrame(first, segmentHeaderBytes)
}

const seekId = (reader: Reader, recordId: number, isAfter: boolean): void => {
  const { stream } = reader
  const written = stream.written.position
  const isThere = isAfter ? () => reader.recordId > recordId : () => reader.recordId >= recordId
  if (recordId > stream.writer.lastRecordId) return seekLater(reader, isThere)
  checkNotTrimmed(stream, recordId)
  const segment = stream.catalog.get(segmentIndexOf(recordId))
  if (segment === undefined) {
    if (!isHoleEnd(stream, recordId)) throw missingRecord(stream, recordId)
    reader.position = recordId
    return
  }
  if (isSegmentEnd(stream, recordId)) return reader.seekFrame(segment, segment.framesEnd)
  // The frame that is still open has no header to be found by.
  if (recordId >= written) stream.active?.writer?.closeFrame()
  // Where damage ends, as an error has told, there may be no record, but reading goes on.
  const isBehindDamage = segment.residency.damage.endsAt(segmentOffsetOf(recordId))
  if (isBehindDamage) return reader.seekFrame(segment, alignFrame(segmentOffsetOf(recordId)))
  const place = locateRecord(stream, segment, recordId, Math.max(written, appendedMark(stream).position))
  if (recordId >= reader.limitPosition) return seekLater(reader, isThere)
  reader.seekFrame(segment, place.frameOffset)
  skipUntil(reader, () => reader.recordId >= recordId)
  if (isAfter) reader.move()
}

/** True where a segment ends and the stream goes on behind it: that is what an error names as the beginning or the end of damage. */
export const isSegmentEnd = ({ catalog, written }: StreamState, recordId: number): boolean => {
  const segment = catalog.get(segmentIndexOf(recordId))
  if (segmentOffsetOf(recordId) !== segment?.framesEnd) return false
  return catalog.atOrAbove(segment.index + 1) !== undefined || segmentIndexOf(written.position) > segment.index
}

/** Puts `reader` at the end, to begin with the first record of which `isThere` is true. */
const seekLater = (reader: Reader, isThere: () => boolean): void => {
  seekEnd(reader)
  reader.awaitedStart = isThere
}

/** Throws `NotFound` with the first id that is left when the record was trimmed, `InvalidArgument` when there never was one so low. */
export const checkNotTrimmed = (stream: StreamState, recordId: number): void => {
  const trimPoint = trimPointOf(stream)
  const isTrimmed = trimPoint !== undefined && recordId < trimPoint.recordId
  const first = stream.catalog.first
  if (!isTrimmed && (first === undefined || first.index <= segmentIndexOf(recordId))) return
  if (firstRecordNumber(stream) === 0) throw invalidArgument("record id", recordId, "the start of a record")
  throw notFound("record", recordId, firstRecordId(stream))
}

const seekNumber = (reader: Reader, number: number): void => {
  const { stream } = reader
  const first = firstRecordNumber(stream)
  if (number < first) throw numberNotFound(number, firstRecord(stream))
  const isThere = (): boolean => reader.recordNumber >= number
  if (number >= stream.written.mark.nextRecordNumber) return seekLater(reader, isThere)
  const segment = stream.catalog.search({ by: "number", value: number })
  if (segment === undefined) return seekLost(reader, isThere)
  seekBefore(reader, segment, { by: "number", value: number })
  skipUntil(reader, isThere)
}

/** A place that is not known to have a record. */
type KeyAbove = Extract<IndexKey, { readonly by: "time" | "extId" }>

const seekAbove = (reader: Reader, key: KeyAbove, isThere: () => boolean): void => {
  const { stream } = reader
  const segment = stream.catalog.search(key)
  if (isAboveLost(stream, key)) return seekLater(reader, isThere)
  if (segment === undefined) return seekLost(reader, isThere)
  seekBefore(reader, segment, key)
  const first = firstRecordNumber(stream)
  skipUntil(reader, () => isThere() && reader.recordNumber >= first)
}

/** Puts `reader` somewhere before `key`, unless it is on its way from there: without an index that is a long one. */
const seekBefore = (reader: Reader, segment: Segment, key: IndexKey): void => {
  if (!reader.isSkipping) reader.seekFrame(segment, searchSegment(reader.stream, segment, key))
  reader.isSkipping = true
}

/** No segment is there to be searched: throws when one should be. */
const seekLost = (reader: Reader, isThere: () => boolean): void => {
  const hole = holeAt(reader.stream, reader.stream.written.position)
  if (hole !== undefined) throw missingRecords(reader.stream, hole)
  seekLater(reader, isThere)
}

/** True when what was lost at the end of the stream does not hide the place: it lies behind. */
const isAboveLost = (stream: StreamState, { by, value }: KeyAbove): boolean => {
  const { mark, position } = stream.written
  return value > (by === "time" ? mark.timestampMsMax : mark.extIdMax) && holeAt(stream, position) !== undefined
}

/** Moves until `isThere`, and puts that record back; at the watermark it stays and awaits it. */
const skipUntil = (reader: Reader, isThere: () => boolean): void => {
  while (reader.move()) {
    if (!isThere()) continue
    reader.isSkipping = false
    return reader.putBack(reader.recordStart)
  }
  reader.isSkipping = false
  reader.awaitedStart = isThere
}

/** The offset of a frame at or before the place of `key` in `segment`, from which a walk finds it. */
export const searchSegment = (stream: StreamState, segment: Segment, key: IndexKey): number => {
  const parts = indexParts(stream, segment)
  let offset = segmentHeaderBytes
  for (const part of parts) offset = searchIndex(part, key, offset)
  return offset
}

/** The index of a segment in one or two parts, the earlier one first. */
const indexParts = (stream: StreamState, segment: Segment): ReadonlyArray<SegmentIndex> => {
  const writing = [...stream.sealing, stream.active].find((one) => one?.segment === segment)
  if (writing !== undefined) return [headIndex(segment, writing.indexFrom), writing.index]
  if (segment.state === "sealed" && segment.sealed !== undefined) {
    const footer = readFooter(segment, segment.sealed.fileBytes)
    // Without a footer that checks the records still do: the walk starts at the first one.
    return footer === undefined ? [] : intactIndex(segment, footer)
  }
  return [headIndex(segment, segment.framesEnd)]
}

const intactIndex = (segment: Segment, footer: SegmentFooter): ReadonlyArray<SegmentIndex> => {
  const index: Array<SegmentIndex> = []
  const error = caught(() => index.push(segment.sealedIndex(footer)))
  if (error !== undefined && error._tag !== "Corrupt") throw error
  return index
}

const noIndex: SegmentIndex = decodedIndex(new Uint8Array(0))

/** The index of the frames before `end`, walked once and kept while the end stays. */
const headIndex = (segment: Segment, end: number): SegmentIndex => {
  if (end <= segmentHeaderBytes) return noIndex
  const kept = segment.walkedIndex
  if (kept !== undefined && kept.end === end) return kept.index
  const walk = new IndexWalk(segment, segmentHeaderBytes, end)
  walk.advance(end)
  segment.walkedIndex = { end, index: walk.index }
  return walk.index
}
