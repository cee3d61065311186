/**
 * Records that a stream is known to have had and no tier has: a segment that was lost before it reached the bucket, or whose copies are gone. One
 * that was never told to be sealed is not among them.
 */
import { type AofError, corrupt, notFound } from "../../model/errors.ts"
import { recordIdOf, segmentIndexOf } from "../../model/record_id.ts"
import type { Segment } from "../stream/segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { trimPointOf } from "../stream/trim_point.ts"
import { firstRecordId } from "./first_record.ts"

/** Records that are missing between two places. */
export interface Hole {
  /** Number of the first record that is missing. */
  readonly firstNumber: number
  /** Number of the record behind the last one that is. */
  readonly nextNumber: number
  readonly from: number
  /** A read goes on there: `isHoleEnd` is true of it. */
  readonly to: number
}

/** What is missing around a position that lies in no segment, also at the end of the stream, where no later record tells of it; else undefined. */
export const holeAt = (stream: StreamState, position: number): Hole | undefined => {
  const { catalog, written } = stream
  const index = segmentIndexOf(position)
  const behind = catalog.atOrAbove(index)
  if (behind?.index === index) return undefined
  const before = catalog.below(index)
  const trimPoint = trimPointOf(stream)
  const count = before === undefined ? 0 : before.sealed?.recordCount
  // It is not complete, and what comes behind it tells of what is missing.
  if (count === undefined) return undefined
  const firstNumber = Math.max(trimPoint?.recordNumber ?? 0, (before?.header.firstRecordNumber ?? 0) + count)
  const nextNumber = behind?.header.firstRecordNumber ?? written.mark.nextRecordNumber
  if (nextNumber <= firstNumber) return undefined
  const from = before === undefined ? (trimPoint?.recordId ?? 0) : before.position(before.framesEnd)
  return { firstNumber, nextNumber, from, to: endBelow(stream, behind) ?? from }
}

/** True at the end of a hole: reading on there begins with what comes behind it. */
export const isHoleEnd = (stream: StreamState, position: number): boolean => holeAt(stream, position)?.to === position

/** Where the last segment below `behind` ended, there or not, or the stream when nothing is behind. */
const endBelow = ({ services, streamId, written }: StreamState, behind: Segment | undefined): number | undefined => {
  if (behind === undefined) return written.position
  let end: number | undefined
  for (const { segmentIndex, durableBytes } of services.manifest.state.streams.get(streamId)?.sealed.values() ?? []) {
    if (segmentIndex < behind.index) end = Math.max(end ?? 0, recordIdOf(segmentIndex, durableBytes))
  }
  return end
}

/** The error for records that are missing. */
export const missingRecords = ({ name }: StreamState, { firstNumber, nextNumber, from, to }: Hole): AofError =>
  corrupt(`stream ${name}`, `records ${firstNumber} to ${nextNumber - 1} are missing`, from, to)

/** The error for a record whose segment is not there, though it was not trimmed. */
export const missingRecord = (stream: StreamState, recordId: number): AofError => {
  const hole = holeAt(stream, recordId)
  return hole === undefined ? notFound("record", recordId, firstRecordId(stream)) : missingRecords(stream, hole)
}
