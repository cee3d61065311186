/**
 * Trim: the point becomes durable, then the manifest says so, then the files go. What was acknowledged as trimmed never comes back;
 * a crash in between leaves files that the next open removes. The active segment stays.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { type AofError, invalidArgument, storeRefused } from "../../model/errors.ts"
import { isRecordId, segmentIndexOf } from "../../model/record_id.ts"
import { requestFlush } from "../append/flusher.ts"
import { attempt } from "../flow/attempt.ts"
import { whenAtHand } from "../read/cold_need.ts"
import { recordNumberOf } from "../read/read.ts"
import { sealAgesMs } from "./seal_age.ts"
import { checkOpen, type StreamState, type TrimPoint } from "./stream_state.ts"
import { trimPointOf } from "./trim_point.ts"
import { waitAbove } from "./waits.ts"

/**
 * Makes `before` the first record of the stream. Nothing happens when it was trimmed already. Fails `InvalidArgument` for an id that
 * is no record; interrupting leaves the trim either done or to be repeated.
 */
export const trimBefore: (stream: StreamState, before: number) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream: StreamState, before: number): Effect.fn.Return<void, AofError> {
    yield* attempt(() => checkOpen(stream))
    if (stream.services.config.readOnly)
      return yield* Effect.fail(storeRefused("trim", "a read-only one", "a writable store"))
    if (!isRecordId(before)) return yield* Effect.fail(invalidArgument("trim before", before, "a record id"))
    const first = stream.catalog.first
    const isGone = first !== undefined && segmentIndexOf(before) < first.index && first.header.firstRecordNumber > 0
    // The trim that did it may still be on its way to the disk.
    if (isGone || isTrimmed(stream, before)) return yield* finish(stream)
    const { hydrator } = stream.services.tiers.coordinator
    const recordNumber = yield* whenAtHand(hydrator, () => recordNumberOf(stream, before))
    if (before >= stream.durable.position) {
      requestFlush(stream)
      yield* waitAbove(stream.durableWaiters, before)
    }
    yield* trimTo(stream, { recordId: before, recordNumber })
  },
)

/** Trims to a point whose record is durable or the first of a segment. */
export const trimTo: (stream: StreamState, point: TrimPoint) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream, point) {
    const { manifest, fence } = stream.services
    yield* attempt(() => checkOpen(stream))
    yield* attempt(() => fence.check())
    // Another trim may have gone farther meanwhile; a point never moves back.
    if (isTrimmed(stream, point.recordId)) return yield* finish(stream)
    const { tiers } = stream.services
    const objects = stream.catalog.entries
      .filter((segment) => segment.index < segmentIndexOf(point.recordId))
      .flatMap((segment) => tiers.objectsOf(stream.streamId, segment.index))
    const sequence = manifest.append({
      type: "Trim",
      streamId: stream.streamId,
      firstRecordId: point.recordId,
      firstRecordNumber: point.recordNumber,
    })
    tiers.queueDeletes(objects, manifestReason.Trim)
    stream.pendingTrims = [...stream.pendingTrims, { point, sequence }]
    yield* finish(stream)
  },
)

/** Makes trims durable and takes away what they have left. When that fails or is interrupted, it goes on by itself. */
const finish = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.onError(
    Effect.andThen(
      stream.services.manifest.commit,
      Effect.suspend(() => removeTrimmed(stream, trimPointOf(stream))),
    ),
    () => Effect.sync(() => finishLater(stream)),
  )

const retryDelayMsMin = 250
const retryDelayMsMax = 30_000
const finishing: WeakSet<StreamState> = new WeakSet()

/**
 * The record of a trim that could not be written stays staged, and some commit takes it along: its segments go then, and not only with the next seal.
 * Neither does a file stay that could not be removed.
 */
const finishLater = (stream: StreamState): void => {
  const isLeft = (): boolean =>
    stream.closedAs === undefined && (stream.pendingTrims.length > 0 || stream.leaving !== undefined)
  if (finishing.has(stream) || !isLeft()) return
  finishing.add(stream)
  const { manifest, run } = stream.services
  const finished = Effect.gen(function* () {
    for (let delayMs = retryDelayMsMin; isLeft(); delayMs = Math.min(2 * delayMs, retryDelayMsMax)) {
      yield* Effect.sleep(delayMs)
      yield* Effect.ignore(manifest.commit)
      yield* Effect.ignore(removeTrimmed(stream, trimPointOf(stream)))
    }
    finishing.delete(stream)
  })
  run(finished)
}

/** True when a trim has gone so far, also when its record is still on its way. */
const isTrimmed = (stream: StreamState, recordId: number): boolean => {
  const point = stream.pendingTrims.at(-1)?.point ?? stream.trimPoint
  return point !== undefined && recordId <= point.recordId
}

/** Removes the files of segments that lie before a durable trim point whole: the newest one may still be on its way to the disk. */
const removeTrimmed: (stream: StreamState, point: TrimPoint | undefined) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (stream, point) {
    const { openFiles, tiers } = stream.services
    if (point === undefined || stream.closedAs !== undefined) return
    const removed = removable(stream, segmentIndexOf(point.recordId))
    for (const segment of removed) {
      segment.isTrimmed = true
      openFiles.release(segment)
      stream.leaving ??= new Set()
      stream.leaving.add(segment.residency)
    }
    tiers.forget(removed.map((segment) => segment.residency))
    // The trim holds already; who deletes the stream meanwhile takes its directory away.
    const gone = Effect.catch(removeLeaving(stream), (error: AofError) =>
      stream.closedAs === undefined ? Effect.fail(error) : Effect.void,
    )
    // A stream that gets the name of one that was deleted has files of the same names.
    stream.removing++
    yield* Effect.ensuring(
      gone,
      Effect.sync(() => stream.removing--),
    )
  })

/** Removes the files of what was trimmed. One that cannot be removed keeps no other; it fails in the end, and the next try comes back to it. */
const removeLeaving = Effect.fnUntraced(function* (stream: StreamState): Effect.fn.Return<void, AofError> {
  const { directory, tiers } = stream.services
  const { removals } = tiers.services
  const { leaving } = stream
  if (leaving === undefined) return
  let failure: AofError | undefined
  for (const residency of [...leaving]) {
    if (stream.closedAs !== undefined) return
    const { hotPath, warmPath } = residency
    const removed = yield* Effect.result(Effect.andThen(removals.remove(hotPath), removals.remove(warmPath)))
    if (removed._tag === "Failure") failure = removed.failure
    else leaving.delete(residency)
  }
  if (leaving.size === 0 && stream.leaving === leaving) stream.leaving = undefined
  if (stream.folder !== "missing") yield* directory.sync(stream.path)
  if (failure !== undefined) return yield* Effect.fail(failure)
})

/** Takes the sealed segments below `index` out of the catalog; one that is still being finished goes after its seal. */
const removable = (stream: StreamState, index: number): ReturnType<StreamState["catalog"]["removeBelow"]> => {
  const unfinished = stream.catalog.entries.find((segment) => segment.state !== "sealed")
  return stream.catalog.removeBelow(Math.min(index, unfinished?.index ?? index))
}

/** Trims what the stream's retention does not keep: whole sealed segments, by age since their seal and by bytes in all. */
export const applyRetention: (stream: StreamState) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream) {
    const { ageMs, bytes } = stream.retention
    yield* stream.services.manifest.commit
    // A file that cannot be removed must not keep all that comes after it.
    yield* Effect.catch(removeTrimmed(stream, trimPointOf(stream)), () => Effect.sync(() => finishLater(stream)))
    if ((ageMs === undefined && bytes === undefined) || stream.closedAs !== undefined) return
    const { entries } = stream.catalog
    const ages = sealAgesMs(entries, stream.services.clock)
    let sum = entries.reduce((total, segment) => total + segment.framesEnd, 0)
    let count = 0
    for (const segment of entries) {
      const isOld = ageMs !== undefined && segment.sealed !== undefined && ages[count]! >= ageMs
      const isTooMuch = bytes !== undefined && sum > bytes
      if (segment.state !== "sealed" || !(isOld || isTooMuch)) break
      sum -= segment.framesEnd
      count++
    }
    if (count === 0) return
    const next = entries[count]
    const point: TrimPoint =
      next === undefined
        ? { recordId: stream.nextIndex * 2 ** 28, recordNumber: stream.writer.nextRecordNumber }
        : { recordId: next.position(0), recordNumber: next.header.firstRecordNumber }
    yield* trimTo(stream, point)
  },
)

const ageCheckMsMin = 10
const ageCheckMsMax = 60_000

/** Applies the retention of a stream that has an age for as long as it is open. */
export const watchAge = (stream: StreamState): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (stream.closedAs === undefined && stream.retention.ageMs !== undefined) {
      yield* Effect.ignore(applyRetention(stream))
      yield* Effect.sleep(Math.min(ageCheckMsMax, Math.max(ageCheckMsMin, stream.retention.ageMs / 2)))
    }
  })
