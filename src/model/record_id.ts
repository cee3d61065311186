/**
 * A record id is `segment index * 2^28 + offset in the segment`: a safe integer, compared with `<`. The same space serves
 * as positions: a watermark is the position at which the next frame starts.
 */

/** Ids within one segment; also the largest file length of a segment, 256 MiB. */
export const segmentSpan: number = 2 ** 28
/** Segment indexes are below this, so that ids stay safe integers. */
export const segmentIndexLimit: number = 2 ** 25

/** The id of the record at `offset` of segment `index`. */
export const recordIdOf = (index: number, offset: number): number => index * segmentSpan + offset
/** The segment index in an id. */
export const segmentIndexOf = (recordId: number): number => Math.floor(recordId / segmentSpan)
/** The segment offset in an id. */
export const segmentOffsetOf = (recordId: number): number => recordId % segmentSpan
/** True when `value` can be an id at all: the first segment of a stream has the index 1. */
export const isRecordId = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= segmentSpan && (value as number) < segmentIndexLimit * segmentSpan
