/**
 * A stream opened without the lock sees what the writer has put on disk: sealed segments, and of the unsealed ones the frames that
 * check. The watermark found in slots and frame headers is its `durable`. Looking again costs a listing and the new bytes.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../model/errors.ts"
import { recoverStream } from "./recovery.ts"
import { RecoveryReport } from "./recovery_report.ts"
import { makeStreamState, type StreamState } from "./stream_state.ts"

/** How often a follower in another process looks again. */
export const refreshIntervalMs = 25

/** Looks again and wakes those who wait for what is new. Interrupting it leaves the view as it was. */
export const refreshStream: (stream: StreamState) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream) {
    const { manifest } = stream.services
    yield* manifest.refresh
    const known = manifest.state.streams.get(stream.streamId)
    if (known === undefined || stream.closedAs !== undefined) return
    const next = makeStreamState({ ...stream })
    yield* recoverStream(next, known, new RecoveryReport())
    takeOver(stream, next)
  },
)

/** Looks again every `refreshIntervalMs` for as long as somebody waits. */
export const startPolling = (stream: StreamState): void => {
  if (stream.isPolling || !stream.services.config.readOnly) return
  stream.isPolling = true
  const isWaitedFor = (): boolean => !stream.durableWaiters.isEmpty || !stream.writtenWaiters.isEmpty
  const poll = Effect.gen(function* () {
    yield* Effect.sleep(refreshIntervalMs)
    while (stream.closedAs === undefined && isWaitedFor()) {
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
  if (next.written.position < stream.written.position) return
  for (const segment of next.catalog.entries) {
    const before = stream.catalog.get(segment.index)
    if (before === undefined || before.header.fileGeneration !== segment.header.fileGeneration) {
      stream.catalog.add(segment)
    } else {
      before.framesEnd = Math.max(before.framesEnd, segment.framesEnd)
      if (segment.state === "sealed") before.becomeSealed(segment)
      segment.releaseFile()
    }
  }
  const first = next.catalog.first
  if (first !== undefined) stream.catalog.removeBelow(first.index)
  stream.trimPoint = next.trimPoint
  stream.coordinatorWatermark = next.coordinatorWatermark
  Object.assign(stream.writer, next.writer)
  if (stream.written.advance(next.written.mark)) stream.writtenWaiters.wake(stream.written.position)
  if (next.durable.position > stream.durable.position && stream.durable.advance(next.durable.mark)) {
    stream.durableWaiters.wake(stream.durable.position)
  }
}
