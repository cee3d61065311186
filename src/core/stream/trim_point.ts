/** Where a stream begins for readers: a trim counts from the moment at which its record is durable, whoever committed it. */
import type { StreamState, TrimPoint } from "./stream_state.ts"

/** The newest trim that no crash takes back, or undefined. */
export const trimPointOf = (stream: StreamState): TrimPoint | undefined => {
  const { pendingTrims } = stream
  if (pendingTrims.length === 0) return stream.trimPoint
  const committed = stream.services.manifest.committedSequence()
  const durable = pendingTrims.filter(({ sequence }) => sequence <= committed)
  if (durable.length > 0) {
    stream.trimPoint = durable.at(-1)!.point
    stream.pendingTrims = pendingTrims.slice(durable.length)
  }
  return stream.trimPoint
}
