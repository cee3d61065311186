/**
 * A stream opened without the lock sees what the writer has put on disk: sealed segments, and of the unsealed ones the frames that
 * check. The watermark found in slots and frame headers is its `durable`. Looking again costs a listing and the new bytes.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type AofError, isMissingFile, unavailable } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import { recoverStream } from "../recovery/recovery.ts"
import { RecoveryReport } from "../recovery/recovery_report.ts"
import { releaseStream } from "../stream/release_stream.ts"
import { makeStreamState, noteDurable, type StreamState } from "../stream/stream_state.ts"

/** How often a follower in another process looks again. */
export const refreshIntervalMs = 25

/** Looks again and wakes those who wait for what is new. Interrupting it leaves the view as it was. */
export const refreshStream = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    // One at a time: an older look must not undo what a newer one has found.
    let gate = gates.get(stream)
    if (gate === undefined) gates.set(stream, (gate = Semaphore.makeUnsafe(1)))
    return gate.withPermit(refreshNow(stream))
  })

const gates: WeakMap<StreamState, Semaphore.Semaphore> = new WeakMap()

const refreshNow: (stream: StreamState) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream) {
  yield* stream.services.manifest.refresh
  if (stream.closedAs === undefined) yield* look(stream, new RecoveryReport())
})

/** The first look at a stream, which is new. What was out of order is added to `report`. */
export const openView: (stream: StreamState, report: RecoveryReport) => Effect.Effect<void, AofError> = (
  stream,
  report,
) => look(stream, report)

/** Looks in a row that a writer may overtake. */
const looksMax = 16

/**
 * Looks into all files, which the writer may meanwhile seal, move, replace or trim away. What is missing then is believed when the manifest says
 * nothing new, or when a look that went by all that was known then finds it missing again.
 */
const look: (stream: StreamState, report: RecoveryReport) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream, report) {
    const { manifest } = stream.services
    let before: ReadonlySet<string> = new Set()
    for (let tries = 1; ; tries++) {
      const found = new RecoveryReport()
      const looked = yield* Effect.result(lookOnce(stream, found, before))
      if (looked._tag === "Success" && looked.success) return report.include(found)
      if (looked._tag === "Failure") {
        const isMoving = looked.failure._tag === "NotFound" || isMissingFile(looked.failure)
        if (!isMoving || tries === looksMax) return yield* Effect.fail(looked.failure)
        yield* manifest.refresh
      } else if (tries === looksMax) {
        return yield* Effect.fail(unavailable("looking at a stream that changes all the time", "EAGAIN", stream.name))
      }
      before = found.places
    }
  },
)

/** Looks once and shows what was seen; false when the manifest has become newer and what is missing, unlike `before`, may be explained by it. */
const lookOnce = (
  stream: StreamState,
  found: RecoveryReport,
  before: ReadonlySet<string>,
): Effect.Effect<boolean, AofError> =>
  Effect.suspend(() => {
    const { manifest } = stream.services
    const readSequence = manifest.readSequence()
    const known = manifest.state.streams.get(stream.streamId)
    // Its writer has deleted it.
    if (known === undefined) releaseDeleted(stream)
    if (known === undefined || stream.closedAs !== undefined) return Effect.succeed(true)
    const next = makeStreamState({ ...stream })
    const looked = Effect.gen(function* () {
      yield* recoverStream(next, known, found)
      const isNews = [...found.places].some((place) => !before.has(place))
      if (isNews) yield* manifest.refresh
      // Somebody else may have read what is new: what counts is what this look went by.
      const isOutdated = isNews && manifest.readSequence() !== readSequence
      if (isOutdated || stream.closedAs !== undefined) discard(stream, next)
      else takeOver(stream, next)
      return !isOutdated
    })
    return Effect.onError(looked, () => Effect.sync(() => discard(stream, next)))
  })

/** Lets go of the streams that their writer has deleted; returns how far the manifest was read, for the next time. */
export const releaseDeletedStreams = (
  manifest: ManifestLog,
  streams: Map<string, StreamState>,
  lastSequence: number,
): number => {
  const sequence = manifest.readSequence()
  if (sequence === lastSequence) return sequence
  for (const [name, stream] of streams) {
    if (manifest.state.streams.has(stream.streamId)) continue
    releaseDeleted(stream)
    streams.delete(name)
  }
  return sequence
}

const releaseDeleted = (stream: StreamState): void => {
  const { tiers } = stream.services
  releaseStream(stream, `stream ${stream.name}`)
  tiers.forget([...tiers.segments.ofStream(stream.streamId).values()])
}

/** Gives back what a look has opened. What readers hold is told again when its file goes. */
const discard = (stream: StreamState, next: StreamState): void => {
  for (const segment of next.catalog.entries) {
    segment.releaseFile()
    stream.catalog.get(segment.index)?.attach()
  }
}

/** Looks again every `refreshIntervalMs` for as long as somebody waits. */
export const startPolling = (stream: StreamState): void => {
  if (stream.isPolling || !stream.services.config.readOnly) return
  stream.isPolling = true
  const isWaitedFor = (): boolean => !stream.durableWaiters.isEmpty || !stream.writtenWaiters.isEmpty
  const poll = Effect.gen(function* () {
    yield* Effect.sleep(refreshIntervalMs)
    // Once even if nobody waits: some only ask from time to time.
    for (let isFirst = true; stream.closedAs === undefined && (isFirst || isWaitedFor()); isFirst = false) {
      const result = yield* Effect.result(refreshStream(stream))
      if (result._tag === "Failure") {
        stream.durableWaiters.failAll(result.failure)
        stream.writtenWaiters.failAll(result.failure)
      }
      yield* Effect.sleep(refreshIntervalMs)
    }
    stream.isPolling = false
  })
  stream.services.run(poll)
}

/** Moves what `next` found into the state that readers hold; marks only go forward. */
const takeOver = (stream: StreamState, next: StreamState): void => {
  if (next.written.position < stream.written.position) return discard(stream, next)
  for (const segment of next.catalog.entries) {
    const before = stream.catalog.get(segment.index)
    if (before === undefined) {
      stream.catalog.add(segment)
    } else {
      // Readers hold the segment: they go on in the replacement, in which every record has kept its id.
      if (before.header.fileGeneration !== segment.header.fileGeneration) before.takeReplacement(segment)
      before.framesEnd = Math.max(before.framesEnd, segment.framesEnd)
      if (segment.state === "sealed") before.becomeSealed(segment)
      segment.releaseFile()
      before.attach()
    }
  }
  const trimmed = stream.catalog.removeBelow(segmentIndexOf(next.trimPoint?.recordId ?? 0))
  for (const segment of trimmed) segment.isTrimmed = true
  const lost = stream.catalog.entries.filter(({ index }) => next.catalog.get(index) === undefined)
  for (const segment of lost) {
    segment.isLost = true
    stream.catalog.remove(segment.index)
  }
  for (const segment of [...trimmed, ...lost]) stream.services.openFiles.release(segment)
  stream.services.tiers.forget(trimmed.map(({ residency }) => residency))
  stream.trimPoint = next.trimPoint
  stream.coordinator.value = next.coordinator.value
  Object.assign(stream.writer, next.writer)
  if (stream.written.advance(next.written.mark)) stream.writtenWaiters.wake(stream.written.position)
  if (next.durable.position > stream.durable.position && stream.durable.advance(next.durable.mark)) {
    noteDurable(stream)
    stream.durableWaiters.wake(stream.durable.position)
  }
}
