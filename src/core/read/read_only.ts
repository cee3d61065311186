/**
 * A stream opened without the lock sees what the writer has put on disk: sealed segments, and of the unsealed ones the frames that
 * check. The watermark found in slots and frame headers is its `durable`. Looking again costs a listing and the new bytes.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type AofError, isMissingFile } from "../../model/errors.ts"
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

/** Looks into all files, which the writer may meanwhile trim away, replace or move: then the look is repeated. */
const look = (stream: StreamState, report: RecoveryReport, triesLeft = 3): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { manifest } = stream.services
    const known = manifest.state.streams.get(stream.streamId)
    // Its writer has deleted it.
    if (known === undefined) return Effect.sync(() => releaseStream(stream, `stream ${stream.name}`))
    const next = makeStreamState({ ...stream })
    const found = new RecoveryReport()
    const release = Effect.sync(() => {
      for (const segment of next.catalog.entries) segment.releaseFile()
    })
    const looked = Effect.gen(function* () {
      yield* recoverStream(next, known, found)
      // A segment that was in no listing may have been sealed and moved since the manifest was read: it is not missing then.
      if (!found.isEmpty && triesLeft > 0 && (yield* manifest.refresh)) {
        yield* release
        return true
      }
      takeOver(stream, next)
      report.include(found)
      return false
    })
    const again = Effect.suspend(() => look(stream, report, triesLeft - 1))
    return Effect.matchEffect(
      Effect.onError(looked, () => release),
      {
        onSuccess: (isOutdated) => (isOutdated ? again : Effect.void),
        onFailure: (error: AofError) => {
          const isMoving = error._tag === "NotFound" || isMissingFile(error)
          return isMoving && triesLeft > 0 ? Effect.andThen(manifest.refresh, again) : Effect.fail(error)
        },
      },
    )
  })

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
  if (next.written.position < stream.written.position) {
    for (const segment of next.catalog.entries) segment.releaseFile()
    return
  }
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
  const first = next.catalog.first
  const trimmed = stream.catalog.removeBelow(first?.index ?? Number.POSITIVE_INFINITY)
  for (const segment of trimmed) {
    segment.isTrimmed = true
    stream.services.openFiles.release(segment)
  }
  stream.trimPoint = next.trimPoint
  stream.coordinatorWatermark = next.coordinatorWatermark
  Object.assign(stream.writer, next.writer)
  if (stream.written.advance(next.written.mark)) stream.writtenWaiters.wake(stream.written.position)
  if (next.durable.position > stream.durable.position && stream.durable.advance(next.durable.mark)) {
    noteDurable(stream)
    stream.durableWaiters.wake(stream.durable.position)
  }
}
