/** The abrupt end of a stream: all who wait are told, all descriptors go back. Nothing here waits. */
import { manifestReason } from "../../format/manifest_reason.ts"
import { closed } from "../../model/errors.ts"
import { nobody } from "../../state/nobody.ts"
import { caught } from "../flow/attempt.ts"
import { blockedForGood, failReady, type StreamState } from "./stream_state.ts"

/** Ends everything that waits and gives descriptors back, at once. */
export const releaseStream = (stream: StreamState, what: string): void => {
  if (stream.closedAs !== undefined) return
  endStream(stream, what)
  releaseFiles(stream)
}

/** Gives all descriptors back. */
export const releaseFiles = (stream: StreamState): void => {
  for (const segment of stream.catalog.entries) stream.services.openFiles.release(segment)
  stream.nextFile?.file.closeUnsafe()
  stream.nextFile = undefined
}

/** Closes the stream for all who use it and tells those who wait. Of one that is deleted nothing is written any more. */
export const endStream = (stream: StreamState, what: string, isDeleted = false): void => {
  if (stream.closedAs !== undefined) return
  if (stream.hasLeftOut && !isDeleted) noteLeftOut(stream)
  stream.services.shared.forget(stream, isDeleted)
  stream.closedAs = what
  stream.blocked = blockedForGood
  stream.services.tiers.removeStream(stream.owner)
  for (const one of stream.sealing) one.tail.abandon()
  stream.active?.tail.abandon()
  stream.spare?.guard.release()
  const error = closed(what)
  stream.durableWaiters.failAll(error)
  stream.writtenWaiters.failAll(error)
  stream.coordinator.waiters.failAll(error)
  failReady(stream, error)
  const waiters = stream.sealWaiters
  stream.sealWaiters = nobody
  for (const one of waiters) one()
}

/** Whoever opens the stream next has to go on above what was left out. A manifest that takes nothing any more is not closed in order. */
const noteLeftOut = ({ services, streamId, nextIndex }: StreamState): void => {
  const none = { fileGeneration: 0, firstRecordNumber: 0, baseOffset: 0, reasonCode: manifestReason.Missing }
  caught(() => services.manifest.append({ type: "SegmentOpened", streamId, segmentIndex: nextIndex - 1, ...none }))
}
