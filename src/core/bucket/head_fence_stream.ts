/** What a lost root means for a stream. */
import type { Fenced, Unavailable } from "../../model/errors.ts"
import { blockedForGood, failReady, type StreamState } from "../stream/stream_state.ts"

/** Nothing is appended to the stream any more; all who wait are told. */
export const fenceStream = (stream: StreamState, error: Fenced | Unavailable): void => {
  if (stream.closedAs !== undefined) return
  stream.blocked = blockedForGood
  stream.durableWaiters.failAll(error)
  stream.writtenWaiters.failAll(error)
  stream.coordinator.waiters.failAll(error)
  failReady(stream, error)
}
