/**
 * Rollover: the writer moves on to the next segment without a pause; what it leaves is sealed behind it. The next file is the
 * prepared spare one where there is one.
 */
import * as Effect from "effect/Effect"
import {
  encodeSegmentHeader,
  type SegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
} from "../../format/segment_header.ts"
import { invalidArgument } from "../../model/errors.ts"
import { segmentIndexLimit } from "../../model/record_id.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { SegmentWriter } from "../../state/segment_writer.ts"
import { StagingTail } from "../../state/staging_tail.ts"
import { segmentPath, sparePath, streamPath } from "../files/paths.ts"
import { caught } from "../flow/attempt.ts"
import { Segment } from "../stream/segment.ts"
import { makeFolderUnsafe } from "../stream/stream_folder.ts"
import { bufferBytesOf, type StreamState } from "../stream/stream_state.ts"
import { startSealing } from "./sealer.ts"
import { framesEndMax, tailBytesMax } from "./segment_limits.ts"
import { dropSpare } from "./spare_file.ts"
import { statsOf } from "./watermark_slot.ts"
import { writeOut } from "./write_out.ts"
import { WritingSegment } from "./writing_segment.ts"

/** Ends the active segment, if any, and hands it to the sealer. */
export const endActiveSegment = (stream: StreamState): WritingSegment | undefined => {
  const ended = retireActive(stream)
  if (ended !== undefined) handOver(stream, ended)
  return ended
}

/** Takes the active segment away from the writer. Nobody is told, so that the next one can be put in its place first. */
const retireActive = (stream: StreamState): WritingSegment | undefined => {
  const { active } = stream
  if (active === undefined) return undefined
  active.end(statsOf(stream, active))
  if (active.segment.isQuiet) active.segment.leaveQuiet()
  stream.nextBaseOffset = nextBaseOffset(stream)
  active.segment.state = "sealing"
  stream.active = undefined
  stream.sealing.push(active)
  return active
}

/** Has a segment that takes nothing any more written and sealed. Who is woken by that may append at once. */
const handOver = (stream: StreamState, ended: WritingSegment): void => {
  ended.segment.residency.guard?.resize(ended.endOffset + tailBytesMax(ended.endOffset))
  writeOut(stream)
  showStaged(ended)
  startSealing(stream)
}

/** Opens the next segment and makes it the active one. Throws `Unavailable` when its file cannot be made; nothing changed then. */
export const openNextSegment = (stream: StreamState): void => {
  const { services, nextIndex: index } = stream
  if (index >= segmentIndexLimit) throw invalidArgument("segment index", index, segmentIndexLimit - 1)
  const isLater = stream.active === undefined && stream.nextFile === undefined && mayBeginLater(stream)
  const path = segmentPath(stream.path, index)
  const next = isLater ? undefined : (stream.nextFile ??= openNextFile(stream, path))
  stream.active?.writer?.closeFrame()
  const header = makeHeader(stream, index)
  if (next !== undefined) writeHeader(next.file, header)
  stream.nextFile = undefined
  if (stream.active !== undefined) stream.fillsSegments = true
  const ended = retireActive(stream)
  stream.nextIndex = index + 1
  stream.hasLeftOut = false
  const residency = services.tiers.take(stream, index)
  const segment = new Segment({
    residency,
    header,
    state: "active",
    framesEnd: segmentHeaderBytes,
    directory: services.directory,
    openFiles: services.openFiles,
    source: services.tiers.services.reader,
    isReadOnly: false,
  })
  const zeroedBytes = Math.max(next?.zeroedBytes ?? 0, segmentHeaderBytes)
  services.tiers.hold(stream.owner, residency, zeroedBytes)
  segment.file = next?.file
  if (isLater) segment.maker = () => makeFile(stream, path, header)
  stream.active = startWriting(stream, segment, { offset: segmentHeaderBytes, isEntrySynced: false, slotSequence: 0 })
  stream.active.zeroedEnd = zeroedBytes
  stream.catalog.add(segment)
  services.manifest.append({
    type: "SegmentOpened",
    streamId: stream.streamId,
    segmentIndex: index,
    fileGeneration: 0,
    firstRecordNumber: header.firstRecordNumber,
    baseOffset: header.baseOffset,
  })
  if (ended !== undefined) handOver(stream, ended)
}

/**
 * True when the file of a segment may be made behind the first acknowledgement. Not while the one before would look after a kill as if it had been closed
 * in order and nothing was given since.
 */
const mayBeginLater = ({ services, sealing }: StreamState): boolean =>
  services.shared.isJournaling && !sealing.some(({ isClosedInOrder }) => isClosedInOrder)

/**
 * All of a segment may be read once the next one is appended to. What could not be written yet, because it waits for zeros or its disk fails, is
 * in staging memory, and the file may end inside of a frame.
 */
const showStaged = ({ segment, writtenOffset, endOffset }: WritingSegment): void => {
  if (writtenOffset === endOffset) return
  segment.fileEnd = writtenOffset
  segment.framesEnd = endOffset
}

const writeHeader = (file: SegmentFile, header: SegmentHeader): void => {
  const block = new Uint8Array(segmentHeaderBytes)
  encodeSegmentHeader(block, header)
  file.writeUnsafe(block, 0, block.length, 0)
}

/** The file of a segment that was begun without one. Throws `Unavailable`. */
const makeFile = (stream: StreamState, path: string, header: SegmentHeader): SegmentFile => {
  const { directory } = stream.services
  makeFolderUnsafe(stream)
  // `makeFilesLater` may have got as far as this.
  const isThere = caught(() => directory.openUnsafe(path, "create").closeUnsafe())
  if (isThere !== undefined && !(isThere._tag === "Unavailable" && isThere.code === "EEXIST")) throw isThere
  const file = directory.openUnsafe(path, "write")
  const failure = caught(() => writeHeader(file, header))
  if (failure === undefined) return file
  file.closeUnsafe()
  throw failure
}

/**
 * Makes the file of a segment that was begun without one, off the main thread: to make one takes several file systems a good part of a
 * millisecond. Whoever needs the file meanwhile makes it himself. A failure is left to him who does.
 */
export const makeFileLater: (stream: StreamState, segment: Segment) => Effect.Effect<void> = (stream, segment) => {
  const { config, directory, streamsFolder } = stream.services
  const made = Effect.gen(function* () {
    if (stream.folder === "missing") {
      yield* directory.makeSubdirectory(streamPath(config.root, stream.name))
      yield* directory.makeSubdirectory(stream.path)
      streamsFolder.noteChange()
      if (stream.folder === "missing") stream.folder = "made"
    }
    if (segment.maker === undefined || stream.closedAs !== undefined) return
    const file = yield* directory.open(segment.path, "create")
    const block = new Uint8Array(segmentHeaderBytes)
    encodeSegmentHeader(block, segment.header)
    // Without the slots: they may be written already.
    const written = yield* Effect.result(file.write(block, 0, segmentHeader.sizeBytes, 0))
    if (written._tag === "Failure" || segment.maker === undefined || stream.closedAs !== undefined) {
      return file.closeUnsafe()
    }
    segment.maker = undefined
    segment.file = file
  })
  return Effect.uninterruptible(Effect.ignore(made))
}

/** Makes the writing side of a segment whose frames end at `offset` so far. */
export const startWriting = (
  stream: StreamState,
  segment: Segment,
  from: {
    readonly offset: number
    readonly isEntrySynced: boolean
    readonly slotSequence: number
    readonly firstTimestampMs?: number
  },
): WritingSegment => {
  const tail = new StagingTail(stream.services.pool)
  segment.tail = tail
  const writer = new SegmentWriter({
    segmentIndex: segment.index,
    seed: segment.header.checksumSeed,
    framesEndMax: framesEndMax(stream.segmentBytes),
    bufferBytes: bufferBytesOf(stream),
    now: stream.services.nowMs,
    state: stream.writer,
    offset: from.offset,
  })
  writer.watermark = stream.durable.position
  return new WritingSegment({ segment, tail, writer, index: writer.index, ...from })
}

const openNextFile = (
  stream: StreamState,
  path: string,
): { readonly file: SegmentFile; readonly zeroedBytes: number } => {
  const { directory } = stream.services
  makeFolderUnsafe(stream)
  const { spare } = stream
  // One that is still being prepared is for the segment after this one, and keeps its bytes.
  if (spare === undefined || spare.isBusy) {
    // When a spare file was renamed but could not be opened, it is there already.
    const mode = stream.renamedIndex === stream.nextIndex ? "write" : "create"
    return { file: directory.openUnsafe(path, mode), zeroedBytes: 0 }
  }
  const { zeroedEnd } = spare
  dropSpare(stream)
  directory.renameUnsafe(sparePath(stream.path), path)
  stream.renamedIndex = stream.nextIndex
  return { file: directory.openUnsafe(path, "write"), zeroedBytes: zeroedEnd }
}

/** Bytes of frames in all segments before the next one. */
const nextBaseOffset = (stream: StreamState): number => {
  const { active } = stream
  if (active === undefined) return stream.nextBaseOffset
  return active.segment.header.baseOffset + active.endOffset - segmentHeaderBytes
}

const makeHeader = (stream: StreamState, index: number): SegmentHeader => {
  const { services, writer } = stream
  return {
    rootId: services.rootId,
    streamId: stream.streamId,
    segmentIndex: index,
    fileGeneration: 0,
    writerEpoch: 0,
    firstRecordNumber: writer.nextRecordNumber,
    baseOffset: nextBaseOffset(stream),
    extIdMax: BigInt(writer.extIdMax),
    timestampMsMax: writer.timestampMsMax,
    commitMode: 0,
    journalPosition: 0,
    createdMs: services.clock.currentTimeMillisUnsafe(),
    checksumSeed: services.random32(),
  }
}
