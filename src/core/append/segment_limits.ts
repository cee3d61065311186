/** How much of a segment is for frames, and what follows from it for payloads. */
import { indexEntry, indexStride, segmentFooter } from "../../format/segment_footer.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { frameOverheadMax, recordOverheadMax } from "../../state/segment_writer.ts"

/** Offset at which the frames of a segment end at the latest; the rest is for its index and footer. */
export const framesEndMax = (segmentBytes: number): number =>
  segmentBytes - segmentFooter.sizeBytes - (Math.ceil(segmentBytes / indexStride) + 1) * indexEntry.sizeBytes

/** Bytes of index and footer at most behind frames that end at `framesEnd`. */
export const tailBytesMax = (framesEnd: number): number =>
  segmentFooter.sizeBytes + (Math.ceil(framesEnd / indexStride) + 1) * indexEntry.sizeBytes

/** Bytes for frames in an empty segment. */
export const framesBytesMax = (segmentBytes: number): number => framesEndMax(segmentBytes) - segmentHeaderBytes

/** The largest payload that fits an empty segment. */
export const payloadBytesMax = (segmentBytes: number, recordBytesMax: number): number =>
  Math.min(recordBytesMax, framesBytesMax(segmentBytes) - frameOverheadMax - recordOverheadMax)

/** Complete segments whose footer may be outstanding before appends have to wait. */
export const unfinishedSegmentsMax = 2

/** How much of a spare file is zeroed when it is made. */
export const spareZeroBytes = (segmentBytes: number, preallocateBytesMax: number): number =>
  Math.min(preallocateBytesMax, framesEndMax(segmentBytes))

/**
 * Indexes that one process may have used of which a kill leaves no trace: those that its opening left out, and segments that it began and that only
 * its memory held.
 */
export const untracedIndexesMax: number = 2 * (unfinishedSegmentsMax + 1)
