/**
 * Closing a stream: no more appends, everything durable, the sealer done, the active segment cut to length with a last watermark, so
 * that the next open finds it clean. Repeating it does nothing.
 */
import * as Effect from "effect/Effect"
import { type AofError, closed } from "../model/errors.ts"
import { flush } from "./aof.ts"
import { attempt } from "./attempt.ts"
import { repeatWatermark } from "./flusher.ts"
import { blockedForGood, failReady, type StreamState, unflushedBytes } from "./stream_state.ts"

/** Drains and closes; fails with what kept the bytes from becoming durable. What follows a failure is `releaseStream`. */
export const drainStream: (stream: StreamState) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream) {
    if (stream.closedAs !== undefined || stream.services.config.readOnly) return
    stream.blocked = blockedForGood
    failReady(stream, closed(`stream ${stream.name}`))
    yield* flush(stream)
    while (stream.isSealing || stream.isFlushing) {
      if (stream.sealFailure !== undefined) return yield* Effect.fail(stream.sealFailure)
      yield* Effect.sleep(1)
    }
    const { active } = stream
    if (active === undefined || unflushedBytes(stream) > 0) return
    while (active.zeroing !== undefined) yield* Effect.sleep(1)
    const { file } = active
    yield* file.truncate(active.endOffset)
    repeatWatermark(stream, active)
    yield* file.syncData
    yield* attempt(() => file.closeUnsafe())
  },
)

/** Ends everything that waits and gives descriptors back, at once. */
export const releaseStream = (stream: StreamState, what: string): void => {
  if (stream.closedAs !== undefined) return
  stream.closedAs = what
  stream.blocked = blockedForGood
  const error = closed(what)
  stream.durableWaiters.failAll(error)
  stream.writtenWaiters.failAll(error)
  failReady(stream, error)
  const waiters = stream.sealWaiters
  stream.sealWaiters = []
  for (const one of waiters) one()
  for (const segment of stream.catalog.entries) stream.services.openFiles.release(segment)
}
