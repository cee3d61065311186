/**
 * Finishes complete segments behind the writer, oldest first: cut to length, index, footer, sync, pointer, manifest record. Each
 * step can be repeated after a crash: until the footer is durable the segment is recovered like an active one.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, isDiskFull } from "../../model/errors.ts"
import { nobody } from "../../state/nobody.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { noteSealed } from "../stream/seal_age.ts"
import { syncFolder } from "../stream/stream_folder.ts"
import { checkOpen, failReady, type StreamState, wakeReady } from "../stream/stream_state.ts"
import { waitAbove } from "../stream/waits.ts"
import { startFlushing } from "./flusher.ts"
import { takeFoundTail } from "./found_tail.ts"
import { replaceFile } from "./replace_file.ts"
import { replacePointer } from "./replace_pointer.ts"
import { unfinishedSegmentsMax } from "./segment_limits.ts"
import { makeTail } from "./segment_tail.ts"
import { writeAgain } from "./write_again.ts"
import type { SealedTail, WritingSegment } from "./writing_segment.ts"

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
      if (writing === undefined || stream.closedAs !== undefined) break
      const result = yield* Effect.result(sealOne(stream, writing))
      if (result._tag === "Failure") {
        stream.sealFailure = result.failure
        if (isDiskFull(result.failure)) stream.services.tiers.services.onDiskFull()
        wakeSealWaiters(stream)
        // Nothing but a footer could have made it durable.
        if (stream.active === undefined) stream.coordinator.waiters.failAll(result.failure)
        if (stream.closedAs !== undefined) break
        // Those who wait for room would wait for this segment.
        if (stream.sealing.length >= unfinishedSegmentsMax) failReady(stream, result.failure)
        yield* Effect.sleep(retryDelayMs)
        continue
      }
      stream.sealFailure = undefined
      stream.sealing.shift()
      stream.coordinator.noteDurable(writing.coordinatorVersion)
      writing.segment.state = "sealed"
      // The descriptor was the writer's; readers open their own, and map where they can.
      writing.segment.releaseFile()
      writing.segment.tail = undefined
      writing.tail.release(writing.durableOffset, true)
      const { footer, checksum64, tailBytes } = writing.sealed!
      stream.services.tiers.sealed(writing.segment.residency, {
        fileGeneration: footer.fileGeneration,
        framesEnd: footer.durableBytes,
        fileBytes: footer.durableBytes + tailBytes,
        checksum64,
      })
      wakeReady(stream)
      wakeSealWaiters(stream)
      stream.onSealed?.(stream)
    }
    stream.isSealing = false
  })

const wakeSealWaiters = (stream: StreamState): void => {
  const waiters = stream.sealWaiters
  stream.sealWaiters = nobody
  for (const one of waiters) one()
}

const sealOne = Effect.fnUntraced(function* (stream: StreamState, writing: WritingSegment) {
  const { segment } = writing
  yield* settleSegment(stream, writing)
  while (writing.zeroing !== undefined || writing.isInBatch) yield* Effect.sleep(1)
  // A footer that is durable is never cut off again: a record of it may be in the manifest already.
  const sealed = (writing.sealed ??= yield* alone(writing, makeSealed(stream, writing)))
  // All of it is durable. What follows needs descriptors, and may have to wait for those that others hold.
  segment.releaseFile()
  const fileBytes = writing.endOffset + sealed.tailBytes
  segment.sealed = { ...writing.stats!, sealedMs: sealed.footer.sealedMs, fileBytes }
  noteSealed(segment, stream.services.clock)
  yield* replacePointer(stream, sealed.footer)
  if (!sealed.isNoted) {
    sealed.isNoted = true
    stream.services.manifest.append({
      type: "SealSegment",
      ...sealed.footer,
      baseOffset: segment.header.baseOffset,
      fileBytes,
      checksumSeed: segment.header.checksumSeed,
      checksum64: sealed.checksum64,
    })
  }
  yield* stream.services.manifest.commit
})

/**
 * Makes a segment durable in its own file, whether or not the journal has it. Fails with what keeps the file from it, or `Closed`.
 */
export const settleSegment: (stream: StreamState, writing: WritingSegment) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (stream, writing) {
    while (!isSettled(stream, writing)) {
      yield* attempt(() => checkOpen(stream))
      startFlushing(stream)
      // The journal may answer first: then it is asked again.
      yield* waitAbove(stream.durableWaiters, writing.segment.position(writing.endOffset) - 1)
      if (!isSettled(stream, writing)) yield* nextTurn(stream.services.eventLoop)
    }
  })

/** The watermark is moved behind the sync of the last segment of a group. */
const isSettled = (stream: StreamState, writing: WritingSegment): boolean => {
  const { durableOffset, endOffset, isEntrySynced, isSyncing, segment } = writing
  if (durableOffset !== endOffset || !isEntrySynced || isSyncing) return false
  return stream.durable.position >= segment.position(endOffset)
}

/** While index and footer are made nobody else changes the file. */
const alone = <A, E>(writing: WritingSegment, effect: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const set = (isTailing: boolean): Effect.Effect<void> =>
    Effect.sync(() => {
      writing.isTailing = isTailing
    })
  return Effect.andThen(set(true), Effect.ensuring(effect, set(false)))
}

/** Takes the index and the footer that an earlier process has written, or writes them. */
const makeSealed = (stream: StreamState, writing: WritingSegment): Effect.Effect<SealedTail, AofError> =>
  Effect.flatMap(takeFoundTail(stream, writing), (found) =>
    found === undefined ? writeTail(stream, writing) : Effect.succeed(found),
  )

/** Cuts the file to length and makes index and footer durable behind the frames. */
const writeTail = Effect.fnUntraced(function* (
  stream: StreamState,
  writing: WritingSegment,
): Effect.fn.Return<SealedTail, AofError> {
  // What the kernel dropped after a failed sync is unknown: this try starts from a fresh file.
  if (writing.isSuspect) yield* replaceFile(stream, writing)
  if (!writing.isEntrySynced) yield* syncFolder(stream)
  writing.isEntrySynced = true
  const { bytes, footer, checksum64 } = yield* makeTail(stream, writing)
  const file = yield* attempt(() => writing.file)
  yield* file.truncate(writing.endOffset)
  yield* attempt(() => {
    // The checksum covers slots too, and the process before may have failed to sync those that it has closed the file with.
    writeAgain(file, 0, segmentHeaderBytes)
    file.writeUnsafe(bytes, 0, bytes.length, writing.endOffset)
  })
  yield* Effect.onError(file.syncData, () =>
    Effect.sync(() => {
      writing.isSuspect = true
    }),
  )
  return { footer, checksum64, tailBytes: bytes.length, isNoted: false }
})
