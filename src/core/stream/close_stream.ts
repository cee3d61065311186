/**
 * Closing a stream: no more appends, everything durable, the sealer done, the active segment cut to length with a last watermark, so
 * that the next open finds it clean. Repeating it does nothing.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { slotOffsets } from "../../format/segment_header.ts"
import { type AofError, closed } from "../../model/errors.ts"
import { flushLocally } from "../aof.ts"
import { openNextSegment } from "../append/rollover.ts"
import { settleSegment } from "../append/sealer.ts"
import { dropSpare } from "../append/spare_file.ts"
import { writeSlot } from "../append/watermark_slot.ts"
import { segmentPath, sparePath } from "../files/paths.ts"
import { attempt, caught } from "../flow/attempt.ts"
import { endStream, releaseFiles } from "./release_stream.ts"
import type { Segment } from "./segment.ts"
import { blockedForGood, failReady, type StreamState } from "./stream_state.ts"

/** Drains and closes; fails with what kept the bytes from becoming durable. What follows a failure is `releaseStream`. */
export const drainStream: (stream: StreamState) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream) {
    if (stream.closedAs !== undefined || stream.services.config.readOnly) return
    stream.blocked = blockedForGood
    failReady(stream, closed(`stream ${stream.name}`))
    // What the application has noted since the last seal needs a segment whose header can say it.
    if (stream.active === undefined && stream.coordinator.isUnsaved) yield* attempt(() => openNextSegment(stream))
    yield* flushLocally(stream)
    // What stood in the way may be gone: the next try decides.
    stream.sealFailure = undefined
    while (isBusy(stream)) {
      if (stream.sealFailure !== undefined) return yield* Effect.fail(stream.sealFailure)
      yield* Effect.sleep(1)
    }
    if (stream.spare !== undefined) {
      dropSpare(stream)
      // One that stays is removed at the next open.
      yield* Effect.ignore(stream.services.directory.remove(sparePath(stream.path)))
    }
    yield* removeUnused(stream)
    const { active } = stream
    if (active === undefined) return
    yield* settleSegment(stream, active)
    // A batch may have begun while something above was waited for.
    while (stream.isFlushing || active.isInBatch) yield* Effect.sleep(1)
    // Nothing has happened to a segment that was found closed and not used since.
    if (active.isClosedInOrder && stream.coordinator.isDurable) return
    active.segment.leaveQuiet()
    const file = yield* attempt(() => active.file)
    yield* file.truncate(active.endOffset)
    active.segment.residency.guard?.resize(active.endOffset)
    // Twice, because two equal slots say that the file was closed in order.
    for (let slots = 0; slots < slotOffsets.length; slots++)
      yield* attempt(() => writeSlot(stream, active, stream.durable.mark))
    yield* file.syncData
    stream.coordinator.noteDurable(active.coordinatorVersion)
    // A reader that comes before the end of the stream opens it anew.
    active.segment.releaseFile()
    noteClosed(stream, active.segment)
  },
)

/** From now on nobody takes it for a segment that was only begun, should its file be missing. The record comes with the next commit of the manifest. */
const noteClosed = ({ services, streamId }: StreamState, { header, index: segmentIndex }: Segment): void => {
  const { fileGeneration, firstRecordNumber, baseOffset } = header
  const place = { segmentIndex, fileGeneration, firstRecordNumber, baseOffset }
  caught(() =>
    services.manifest.append({ type: "SegmentOpened", streamId, ...place, reasonCode: manifestReason.Closed }),
  )
}

/** A file for the next segment whose header could not be written would look like a segment of which a crash has left nothing. */
const removeUnused = Effect.fnUntraced(function* (stream: StreamState) {
  // A spare file that was renamed and could not be opened is such a file too.
  const isRenamed = stream.renamedIndex === stream.nextIndex
  const path = stream.nextFile?.file.path ?? (isRenamed ? segmentPath(stream.path, stream.nextIndex) : undefined)
  if (path === undefined) return
  stream.nextFile?.file.closeUnsafe()
  stream.nextFile = undefined
  yield* Effect.ignore(stream.services.directory.remove(path))
})

/** True while something in the background uses the stream's files. */
const isBusy = (stream: StreamState): boolean =>
  stream.isSealing ||
  stream.isFlushing ||
  stream.removing > 0 ||
  stream.spare?.isBusy === true ||
  stream.active?.zeroing !== undefined ||
  isInBatch(stream)

/** True while a batch may write to its files, by their paths: then nobody else is to have these. */
const isInBatch = ({ active, sealing }: StreamState): boolean =>
  active?.isInBatch === true || sealing.some((one) => one.isInBatch)

/** Returns when no batch writes to the files of a stream that was closed without waiting for it. */
export const untilBatchEnded: (stream: StreamState) => Effect.Effect<undefined> = Effect.fnUntraced(function* (stream) {
  while (isInBatch(stream)) yield* Effect.sleep(1)
  return undefined
})

/**
 * Ends everything that waits and returns when nothing in the background uses the files any more: what happens to the directory
 * afterwards meets no late write.
 */
export const abandonStream: (stream: StreamState, what: string) => Effect.Effect<void> = Effect.fnUntraced(
  function* (stream, what) {
    endStream(stream, what, true)
    while (isBusy(stream)) yield* Effect.sleep(1)
    releaseFiles(stream)
  },
)
