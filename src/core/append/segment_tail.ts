/** Index and footer of a segment, with the checksums in them. */
import * as Effect from "effect/Effect"
import { crc32, crc64Start } from "../../format/checksum.ts"
import {
  encodeSegmentFooter,
  footerFlushFailed,
  indexEntry,
  type SegmentFooter,
  segmentFooter,
} from "../../format/segment_footer.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, unavailable } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { IndexWalk } from "../read/index_walk.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { noteNamed } from "./watermark_slot.ts"
import type { SegmentStats, WritingSegment } from "./writing_segment.ts"

/** Bytes checksummed or walked in one turn of the event loop: about 0.3 ms. */
export const sliceBytes: number = 256 * 1024

/** What goes behind the frames. */
export interface SegmentTail {
  readonly bytes: Uint8Array
  readonly footer: SegmentFooter
  readonly checksum64: bigint
}

/** Index and footer of a segment, with the checksum of all bytes before. */
export const makeTail: (stream: StreamState, writing: WritingSegment) => Effect.Effect<SegmentTail, AofError> =
  Effect.fnUntraced(function* (stream: StreamState, writing: WritingSegment) {
    const { segment } = writing
    const head = yield* encodeHeadIndex(stream, writing)
    const own = writing.index.encode()
    const bytes = new Uint8Array(head.length + own.length + segmentFooter.sizeBytes)
    bytes.set(head)
    bytes.set(own, head.length)
    const footerAt = head.length + own.length
    const footer = makeFooter(stream, writing, writing.stats!, {
      indexCount: footerAt / indexEntry.sizeBytes,
      tailChecksum: crc32(bytes.subarray(0, footerAt), segment.header.checksumSeed),
    })
    encodeSegmentFooter(bytes, footerAt, footer, segment.header.checksumSeed)
    const checksum64 = yield* checksumOf(stream, writing, bytes.subarray(0, bytes.length - 8))
    new DataView(bytes.buffer).setBigUint64(bytes.length - 8, checksum64, true)
    const tail: SegmentTail = { bytes, footer, checksum64 }
    return tail
  })

/** Below this a segment is checksummed here: that takes less than a worker's start. */
const workerBytesMin = 1024 * 1024

/** CRC-64 of the frames and of `tail` behind them, off the main thread where it would take long. */
export const checksumOf: (
  stream: StreamState,
  writing: WritingSegment,
  tail: Uint8Array,
) => Effect.Effect<bigint, AofError> = Effect.fnUntraced(function* (stream, writing, tail) {
  const { segment } = writing
  if (writing.endOffset >= workerBytesMin) {
    const { compressor } = stream.services.tiers.services
    return yield* compressor.checksum({ path: segment.path, lengthBytes: writing.endOffset, suffix: tail })
  }
  const checksum = crc64Start()
  const buffer = new Uint8Array(sliceBytes)
  for (let offset = 0; offset < writing.endOffset; ) {
    const count = yield* attempt(() =>
      writing.file.readUnsafe(buffer, 0, Math.min(sliceBytes, writing.endOffset - offset), offset),
    )
    if (count === 0) return yield* Effect.fail(unavailable("reading durable bytes to seal a file", "EIO", segment.path))
    checksum.update(buffer.subarray(0, count))
    offset += count
    yield* nextTurn(stream.services.eventLoop)
  }
  checksum.update(tail)
  return checksum.digest()
})

/** The index of the frames that an earlier process wrote. */
const encodeHeadIndex = Effect.fnUntraced(function* (stream: StreamState, writing: WritingSegment) {
  if (writing.indexFrom <= segmentHeaderBytes) return new Uint8Array(0)
  const walk = new IndexWalk(writing.segment, segmentHeaderBytes, writing.indexFrom)
  while (!(yield* attempt(() => walk.advance(sliceBytes)))) yield* nextTurn(stream.services.eventLoop)
  return walk.index.encode()
})

const makeFooter = (
  stream: StreamState,
  writing: WritingSegment,
  stats: SegmentStats,
  index: { readonly indexCount: number; readonly tailChecksum: number },
): SegmentFooter => {
  const { header } = writing.segment
  noteNamed(stream, writing, stream.coordinator.version)
  return {
    ...stats,
    ...index,
    flags: writing.hasFlushFailed ? footerFlushFailed : 0,
    streamId: header.streamId,
    segmentIndex: header.segmentIndex,
    fileGeneration: header.fileGeneration,
    firstRecordNumber: header.firstRecordNumber,
    durableBytes: writing.endOffset,
    indexOffset: writing.endOffset,
    producerCount: 0,
    coordinatorWatermark: stream.coordinator.value,
    writerEpoch: header.writerEpoch,
    sealedMs: stream.services.clock.currentTimeMillisUnsafe(),
  }
}
