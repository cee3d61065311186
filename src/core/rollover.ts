/**
 * Rollover: the writer moves on to the next segment without a pause; what it leaves is sealed behind it. The next file is the
 * prepared spare one where there is one.
 */
import { encodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from "../format/segment_header.ts"
import { invalidArgument } from "../model/errors.ts"
import { segmentIndexLimit } from "../model/record_id.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import { SegmentWriter } from "../state/segment_writer.ts"
import { StagingTail } from "../state/staging_tail.ts"
import { segmentPath, sparePath } from "./paths.ts"
import { startSealing } from "./sealer.ts"
import { Segment } from "./segment.ts"
import { framesEndMax, spareZeroBytes, tailBytesMax } from "./segment_limits.ts"
import { bufferBytesOf, type StreamState } from "./stream_state.ts"
import { statsOf } from "./watermark_slot.ts"
import { writeOut } from "./write_out.ts"
import { WritingSegment } from "./writing_segment.ts"

/** Ends the active segment, if any, and hands it to the sealer. */
export const endActiveSegment = (stream: StreamState): WritingSegment | undefined => {
  const { active } = stream
  if (active === undefined) return undefined
  active.end(statsOf(stream, active))
  stream.nextBaseOffset = nextBaseOffset(stream)
  active.segment.state = "sealing"
  active.segment.residency.guard?.resize(active.endOffset + tailBytesMax(active.endOffset))
  stream.active = undefined
  stream.sealing.push(active)
  writeOut(stream)
  startSealing(stream)
  return active
}

/** Opens the next segment and makes it the active one. Throws `Unavailable` when its file cannot be made; nothing changed then. */
export const openNextSegment = (stream: StreamState): void => {
  const { services, nextIndex: index } = stream
  if (index >= segmentIndexLimit) throw invalidArgument("segment index", index, segmentIndexLimit - 1)
  const path = segmentPath(stream.path, index)
  const next = (stream.nextFile ??= openNextFile(stream, path))
  stream.active?.writer?.closeFrame()
  const header = makeHeader(stream, index)
  const block = new Uint8Array(segmentHeaderBytes)
  encodeSegmentHeader(block, header)
  next.file.writeUnsafe(block, 0, block.length, 0)
  stream.nextFile = undefined
  if (stream.active !== undefined) stream.fillsSegments = true
  endActiveSegment(stream)
  stream.nextIndex = index + 1
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
  // One that is still being prepared is for the segment after this one, and keeps its bytes.
  if (stream.spare === "none") {
    stream.spareGuard?.release()
    stream.spareGuard = undefined
  }
  services.tiers.hold(stream.owner, residency, Math.max(next.zeroedBytes, segmentHeaderBytes))
  segment.file = next.file
  stream.active = startWriting(stream, segment, { offset: segmentHeaderBytes, isEntrySynced: false, slotSequence: 0 })
  stream.active.zeroedEnd = Math.max(next.zeroedBytes, segmentHeaderBytes)
  stream.catalog.add(segment)
  services.manifest.append({
    type: "SegmentOpened",
    streamId: stream.streamId,
    segmentIndex: index,
    fileGeneration: 0,
    firstRecordNumber: header.firstRecordNumber,
    baseOffset: header.baseOffset,
  })
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
  const { pool, clock } = stream.services
  const tail = new StagingTail(pool)
  segment.tail = tail
  const writer = new SegmentWriter({
    segmentIndex: segment.index,
    seed: segment.header.checksumSeed,
    framesEndMax: framesEndMax(stream.segmentBytes),
    bufferBytes: bufferBytesOf(stream),
    now: () => clock.currentTimeMillisUnsafe(),
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
  if (stream.spare !== "ready") {
    // When a spare file was renamed but could not be opened, it is there already.
    const mode = stream.renamedIndex === stream.nextIndex ? "write" : "create"
    return { file: directory.openUnsafe(path, mode), zeroedBytes: 0 }
  }
  stream.spare = "none"
  directory.renameUnsafe(sparePath(stream.path), path)
  stream.renamedIndex = stream.nextIndex
  return {
    file: directory.openUnsafe(path, "write"),
    zeroedBytes: spareZeroBytes(stream.segmentBytes, stream.services.config.preallocateBytesMax),
  }
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
