/**
 * Opens a stream as the last process left it. Sealed segments come from the manifest; what is not sealed is scanned from its
 * newest slot. A frame that does not check below the highest watermark found anywhere is damage: it is reported and what
 * follows is kept. At or above it the log ends: the rest is cut. After an unclean end the segments are sealed as they are and the
 * writer goes on in a new one, above every index ever seen, so that no lost id is used again.
 */
import * as Effect from "effect/Effect"
import { decodeSealedPointer } from "../format/sealed_pointer.ts"
import { decodeSegmentFooter, type SegmentFooter, segmentFooter } from "../format/segment_footer.ts"
import { decodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from "../format/segment_header.ts"
import type { AofError } from "../model/errors.ts"
import { segmentIndexOf, segmentOffsetOf } from "../model/record_id.ts"
import { IndexBuilder } from "../state/index_builder.ts"
import type { ManifestStream, SealedSegment } from "../state/manifest_state.ts"
import { StagingTail } from "../state/staging_tail.ts"
import { type Mark, startMark } from "../state/watermark.ts"
import type { DirectoryEntry } from "../port/directory.ts"
import { attempt } from "./attempt.ts"
import { pointerPath, quarantinePath, segmentIndexOfName, segmentPath, spareName, sparePath } from "./paths.ts"
import type { RecoveryReport, StreamDamage } from "./recovery_report.ts"
import { type BadSpot, firstTimestampMs, headMark, markAt, type SegmentScan, scanSegment } from "./recovery_scan.ts"
import { startWriting } from "./rollover.ts"
import { startSealing } from "./sealer.ts"
import { Segment } from "./segment.ts"
import type { StreamState } from "./stream_state.ts"
import { WritingSegment } from "./writing_segment.ts"

/** Recovers one stream into `stream`, which is new, and adds what it found to `report`. */
export const recoverStream: (
  stream: StreamState,
  known: ManifestStream,
  report: RecoveryReport,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream, known, report) {
  const { directory, config } = stream.services
  const names = yield* directory.list(stream.path)
  if (!config.readOnly) yield* removeLeftovers(stream, names)
  const indexes = names.map((entry) => segmentIndexOfName(entry.name)).filter((index) => index !== undefined)
  yield* readPointer(stream)
  if (known.trim !== undefined) {
    stream.trimPoint = { recordId: known.trim.firstRecordId, recordNumber: known.trim.firstRecordNumber }
  }
  const firstIndex = stream.trimPoint === undefined ? 0 : segmentIndexOf(stream.trimPoint.recordId)
  if (!config.readOnly)
    yield* removeTrimmed(
      stream,
      indexes.filter((index) => index < firstIndex),
    )
  const kept = indexes.filter((index) => index >= firstIndex)
  let mark = addSealed(stream, known, new Set(kept), report)
  const scans: Array<SegmentScan> = []
  for (const index of kept) {
    if (known.sealed.has(index)) continue
    const segment = yield* openUnsealed(stream, index, report)
    if (segment === undefined) continue
    if (segment.state === "sealed") mark = sealedMark(segment, mark)
    else scans.push(yield* attempt(() => scanSegment(segment, mark)))
  }
  stream.nextIndex = Math.max(known.segmentIndexMax, 0, ...indexes) + 1
  yield* settle(stream, scans, mark, report)
})

/** Takes the position of the application from the pointer when it is ahead of the manifest. */
const readPointer = Effect.fnUntraced(function* (stream: StreamState) {
  const bytes = yield* stream.services.directory.readFile(pointerPath(stream.path))
  const pointer = bytes === undefined ? undefined : decodeSealedPointer(bytes)
  if (pointer?.streamId === stream.streamId) stream.coordinatorWatermark = pointer.coordinatorWatermark
})

/** Removes what a crash left half made: temporary files, and a spare segment that was never used. */
const removeLeftovers = Effect.fnUntraced(function* (stream: StreamState, names: ReadonlyArray<DirectoryEntry>) {
  for (const { name } of names) {
    if (name.endsWith(".tmp")) yield* stream.services.directory.remove(`${stream.path}/${name}`)
    else if (name === spareName) yield* stream.services.directory.remove(sparePath(stream.path))
  }
})

const removeTrimmed = Effect.fnUntraced(function* (stream: StreamState, indexes: ReadonlyArray<number>) {
  if (indexes.length === 0) return
  for (const index of indexes) yield* stream.services.directory.remove(segmentPath(stream.path, index))
  yield* stream.services.directory.sync(stream.path)
})

/** Adds the sealed segments that the manifest names. Returns the mark behind the last one. */
const addSealed = (
  stream: StreamState,
  known: ManifestStream,
  found: ReadonlySet<number>,
  report: RecoveryReport,
): Mark => {
  let mark: Mark = startMark
  for (const record of known.sealed.values()) {
    const header = sealedHeader(stream, record, mark)
    if (found.has(record.segmentIndex)) {
      const segment = makeSegment(stream, header, "sealed", record.durableBytes)
      segment.sealed = { ...record }
      stream.catalog.add(segment)
    } else {
      const from = record.segmentIndex * 2 ** 28
      report.add(stream.name, {
        from,
        to: from + record.durableBytes,
        bytes: record.fileBytes,
        reason: "the file of a sealed segment is missing",
      })
    }
    mark = recordMark(record, mark)
  }
  if (known.lastSealed !== undefined) {
    mark = recordMark(known.lastSealed, mark)
    stream.nextBaseOffset = known.lastSealed.baseOffset + known.lastSealed.durableBytes - segmentHeaderBytes
    if (known.lastSealed.coordinatorWatermark > stream.coordinatorWatermark) {
      stream.coordinatorWatermark = known.lastSealed.coordinatorWatermark
    }
  }
  return mark
}

/** What the header of a sealed segment says, as far as the manifest knows it. */
const sealedHeader = (stream: StreamState, record: SealedSegment, before: Mark): SegmentHeader => ({
  rootId: stream.services.rootId,
  streamId: stream.streamId,
  segmentIndex: record.segmentIndex,
  fileGeneration: record.fileGeneration,
  writerEpoch: 0,
  firstRecordNumber: record.firstRecordNumber,
  baseOffset: record.baseOffset,
  extIdMax: BigInt(before.extIdMax),
  timestampMsMax: before.timestampMsMax,
  commitMode: 0,
  journalPosition: 0,
  createdMs: 0,
  checksumSeed: record.checksumSeed,
})

const recordMark = (record: SealedSegment, before: Mark): Mark => ({
  position: record.segmentIndex * 2 ** 28 + record.durableBytes,
  nextRecordNumber: record.firstRecordNumber + record.recordCount,
  lastRecordId: record.recordCount > 0 ? record.lastRecordId : before.lastRecordId,
  lastTimestampMs: record.recordCount > 0 ? record.lastTimestampMs : before.lastTimestampMs,
  timestampMsMax: record.timestampMsMax,
  extIdMax: record.extIdMax,
})

const sealedMark = (segment: Segment, before: Mark): Mark => ({
  position: segment.position(segment.framesEnd),
  nextRecordNumber: segment.header.firstRecordNumber + segment.sealed!.recordCount,
  lastRecordId: segment.sealed!.recordCount > 0 ? segment.sealed!.lastRecordId : before.lastRecordId,
  lastTimestampMs: segment.sealed!.recordCount > 0 ? segment.sealed!.lastTimestampMs : before.lastTimestampMs,
  timestampMsMax: segment.sealed!.timestampMsMax,
  extIdMax: segment.sealed!.extIdMax,
})

/** Makes the running view of a segment. */
export const makeSegment = (
  stream: StreamState,
  header: SegmentHeader,
  state: "active" | "sealing" | "sealed",
  framesEnd: number,
): Segment => {
  const { directory, openFiles } = stream.services
  return new Segment({
    path: segmentPath(stream.path, header.segmentIndex),
    header,
    state,
    framesEnd,
    directory,
    openFiles,
  })
}

/** A segment file that the manifest does not call sealed; undefined when it holds nothing or was put aside. */
const openUnsealed = Effect.fnUntraced(function* (stream: StreamState, index: number, report: RecoveryReport) {
  const { directory, config, manifest } = stream.services
  const path = segmentPath(stream.path, index)
  const file = yield* attempt(() => directory.openUnsafe(path, config.readOnly ? "read" : "write"))
  const block = new Uint8Array(segmentHeaderBytes)
  const size = file.sizeUnsafe()
  yield* attempt(() => file.readUnsafe(block, 0, block.length, 0))
  const header = decodeSegmentHeader(block)
  if (header === undefined || !isOwnHeader(stream, header, index)) {
    file.closeUnsafe()
    const reason = "the header of a segment does not check"
    const isUnused = block.every((byte) => byte === 0)
    if (isUnused) return undefined
    return yield* putAside(
      stream,
      index,
      { from: index * 2 ** 28, to: index * 2 ** 28 + size, bytes: size, reason },
      report,
    )
  }
  const segment = makeSegment(stream, header, "active", size)
  segment.file = file
  stream.catalog.add(segment)
  const footer = yield* attempt(() => readFooter(segment, size))
  if (footer === undefined) return segment
  segment.state = "sealed"
  segment.framesEnd = footer.durableBytes
  segment.sealed = { ...footer, fileBytes: size }
  segment.releaseFile()
  stream.nextBaseOffset = header.baseOffset + footer.durableBytes - segmentHeaderBytes
  if (!config.readOnly) {
    const { baseOffset, checksumSeed } = header
    manifest.append({ type: "SealSegment", ...footer, baseOffset, checksumSeed, fileBytes: size })
    yield* manifest.commit
  }
  return segment
})

/** False for a file that belongs to another root, stream or place. */
const isOwnHeader = (stream: StreamState, header: SegmentHeader, index: number): boolean =>
  header.segmentIndex === index &&
  header.streamId === stream.streamId &&
  header.rootId.every((byte, at) => byte === stream.services.rootId[at])

/** The footer at the end of a file, when it belongs to this segment. */
export const readFooter = (
  segment: Segment,
  size: number,
): (SegmentFooter & { readonly checksum64: bigint }) | undefined => {
  const start = size - segmentFooter.sizeBytes
  if (start < segmentHeaderBytes) return undefined
  const bytes = new Uint8Array(segmentFooter.sizeBytes)
  segment.openUnsafe().readUnsafe(bytes, 0, bytes.length, start)
  const footer = decodeSegmentFooter(bytes, 0, segment.header.checksumSeed)
  const isOwn = footer?.segmentIndex === segment.index && footer.streamId === segment.header.streamId
  return isOwn && footer.durableBytes <= start ? footer : undefined
}

/** Decides where the log ends, keeps what lies before and makes it durable, and puts the rest aside. */
const settle = Effect.fnUntraced(function* (
  stream: StreamState,
  scans: ReadonlyArray<SegmentScan>,
  sealed: Mark,
  report: RecoveryReport,
) {
  const watermark = Math.max(0, ...scans.map((scan) => scan.watermark))
  let mark = sealed
  let isCut = false
  for (const scan of scans) {
    const { segment } = scan
    const start = segment.position(segmentHeaderBytes)
    const isGap = segment.header.firstRecordNumber !== mark.nextRecordNumber
    if (isCut || (isGap && watermark < start && mark !== startMark)) {
      isCut = true
      yield* dropSegment(stream, scan, report)
      continue
    }
    if (isGap && mark !== startMark) {
      report.add(stream.name, {
        from: mark.position,
        to: start,
        bytes: 0,
        reason: "durable records before this segment are missing",
      })
    }
    const last = keptUntil(stream, scan, watermark, report)
    mark = last.mark.position < start ? headMark(segment, mark) : last.mark
    segment.framesEnd = segmentOffsetOf(mark.position)
    stream.nextBaseOffset = segment.header.baseOffset + segment.framesEnd - segmentHeaderBytes
    isCut = !last.isZero
    yield* keep(stream, scan, mark, report)
  }
  const isReadOnly = stream.services.config.readOnly
  const durable = isReadOnly && scans.length > 0 ? durableAt(scans, sealed, mark, watermark) : mark
  stream.durable.advance(durable)
  stream.written.advance(mark)
  Object.assign(stream.writer, omitPosition(mark))
  if (stream.sealing.length > 0) startSealing(stream)
})

const omitPosition = ({ position: _, ...state }: Mark): Omit<Mark, "position"> => state

/** Reports damage below the watermark and returns the spot at which the segment ends. */
const keptUntil = (stream: StreamState, scan: SegmentScan, watermark: number, report: RecoveryReport): BadSpot => {
  for (const spot of scan.badSpots) {
    const position = scan.segment.position(spot.offset)
    if (position >= watermark || spot.resumesAt === undefined) {
      const isDamaged = position < watermark && segmentIndexOf(watermark) === scan.segment.index
      if (isDamaged)
        report.add(stream.name, {
          from: position,
          to: watermark,
          bytes: watermark - position,
          reason: "durable frames do not check",
        })
      return spot
    }
    const to = scan.segment.position(spot.resumesAt)
    report.add(stream.name, { from: position, to, bytes: to - position, reason: "durable frames do not check" })
  }
  return scan.badSpots.at(-1)!
}

/** For readers: the durable mark is the last one that the writer has put on disk. */
const durableAt = (scans: ReadonlyArray<SegmentScan>, sealed: Mark, mark: Mark, watermark: number): Mark => {
  if (watermark >= mark.position) return mark
  const scan = scans.find((one) => one.segment.index === segmentIndexOf(watermark))
  return scan === undefined ? sealed : markAt(scan.segment, sealed, segmentOffsetOf(watermark))
}

/** Resumes a segment that was closed clean, or makes the accepted part durable and hands it to the sealer. */
const keep = Effect.fnUntraced(function* (stream: StreamState, scan: SegmentScan, mark: Mark, report: RecoveryReport) {
  const { segment, slot } = scan
  if (stream.services.config.readOnly) return
  const end = segmentOffsetOf(mark.position)
  if (slot !== undefined && slot.watermark === mark.position && scan.fileBytes === end) {
    Object.assign(stream.writer, omitPosition(mark))
    stream.durable.advance(mark)
    const firstMs =
      mark.nextRecordNumber > segment.header.firstRecordNumber
        ? { firstTimestampMs: firstTimestampMs(segment, end) }
        : {}
    stream.active = startWriting(stream, segment, {
      offset: end,
      isEntrySynced: true,
      slotSequence: slot.sequence,
      ...firstMs,
    })
    return
  }
  report.isClean = false
  if (scan.badSpots.some((spot) => !spot.isZero && spot.offset >= end)) {
    const to = segment.position(scan.fileBytes)
    report.cut(stream.name, {
      from: mark.position,
      to,
      bytes: to - mark.position,
      reason: "above the durable watermark and not whole",
    })
  }
  yield* rewrite(segment, scan.startOffset, end)
  yield* stream.services.directory.sync(stream.path)
  const writing = new WritingSegment({
    segment,
    tail: new StagingTail(stream.services.pool),
    writer: undefined,
    index: new IndexBuilder(),
    offset: end,
    isEntrySynced: true,
    slotSequence: slot?.sequence ?? 0,
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
})

/** Writes `[from, to)` again and syncs: what was read may so far be in the page cache only. */
const rewrite = Effect.fnUntraced(function* (segment: Segment, from: number, to: number) {
  const buffer = new Uint8Array(1024 * 1024)
  const file = segment.openUnsafe()
  yield* attempt(() => {
    for (let offset = from; offset < to; ) {
      const count = file.readUnsafe(buffer, 0, Math.min(buffer.length, to - offset), offset)
      if (count === 0) return
      file.writeUnsafe(buffer, 0, count, offset)
      offset += count
    }
  })
  yield* file.syncData
})

const dropSegment = Effect.fnUntraced(function* (stream: StreamState, scan: SegmentScan, report: RecoveryReport) {
  const { segment } = scan
  segment.releaseFile()
  stream.catalog.remove(segment.index)
  report.isClean = false
  const from = segment.position(0)
  const damage = { from, to: from + scan.fileBytes, bytes: scan.fileBytes, reason: "behind the end of the log" }
  yield* putAside(stream, segment.index, damage, report)
})

/** Moves a file to the quarantine, after the manifest has noted its index so that it is not used again. */
const putAside = Effect.fnUntraced(function* (
  stream: StreamState,
  index: number,
  damage: StreamDamage,
  report: RecoveryReport,
): Effect.fn.Return<undefined, AofError> {
  const { config, directory, manifest } = stream.services
  report.cut(stream.name, damage)
  if (config.readOnly) return undefined
  manifest.append({
    type: "SegmentOpened",
    streamId: stream.streamId,
    segmentIndex: index,
    fileGeneration: 0,
    firstRecordNumber: 0,
    baseOffset: 0,
  })
  yield* manifest.commit
  const quarantine = quarantinePath(config.root)
  yield* directory.makeDirectory(quarantine)
  yield* directory.rename(segmentPath(stream.path, index), `${quarantine}/${stream.streamId}-${index}.seg`)
  yield* directory.sync(quarantine)
  yield* directory.sync(stream.path)
  return undefined
})
