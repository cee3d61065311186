/**
 * Group commit. All who want durability share one fdatasync; while one runs the next group gathers, and after it the loop lets
 * one turn of the event loop pass so that those just woken can join. Syncs go in order of segments, so a watermark enters a
 * segment only when its predecessor is durable whole. The durable watermark moves here and nowhere else.
 */
import * as Effect from "effect/Effect"
import { type AofError, closed, isDiskFull } from "../../model/errors.ts"
import type { Mark } from "../../state/watermark.ts"
import { caught } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { syncFolder } from "../stream/stream_folder.ts"
import {
  appendedMark,
  blockedForGood,
  failReady,
  firstBufferBytes,
  type StreamState,
  unflushedBytes,
  unsettledBytes,
  wakeReady,
} from "../stream/stream_state.ts"
import { APPEND_FLUSH } from "./append_codes.ts"
import { preallocate } from "./preallocator.ts"
import { replaceFile } from "./replace_file.ts"
import { repeatSlot } from "./watermark_slot.ts"
import { writeOut } from "./write_out.ts"
import type { WritingSegment } from "./writing_segment.ts"

/** Written bytes that start a sync although nobody asked: what a crash leaves to be checked stays near this. */
const unsyncedBytesMax = 4 * 1024 * 1024
/** How often the watermark is repeated in the header of a segment. */
const slotStrideBytes = 1024 * 1024
/** Syncs of a segment after which zeros begin to run ahead of its writer. */
const syncsBeforeZeros = 4
/** Quiet time after which the watermark is repeated and memory is given back. */
const idleMs = 10
const retryDelayMsMin = 10
const retryDelayMsMax = 250

/** Plans the turn in which staged bytes go out. */
export const planTurn = (stream: StreamState): void => {
  stream.isTurnPlanned = true
  stream.services.shared.plan(stream)
}

/** What a turn does for a stream that syncs its own files. */
export const writeInTurn = (stream: StreamState): void => {
  const isComplete = writeOut(stream)
  if (stream.isFlushing) return
  const isWanted = stream.flushWanted > stream.durable.position || stream.sealing.some(isUnsynced)
  if (!isComplete || isWanted || unsettledBytes(stream) >= unsyncedBytesMax) startFlushing(stream, true)
  else if (unflushedBytes(stream) > 0) planInterval(stream)
}

/** Asks for everything appended so far to become durable; the sync starts in the next turn at the latest. */
export const requestFlush = (stream: StreamState): void => {
  stream.flushWanted = Number.POSITIVE_INFINITY
  if (!stream.isTurnPlanned && !stream.isFlushing) planTurn(stream)
}

/** Starts the flush loop unless it runs. `isInTurn`: called in a turn of its own and not from an append, so the main thread may make the first sync. */
export const startFlushing = (stream: StreamState, isInTurn = false): void => {
  if (stream.isFlushing) return
  stream.isFlushing = true
  stream.services.shared.flushBegins()
  stream.services.run(flushLoop(stream, isInTurn))
}

const planInterval = (stream: StreamState): void => {
  if (stream.isIntervalPlanned) return
  stream.isIntervalPlanned = true
  stream.services.run(
    Effect.map(Effect.sleep(stream.services.config.flushIntervalMs), () => {
      stream.isIntervalPlanned = false
      if (stream.closedAs === undefined && unflushedBytes(stream) > 0) requestFlush(stream)
    }),
  )
}

const flushLoop = (stream: StreamState, isInTurn: boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { gauge } = stream.services
    let retryDelayMs = 0
    for (;;) {
      const { syncs } = stream.counters
      const error = yield* flushOnce(stream, isInTurn)
      if (error === undefined) {
        retryDelayMs = 0
        clearFailure(stream)
        // Where much waits already, those just woken may fill a turn for long: the disk goes on meanwhile.
        const isBehind = stream.counters.syncs > syncs && unflushedBytes(stream) >= unsyncedBytesMax
        if (!isBehind) {
          const askedMs = gauge.nowMs
          yield* nextTurn(stream.services.eventLoop)
          gauge.noteTurn(askedMs)
        }
        isInTurn = !isBehind
        if (!needsFlush(stream)) break
        if (!isSaveWanted(stream) && stream.services.shared.isPreferred(stream)) {
          if (!stream.isTurnPlanned) planTurn(stream)
          break
        }
      } else {
        failWaiters(stream, error)
        if (stream.closedAs !== undefined) break
        retryDelayMs = Math.min(retryDelayMsMax, Math.max(retryDelayMsMin, retryDelayMs * 2))
        yield* Effect.sleep(retryDelayMs)
      }
    }
    stream.isFlushing = false
    stream.services.shared.flushEnds(stream)
    // A write of a turn that failed while the last sync was on its way is tried again. What waits for zeros is called by their end.
    const isUnwritten = stream.closedAs === undefined && appendedMark(stream).position > stream.written.position
    if (isUnwritten && !stream.isTurnPlanned && !writingSegments(stream).some(isBehindZeros)) planTurn(stream)
    planIdle(stream)
  })

/** One group: writes what is staged, syncs what is written, moves the watermark. Returns the failure that stands in the way. */
const flushOnce = Effect.fnUntraced(function* (stream: StreamState, isInTurn: boolean) {
  // After a release the path may belong to another stream of the same name.
  if (stream.closedAs !== undefined) return closed(stream.closedAs)
  stream.failure = undefined
  // Who is woken by what is written may want a sync of what he appends then.
  const { flushWanted } = stream
  stream.flushWanted = 0
  if (!writeOut(stream)) stream.flushWanted = Math.max(stream.flushWanted, flushWanted)
  const failure: AofError | undefined = stream.failure
  if (failure !== undefined) return failure
  const target = stream.written.mark
  const groups = writingSegments(stream).map((writing) => ({ writing, end: writing.writtenOffset }))
  let hasWaited = false
  for (const { writing, end } of groups) {
    // What has its footer, or is getting it, holds all its frames durably.
    if (writing.isTailing || writing.sealed !== undefined) continue
    const isSaving = writing === stream.active && stream.coordinator.isWanted
    if (writing.durableOffset === end && writing.isEntrySynced && !isSaving) continue
    const unsaved = isSaving ? caught(() => saveCoordinator(stream, writing)) : undefined
    if (unsaved !== undefined) return unsaved
    const { coordinatorVersion } = writing
    writing.isSyncing = true
    hasWaited = true
    const synced = syncSegment(stream, writing, { end, isInTurn })
    const error = yield* Effect.ensuring(
      synced,
      Effect.sync(() => {
        writing.isSyncing = false
      }),
    )
    if (error !== undefined) return error
    stream.coordinator.noteDurable(coordinatorVersion)
  }
  // The loop may have been started in the middle of an append, and who waits for room appends as soon as he is told.
  if (!hasWaited) yield* Effect.yieldNow
  if (stream.closedAs !== undefined) return closed(stream.closedAs)
  complete(stream, target)
  return undefined
})

/**
 * The sync that follows makes the watermark of the application durable; one that was replaced for it names it already. A new file is synced
 * once before: a power cut could leave a slot and take the header away.
 */
const saveCoordinator = (stream: StreamState, writing: WritingSegment): void => {
  if (writing.segment.isQuiet) writing.segment.leaveQuiet()
  if (writing.isSuspect || writing.isReplacing || !writing.isEntrySynced) return
  if (writing.coordinatorVersion === stream.coordinator.version) return
  repeatSlot(stream, writing)
}

const writingSegments = (stream: StreamState): ReadonlyArray<WritingSegment> =>
  stream.active === undefined ? stream.sealing : [...stream.sealing, stream.active]

/** Makes `[0, end)` of a segment durable, its directory entry too; by a replacement file when the sync fails. */
const syncSegment = Effect.fnUntraced(function* (
  stream: StreamState,
  writing: WritingSegment,
  { end, isInTurn }: { readonly end: number; readonly isInTurn: boolean },
) {
  const { counters, services } = stream
  if (!writing.isSuspect) {
    // A file that is made later may be made now, or opened again, and the disk may have no room for it.
    const unopened = caught(() => writing.file)
    if (unopened !== undefined) return unopened
    counters.syncs++
    const bytes = isPlain(stream, writing) ? end - writing.durableOffset : Number.POSITIVE_INFINITY
    const synced = yield* Effect.result(services.gauge.sync(writing.file, bytes, isInTurn))
    if (synced._tag === "Failure") {
      counters.syncFailures++
      writing.isSuspect = true
    }
  }
  if (stream.closedAs !== undefined) return closed(stream.closedAs)
  // Also when another sync of this file, that of zeros, has failed meanwhile.
  if (writing.isSuspect) {
    const replaced = yield* Effect.result(replaceFile(stream, writing))
    if (replaced._tag === "Failure") return replaced.failure as AofError
  }
  if (!writing.isEntrySynced) {
    const entry = yield* Effect.result(syncFolder(stream))
    if (entry._tag === "Failure") {
      // The entry may be forgotten like the pages of a file: only a new one makes the directory be written again.
      writing.isSuspect = true
      return entry.failure as AofError
    }
    writing.isEntrySynced = true
  }
  const syncedBytes = end - writing.durableOffset
  const isAlone = writing.journaledOffset <= writing.durableOffset
  noteSynced(stream, writing, end)
  // Zeros run ahead of those only who sync often and by themselves.
  if (syncedBytes > 0 && writing === stream.active && isAlone && ++writing.syncCount >= syncsBeforeZeros)
    preallocate(stream, writing, syncedBytes, () => planTurn(stream))
  return undefined
})

/** `[0, end)` of a segment and its directory entry are durable. */
const noteSynced = (stream: StreamState, writing: WritingSegment, end: number): void => {
  writing.durableOffset = Math.max(writing.durableOffset, end)
  stream.services.shared.settled(writing)
  // Now, as those who wait for room come in while the next segment of this group is synced.
  writing.tail.release(writing.durableOffset, writing !== stream.active && writing.durableOffset === writing.endOffset)
}

/** A batch has written what the file lacked up to `end`, and made all of it durable, with its directory entry and its directories. */
export const noteBatch = (stream: StreamState, writing: WritingSegment, end: number): void => {
  const { segment } = writing
  segment.maker = undefined
  stream.folder = "durable"
  writing.isEntrySynced = true
  if (end > writing.writtenOffset) {
    writing.writtenOffset = end
    segment.fileEnd = end
    segment.framesEnd = Math.max(segment.framesEnd, end)
  }
  noteSynced(stream, writing, end)
  planIdle(stream)
}

/** True when nothing but the bytes of a group decides how long its sync takes. */
const isPlain = (stream: StreamState, writing: WritingSegment): boolean =>
  writing === stream.active &&
  writing.isEntrySynced &&
  writing.zeroing === undefined &&
  writing.journaledOffset <= writing.durableOffset

/** What the journal holds of the active segment up to `end` is durable, and `target` with it. */
export const completeShared = (stream: StreamState, writing: WritingSegment, end: number, target: Mark): void => {
  writing.journaledOffset = Math.max(writing.journaledOffset, end)
  if (stream.closedAs !== undefined) return
  if (target.position > stream.durable.position) stream.durable.advance(target)
  if (stream.active?.writer !== undefined) stream.active.writer.watermark = stream.durable.position
  stream.durableWaiters.wake(stream.durable.position)
  wakeReady(stream)
}

const complete = (stream: StreamState, target: Mark): void => {
  const { active } = stream
  if (target.position > stream.durable.position) stream.durable.advance(target)
  if (active?.writer !== undefined) {
    active.writer.watermark = stream.durable.position
    const isSaveDue = stream.coordinator.isDue && active.isEntrySynced
    const isDue = isSaveDue || active.durableOffset - active.slotOffset >= slotStrideBytes
    if (isDue) repeatWatermark(stream, active)
  }
  stream.durableWaiters.wake(stream.durable.position)
  wakeReady(stream)
}

const needsFlush = (stream: StreamState): boolean => {
  if (isSaveWanted(stream)) return true
  const unflushed = unflushedBytes(stream)
  // A segment that was opened while a group was on its way holds nothing yet, and its start is waited for all the same.
  if (unflushed === 0) return stream.flushWanted > stream.durable.position
  const isWanted =
    stream.flushWanted > stream.durable.position || unflushed >= unsyncedBytesMax || stream.sealing.length > 0
  // While a stretch is being zeroed the rest waits in memory; the end of that plans a turn.
  return isWanted && !writingSegments(stream).some(isBehindZeros)
}

/** True when somebody waits for the watermark of the application. Without an active segment a footer has it. */
const isSaveWanted = ({ active, coordinator }: StreamState): boolean => active !== undefined && coordinator.isWanted

/** True when a segment that is to be sealed waits for a sync, as it did when its last bytes waited for zeros. */
const isUnsynced = ({ durableOffset, endOffset }: WritingSegment): boolean => endOffset > durableOffset

/** True when what is left to be written waits for zeros, which may be in a segment that is complete already. */
const isBehindZeros = ({ zeroing, writtenOffset, endOffset }: WritingSegment): boolean =>
  zeroing !== undefined && writtenOffset >= zeroing.from && endOffset > writtenOffset

/** Says in the header of the active segment how far the stream is durable. A hint: when it cannot be written nothing is lost. */
export const repeatWatermark = (stream: StreamState, writing: WritingSegment): void => {
  // Written again in a moment, when the file has what the journal has.
  if (writing.journaledOffset > writing.durableOffset || writing.isReplacing) return
  if (caught(() => repeatSlot(stream, writing)) !== undefined) writing.slotOffset = writing.durableOffset
}

const clearFailure = (stream: StreamState): void => {
  // A stream that is closing stays closed to appends.
  if (stream.blocked !== APPEND_FLUSH) return
  stream.blocked = 0
  wakeReady(stream)
}

/** Tells all who wait that the disk does not take their bytes now; the loop goes on trying. */
const failWaiters = (stream: StreamState, error: AofError): void => {
  stream.failure = error
  if (stream.blocked === 0) stream.blocked = APPEND_FLUSH
  // What has a copy elsewhere may go, so that the disk has room again.
  if (isDiskFull(error)) stream.services.tiers.services.onDiskFull()
  stream.durableWaiters.failAll(error)
  stream.writtenWaiters.failAll(error)
  stream.coordinator.waiters.failAll(error)
  failReady(stream, error)
}

/** After a quiet moment the watermark goes into the header, for readers in other processes and for recovery. */
const planIdle = (stream: StreamState): void => {
  const { active } = stream
  stream.services.poolTrim.plan()
  if (active === undefined || stream.isIdlePlanned) return
  const isOpen = active.segment.file !== undefined && !active.segment.isQuiet
  if (active.slotOffset === active.durableOffset && active.tail.start === undefined && !isOpen) return
  stream.isIdlePlanned = true
  const before = active.durableOffset
  stream.services.run(
    Effect.map(Effect.sleep(idleMs), () => {
      stream.isIdlePlanned = false
      // Who closes the stream uses the file by himself.
      if (stream.closedAs !== undefined || stream.isFlushing || stream.blocked === blockedForGood) return
      // Somebody has gone on meanwhile, perhaps in another segment: the quiet time begins anew.
      if (stream.active !== active || active.durableOffset !== before) return planIdle(stream)
      if (active.slotOffset !== active.durableOffset) repeatWatermark(stream, active)
      if (unsettledBytes(stream) > 0) return
      releaseBuffers(active)
      stream.services.poolTrim.plan()
      stream.nextBufferBytes = firstBufferBytes
      makeQuiet(stream, active)
    }),
  )
}

/** A stream that does nothing keeps no descriptor: the next append opens the file again. */
export const makeQuiet = (stream: StreamState, { segment, tail, zeroing }: WritingSegment): void => {
  if (zeroing !== undefined || stream.isTurnPlanned || tail.start !== undefined) return
  segment.isQuiet = true
  stream.services.openFiles.release(segment)
}

/** An idle stream keeps no staging memory. */
const releaseBuffers = (writing: WritingSegment): void => {
  writing.writer?.dropBuffer()
  writing.tail.release(writing.durableOffset, true)
  const { guard } = writing.segment.residency
  // A buffer that was given back may be filled by another stream; zeros stay on disk.
  guard?.resize(Math.max(writing.endOffset, Math.min(writing.zeroedEnd, guard.bytes)))
}
