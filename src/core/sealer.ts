/**
 * Finishes complete segments behind the writer, oldest first: cut to length, index, footer, sync, pointer, manifest record. Each
 * step can be repeated after a crash: until the footer is durable the segment is recovered like an active one.
 */
import * as Effect from "effect/Effect"
import { crc32, crc64Start } from "../format/checksum.ts"
import { encodeSealedPointer } from "../format/sealed_pointer.ts"
import {
  encodeSegmentFooter,
  footerFlushFailed,
  indexEntry,
  type SegmentFooter,
  segmentFooter,
} from "../format/segment_footer.ts"
import { segmentHeaderBytes } from "../format/segment_header.ts"
import type { AofError } from "../model/errors.ts"
import { attempt } from "./attempt.ts"
import { startFlushing } from "./flusher.ts"
import { IndexWalk } from "./index_walk.ts"
import { nextTurn } from "./next_turn.ts"
import { pointerPath } from "./paths.ts"
import { replaceFile } from "./replace_file.ts"
import { type StreamState, wakeReady } from "./stream_state.ts"
import { waitAbove } from "./waits.ts"
import type { SegmentStats, WritingSegment } from "./writing_segment.ts"

/** Bytes checksummed or walked in one turn of the event loop: about 0.3 ms. */
const sliceBytes = 256 * 1024
const retryDelayMs = 250

/** Starts the loop unless it runs. */
export const startSealing = (stream: StreamState): void => {
  if (stream.isSealing) return
  stream.isSealing = true
  stream.services.run(sealLoop(stream))
}

const sealLoop = (stream: StreamState): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (;;) {
      const writing = stream.sealing[0]
      if (writing === undefined) break
      const result = yield* Effect.result(sealOne(stream, writing))
      if (result._tag === "Failure") {
        stream.sealFailure = result.failure
        if (stream.closedAs !== undefined) break
        yield* Effect.sleep(retryDelayMs)
        continue
      }
      stream.sealFailure = undefined
      stream.sealing.shift()
      writing.segment.state = "sealed"
      // The descriptor was the writer's; readers open their own, and map where they can.
      writing.segment.releaseFile()
      writing.segment.tail = undefined
      wakeReady(stream)
      const waiters = stream.sealWaiters
      stream.sealWaiters = []
      for (const one of waiters) one()
      stream.onSealed?.()
    }
    stream.isSealing = false
  })

const sealOne = Effect.fnUntraced(function* (stream: StreamState, writing: WritingSegment) {
  const { segment } = writing
  if (writing.durableOffset < writing.endOffset) {
    startFlushing(stream)
    yield* waitAbove(stream.durableWaiters, segment.position(writing.endOffset) - 1)
  }
  while (writing.zeroing !== undefined) yield* Effect.sleep(1)
  const tail = yield* makeTail(stream, writing)
  yield* attempt(() => writing.file).pipe(Effect.flatMap((file) => file.truncate(writing.endOffset)))
  yield* attempt(() => writing.file.writeUnsafe(tail.bytes, 0, tail.bytes.length, writing.endOffset))
  const synced = yield* Effect.result(writing.file.syncData)
  if (synced._tag === "Failure") {
    // What the kernel dropped is unknown: the next try starts from a fresh file.
    yield* replaceFile(stream, writing)
    return yield* Effect.fail<AofError>(synced.failure)
  }
  const stats = writing.stats!
  segment.sealed = { ...stats, sealedMs: tail.footer.sealedMs, fileBytes: writing.endOffset + tail.bytes.length }
  yield* replacePointer(stream, tail.footer)
  stream.services.manifest.append({
    type: "SealSegment",
    ...tail.footer,
    baseOffset: segment.header.baseOffset,
    fileBytes: segment.sealed.fileBytes,
    checksumSeed: segment.header.checksumSeed,
    checksum64: tail.checksum64,
  })
  yield* stream.services.manifest.commit
})

interface SegmentTail {
  readonly bytes: Uint8Array
  readonly footer: SegmentFooter
  readonly checksum64: bigint
}

/** Index and footer of a segment, with the checksum of all bytes before. */
const makeTail = Effect.fnUntraced(function* (stream: StreamState, writing: WritingSegment) {
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
  const checksum = crc64Start()
  const buffer = new Uint8Array(sliceBytes)
  for (let offset = 0; offset < writing.endOffset; ) {
    const count = yield* attempt(() =>
      writing.file.readUnsafe(buffer, 0, Math.min(sliceBytes, writing.endOffset - offset), offset),
    )
    if (count === 0) break
    checksum.update(buffer.subarray(0, count))
    offset += count
    yield* nextTurn(stream.services.eventLoop)
  }
  checksum.update(bytes.subarray(0, bytes.length - 8))
  const checksum64 = checksum.digest()
  new DataView(bytes.buffer).setBigUint64(bytes.length - 8, checksum64, true)
  const tail: SegmentTail = { bytes, footer, checksum64 }
  return tail
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
    coordinatorWatermark: stream.coordinatorWatermark,
    writerEpoch: header.writerEpoch,
    sealedMs: stream.services.clock.currentTimeMillisUnsafe(),
  }
}

/** Replaces `current.sealed`: temporary file, sync, rename, directory sync. */
const replacePointer = Effect.fnUntraced(function* (stream: StreamState, footer: SegmentFooter) {
  const { directory } = stream.services
  const path = pointerPath(stream.path)
  const bytes = encodeSealedPointer(footer)
  yield* directory.remove(`${path}.tmp`)
  const file = yield* attempt(() => directory.openUnsafe(`${path}.tmp`, "create"))
  yield* Effect.ensuring(
    Effect.andThen(
      attempt(() => file.writeUnsafe(bytes, 0, bytes.length, 0)),
      file.syncData,
    ),
    Effect.sync(() => file.closeUnsafe()),
  )
  yield* directory.rename(`${path}.tmp`, path)
  yield* directory.sync(stream.path)
})
