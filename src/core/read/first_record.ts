/** The first record that is left in a stream after trims. Known without reading records, so damage at the beginning does not hide it. */
import { frameHeader, frameHeaderBytes, isFrameHeader } from "../../format/frame.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { segmentOffsetOf } from "../../model/record_id.ts"
import { caught } from "../flow/attempt.ts"
import type { Segment } from "../stream/segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { trimPointOf } from "../stream/trim_point.ts"
import { Window } from "./window.ts"

/** The number of the first record that is left. */
export const firstRecordNumber = (stream: StreamState): number =>
  Math.max(trimPointOf(stream)?.recordNumber ?? 0, stream.catalog.first?.header.firstRecordNumber ?? 0)

/** The id of the first record that is left, or 0 when there is none. */
export const firstRecordId = (stream: StreamState): number => {
  const { catalog, writer } = stream
  const trimPoint = trimPointOf(stream)
  const number = firstRecordNumber(stream)
  if (number >= writer.nextRecordNumber) return 0
  // A point that retention made is the beginning of a segment and no record.
  const isRecord = trimPoint !== undefined && segmentOffsetOf(trimPoint.recordId) >= segmentHeaderBytes
  if (isRecord && trimPoint.recordNumber === number) return trimPoint.recordId
  const { entries } = catalog
  const at = entries.findIndex((_, i) => (entries[i + 1]?.header.firstRecordNumber ?? writer.nextRecordNumber) > number)
  const segment = entries[at]
  return segment === undefined ? 0 : segment.position(segmentHeaderBytes + firstHeaderBytes(segment))
}

/** Both. */
export const firstRecord = (stream: StreamState): { readonly id: number; readonly number: number } => ({
  id: firstRecordId(stream),
  number: firstRecordNumber(stream),
})

/** Bytes of the first frame's header; an open or damaged frame is taken to be like most. */
const firstHeaderBytes = (segment: Segment): number => {
  // Describing a stream must cost no request to another tier.
  if (!segment.residency.isHot) return frameHeaderBytes
  const window = new Window()
  let bytes = frameHeaderBytes
  caught(() => {
    if (!segment.fill(window, segmentHeaderBytes, frameHeaderBytes, 4096, segment.framesEnd)) return
    const start = segmentHeaderBytes - window.base
    if (!isFrameHeader(window.view, start, segmentHeaderBytes, segment.framesEnd)) return
    bytes = window.view.getUint16(start + frameHeader.at.headerBytes, true)
  })
  return bytes
}
