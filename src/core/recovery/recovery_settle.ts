/**
 * Decides where the log of a stream ends, from all its segments in order. A frame that does not check below the highest watermark
 * found anywhere is damage: it is reported and what follows is kept. At or above it the log ends, and the rest is put aside. What
 * is kept is made durable before anybody is answered.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { segmentOffsetOf } from "../../model/record_id.ts"
import { IndexBuilder } from "../../state/index_builder.ts"
import { StagingTail } from "../../state/staging_tail.ts"
import { type Mark, startMark } from "../../state/watermark.ts"
import { startWriting } from "../append/rollover.ts"
import { startSealing } from "../append/sealer.ts"
import { unfinishedSegmentsMax } from "../append/segment_limits.ts"
import { writeAgain } from "../append/write_again.ts"
import { WritingSegment } from "../append/writing_segment.ts"
import { segmentPath } from "../files/paths.ts"
import { quarantineMove } from "../files/quarantine.ts"
import { attempt } from "../flow/attempt.ts"
import type { Segment } from "../stream/segment.ts"
import { syncFolder } from "../stream/stream_folder.ts"
import { noteDurable, type StreamState } from "../stream/stream_state.ts"
import type { RecoveryReport } from "./recovery_report.ts"
import { type BadSpot, headMark, markAt, type SegmentScan } from "./recovery_scan.ts"

/** What is known of a segment that has an end. */
export interface SealedEnd {
  readonly durableBytes: number
  readonly recordCount: number
  readonly lastRecordId: number
  readonly lastTimestampMs: number
  readonly timestampMsMax: number
  readonly extIdMax: bigint
  readonly coordinatorWatermark: bigint
  readonly baseOffset: number
}

/** A segment as it was found: sealed, scanned, or both for one whose footer is known to nobody yet. */
export interface Part {
  readonly index: number
  readonly firstRecordNumber: number
  readonly baseOffset: number
  readonly sealed: SealedEnd | undefined
  readonly scan: SegmentScan | undefined
}

/** What was found of a stream. */
export interface FoundParts {
  readonly parts: ReadonlyArray<Part>
  /** The last segment that was begun: ids in it were given, also where nothing is left of it. */
  readonly lastBegun: number
}

const positionOf = (index: number, offset: number): number => index * 2 ** 28 + offset

/** Decides where the log ends, keeps what lies before and makes it durable, and puts the rest aside. */
export const settle: (stream: StreamState, found: FoundParts, report: RecoveryReport) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (stream, { parts, lastBegun }, report) {
    const watermark = watermarkOf(parts)
    let mark: Mark = startMark
    let isCut = false
    for (const [at, part] of parts.entries()) {
      if (part.sealed !== undefined) {
        mark = sealedMark(part.index, part.firstRecordNumber, part.sealed, mark)
        stream.nextBaseOffset = part.baseOffset + part.sealed.durableBytes - segmentHeaderBytes
        stream.coordinator.restore(part.sealed.coordinatorWatermark, true)
        if (part.scan !== undefined) yield* keepSealed(stream, part.scan, mark, report)
        continue
      }
      const scan = part.scan!
      const start = positionOf(part.index, segmentHeaderBytes)
      const isGap = isBehindGap(stream, part, mark)
      if (isCut || (isGap && watermark < start)) {
        isCut = true
        yield* dropSegment(stream, scan, report)
        continue
      }
      if (isGap) {
        const reason = "durable records before this segment are missing"
        report.add(stream.name, { from: mark.position, to: start, bytes: 0, reason })
      }
      const expectedEnd = expectedEndOf(part, parts[at + 1])
      const last = keptUntil(stream, scan, { watermark, expectedEnd }, report)
      isCut = expectedEnd !== undefined && last.spot.offset !== expectedEnd && !last.isDamage
      mark = lastMark(scan, last.spot, mark)
      scan.segment.framesEnd = segmentOffsetOf(mark.position)
      stream.nextBaseOffset = part.baseOffset + scan.segment.framesEnd - segmentHeaderBytes
      if (scan.slot !== undefined) stream.coordinator.restore(scan.slot.coordinatorWatermark, true)
      yield* keep(
        stream,
        scan,
        {
          mark,
          isLast: at === parts.length - 1 && lastBegun <= part.index,
          isComplete: last.spot.offset === expectedEnd,
        },
        report,
      )
    }
    // It may read, and what a disk answers then is no mistake of this program.
    yield* attempt(() => finish(stream, parts, { mark, watermark, isCut }))
  })

const finish = (
  stream: StreamState,
  parts: ReadonlyArray<Part>,
  { mark, watermark, isCut }: { readonly mark: Mark; readonly watermark: number; readonly isCut: boolean },
): void => {
  const hasScans = parts.some((part) => part.scan !== undefined)
  const isReadOnly = stream.services.config.readOnly
  stream.durable.advance(isReadOnly && hasScans ? durableAt(parts, mark, watermark) : mark)
  if (isReadOnly) noteDurable(stream)
  stream.written.advance(mark)
  Object.assign(stream.writer, stateOf(mark))
  // Files of the next indexes may have been lost with their directory entries, but ids in them were given to callers.
  if (isCut || stream.sealing.length > 0) stream.nextIndex += unfinishedSegmentsMax + 1
  if (stream.sealing.length > 0) startSealing(stream)
}

/** Everything below is durable. */
const watermarkOf = (parts: ReadonlyArray<Part>): number =>
  parts.reduce(
    (most, { index, sealed, scan }) =>
      Math.max(most, sealed === undefined ? scan!.watermark : positionOf(index, sealed.durableBytes)),
    0,
  )

const stateOf = ({
  nextRecordNumber,
  lastRecordId,
  lastTimestampMs,
  timestampMsMax,
  extIdMax,
}: Mark): Omit<Mark, "position"> => ({
  nextRecordNumber,
  lastRecordId,
  lastTimestampMs,
  timestampMsMax,
  extIdMax,
})

const sealedMark = (index: number, firstRecordNumber: number, sealed: SealedEnd, before: Mark): Mark => ({
  position: positionOf(index, sealed.durableBytes),
  nextRecordNumber: firstRecordNumber + sealed.recordCount,
  lastRecordId: sealed.recordCount > 0 ? sealed.lastRecordId : before.lastRecordId,
  lastTimestampMs: sealed.recordCount > 0 ? sealed.lastTimestampMs : before.lastTimestampMs,
  timestampMsMax: sealed.timestampMsMax,
  extIdMax: sealed.extIdMax,
})

/** True when records between `before` and the segment are neither here nor trimmed. */
const isBehindGap = (stream: StreamState, part: Part, before: Mark): boolean => {
  const trimmedTo = stream.trimPoint?.recordNumber ?? 0
  if (before === startMark) return part.firstRecordNumber > trimmedTo
  // A segment that was trimmed before its seal was recorded is in no list; what it held is not missing.
  const isTrimmed = part.firstRecordNumber > before.nextRecordNumber && part.firstRecordNumber <= trimmedTo
  return part.firstRecordNumber !== before.nextRecordNumber && !isTrimmed
}

/** Where the frames of a segment ended when the next one was begun: its header tells. */
const expectedEndOf = (part: Part, next: Part | undefined): number | undefined => {
  if (next === undefined) return undefined
  const end = next.baseOffset - part.baseOffset + segmentHeaderBytes
  return end >= segmentHeaderBytes && end < 2 ** 28 ? end : undefined
}

interface Bounds {
  readonly watermark: number
  readonly expectedEnd: number | undefined
}

/** Reports damage below the watermark and returns the spot at which the segment ends. */
const keptUntil = (
  stream: StreamState,
  scan: SegmentScan,
  { watermark, expectedEnd }: Bounds,
  report: RecoveryReport,
): { readonly spot: BadSpot; readonly isDamage: boolean } => {
  const { segment, badSpots } = scan
  for (const spot of badSpots) {
    const from = segment.position(spot.offset)
    // Behind the frames lie zeros, or what is left of an index and footer that were not finished.
    if (spot.offset === expectedEnd || from >= watermark) return { spot, isDamage: false }
    const resumesAt = spot.resumesAt === undefined ? Number.POSITIVE_INFINITY : segment.position(spot.resumesAt)
    const end = Math.min(watermark, segment.position(expectedEnd ?? 2 ** 28 - 1))
    const to = Math.min(resumesAt, end)
    report.add(stream.name, { from, to, bytes: to - from, reason: "durable frames do not check" })
    if (resumesAt > end) return { spot, isDamage: true }
  }
  return { spot: badSpots.at(-1)!, isDamage: false }
}

/** The state of the stream behind what is kept of a segment. */
const lastMark = ({ segment }: SegmentScan, spot: BadSpot, before: Mark): Mark =>
  spot.mark.nextRecordNumber === segment.header.firstRecordNumber ? headMark(segment, before) : spot.mark

/** For readers: the durable mark is the last one that the writer has put on disk. */
const durableAt = (parts: ReadonlyArray<Part>, mark: Mark, watermark: number): Mark => {
  if (watermark >= mark.position) return mark
  let before: Mark = startMark
  for (const { index, firstRecordNumber, sealed, scan } of parts) {
    if (sealed !== undefined) before = sealedMark(index, firstRecordNumber, sealed, before)
    else if (watermark < positionOf(index, segmentHeaderBytes)) return before
    else
      before = markAt(
        scan!.segment,
        before,
        Math.min(segmentOffsetOf(Math.min(watermark, positionOf(index, 2 ** 28 - 1))), scan!.segment.framesEnd),
      )
    if (watermark <= before.position) return before
  }
  return before
}

/** Resumes a segment that was closed clean, or makes the accepted part durable and hands it to the sealer. */
const keep = Effect.fnUntraced(function* (
  stream: StreamState,
  scan: SegmentScan,
  { mark, isLast, isComplete }: { readonly mark: Mark; readonly isLast: boolean; readonly isComplete: boolean },
  report: RecoveryReport,
) {
  const { segment, slot } = scan
  const end = segmentOffsetOf(mark.position)
  const isAtEnd = slot !== undefined && slot.watermark === mark.position && scan.fileBytes === end
  const isResumed = isLast && isAtEnd && scan.isClosed
  // One that is only read belongs to a writer that has it open, or has not closed it.
  if (!isResumed) report.isClean = false
  if (stream.services.config.readOnly) return
  if (isResumed) {
    Object.assign(stream.writer, stateOf(mark))
    stream.durable.advance(mark)
    const isEmpty = mark.nextRecordNumber === segment.header.firstRecordNumber
    stream.active = startWriting(stream, segment, {
      offset: end,
      isEntrySynced: true,
      slotSequence: slot.sequence,
      ...(isEmpty ? {} : { firstTimestampMs: scan.firstTimestampMs }),
    })
    stream.active.isClosedInOrder = true
    stream.active.slotMark = mark
    if (!scan.hasEqualSlots) {
      // Set and not synced by the process before, or by an earlier one.
      stream.coordinator.restore(slot.coordinatorWatermark, false)
      stream.active.coordinatorVersion = stream.coordinator.version
    }
    // Opened again by the first append: a stream that does nothing keeps no descriptor.
    segment.isQuiet = true
    segment.releaseFile()
    return
  }
  if (!isComplete && scan.badSpots.some((spot) => !spot.isZero && spot.offset >= end)) {
    const to = segment.position(scan.fileBytes)
    const reason = "above the durable watermark and not whole"
    report.cut(stream.name, { from: mark.position, to, bytes: to - mark.position, reason })
  }
  // Sectors of zeros at the end of a header may be missing after a power cut, and reported bytes where a file was cut.
  if (scan.fileBytes < end) yield* (yield* attempt(() => segment.openUnsafe())).truncate(end)
  yield* rewrite(segment, scan.startOffset, end)
  yield* syncFolder(stream)
  const writing = new WritingSegment({
    segment,
    tail: new StagingTail(stream.services.pool),
    writer: undefined,
    index: new IndexBuilder(),
    offset: end,
    isEntrySynced: true,
    slotSequence: slot?.sequence ?? 0,
    foundTail: scan.tail,
  })
  const recordCount = mark.nextRecordNumber - segment.header.firstRecordNumber
  writing.end({
    recordCount,
    lastRecordId: recordCount > 0 ? mark.lastRecordId : 0,
    firstTimestampMs: scan.firstTimestampMs,
    lastTimestampMs: recordCount > 0 ? mark.lastTimestampMs : 0,
    timestampMsMax: mark.timestampMsMax,
    extIdMax: BigInt(mark.extIdMax),
  })
  segment.state = "sealing"
  stream.sealing.push(writing)
  // Opened again when its turn has come: of thousands of streams each would keep a descriptor until then.
  segment.releaseFile()
})

/** Hands a segment that has its footer to the sealer. */
const keepSealed = (
  stream: StreamState,
  scan: SegmentScan,
  mark: Mark,
  report: RecoveryReport,
): Effect.Effect<void, AofError> => {
  const { segment } = scan
  segment.framesEnd = segmentOffsetOf(mark.position)
  return keep(stream, scan, { mark, isLast: false, isComplete: true }, report)
}

/** Makes the header and `[from, to)` durable as they were read. */
export const rewrite: (segment: Segment, from: number, to: number) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (segment, from, to) {
    const file = yield* attempt(() => segment.openUnsafe())
    yield* attempt(() => {
      writeAgain(file, 0, Math.min(segmentHeaderBytes, to))
      writeAgain(file, Math.max(segmentHeaderBytes, from), to)
    })
    yield* file.syncData
  },
)

const dropSegment = Effect.fnUntraced(function* (stream: StreamState, scan: SegmentScan, report: RecoveryReport) {
  const { segment } = scan
  segment.releaseFile()
  stream.catalog.remove(segment.index)
  report.isClean = false
  const from = segment.position(0)
  report.cut(stream.name, {
    from,
    to: from + scan.fileBytes,
    bytes: scan.fileBytes,
    reason: "behind the end of the log",
  })
  yield* putAside(stream, segment.index)
  // Its bytes are not those of the stream any more. Whoever only reads may find it whole at the next look.
  if (stream.services.config.readOnly) return
  segment.residency.leaveHot()?.release()
  stream.services.tiers.forget([segment.residency])
})

/** Moves a file to the quarantine, after the manifest has noted its index so that it is not used again. */
export const putAside: (stream: StreamState, index: number) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream, index) {
    const { config, directory, manifest } = stream.services
    if (config.readOnly) return
    manifest.append({
      type: "SegmentOpened",
      streamId: stream.streamId,
      segmentIndex: index,
      fileGeneration: 0,
      firstRecordNumber: 0,
      baseOffset: 0,
    })
    yield* manifest.commit
    const name = `${stream.streamId}-${index}.seg`
    yield* quarantineMove(directory, { root: config.root, path: segmentPath(stream.path, index), name })
    yield* directory.sync(stream.path)
  },
)
