/**
 * Keeps the watermark that the application sets: soon after it was set, in a slot of the active segment, where a killed process leaves
 * it; and durably when somebody asks. A stream without an active segment opens the next one for it. Setting it costs nothing but the
 * first of a while, which starts a fiber.
 */
import * as Effect from "effect/Effect"
import { type AofError, isDiskFull } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import { appendedMark, blockedForGood, checkOpen, type StreamState, unsettledBytes } from "../stream/stream_state.ts"
import { nextSeal, waitAbove } from "../stream/waits.ts"
import { makeQuiet, startFlushing } from "./flusher.ts"
import { openNextSegment } from "./rollover.ts"
import { unfinishedSegmentsMax } from "./segment_limits.ts"
import { repeatSlot } from "./watermark_slot.ts"

const delayMsMin = 10
const delayMsMax = 250

/** Has it written soon. */
export const planSave = (stream: StreamState): void => {
  const { coordinator, services } = stream
  if (coordinator.isPlanned || !coordinator.isUnsaved) return
  coordinator.isPlanned = true
  services.run(saveSoon(stream))
}

const saveSoon = (stream: StreamState): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { coordinator } = stream
    let delayMs = delayMsMin
    for (;;) {
      yield* Effect.sleep(delayMs)
      if (isOver(stream) || !coordinator.isUnsaved) break
      // What stands in the way, or fails, may do so for a moment only.
      yield* Effect.ignore(trySave(stream))
      delayMs = Math.min(delayMsMax, delayMs * 2)
      if (!coordinator.isUnsaved) break
    }
    coordinator.isPlanned = false
  })

/** Who closes the stream writes it by himself, and one that has lost its root writes nothing. */
const isOver = ({ blocked, closedAs, services }: StreamState): boolean =>
  closedAs !== undefined || blocked === blockedForGood || services.fence.error !== undefined

/** Writes it unless something stands in the way. */
const trySave = Effect.fnUntraced(function* (stream: StreamState) {
  if (stream.isFlushing) {
    stream.coordinator.isDue = true
    return
  }
  if (stream.active === undefined) {
    // A footer that is being made names it.
    if (stream.sealing.length > 0 || !hasRoom(stream)) return
    yield* attempt(() => openNextSegment(stream))
  }
  const active = stream.active!
  // The file is made when the journal gives its bytes to it.
  if (active.segment.maker !== undefined && unsettledBytes(stream) > 0) return
  // A power cut could leave a slot and take the header away, which would be damage.
  if (!active.isEntrySynced) {
    stream.coordinator.isDue = true
    return startFlushing(stream)
  }
  // What was appended before comes first.
  if (unsettledBytes(stream) > 0 && appendedMark(stream).position > stream.written.position) return
  if (active.isReplacing) return
  if (active.isSuspect) {
    // Nothing else has its file replaced while nothing is appended.
    stream.coordinator.wanted = Math.max(stream.coordinator.wanted, stream.coordinator.version)
    return startFlushing(stream)
  }
  yield* attempt(() => repeatSlot(stream, active))
  if (unsettledBytes(stream) === 0) makeQuiet(stream, active)
})

const hasRoom = ({ owner, services }: StreamState): boolean => services.tiers.tier0.hasRoom(owner, firstBytes)

/** What the file of an empty segment takes, and more. */
const firstBytes = 8192

/** Makes durable what was set before the call; the effect may be run later. */
export const saveCoordinator = (stream: StreamState): Effect.Effect<void, AofError> => {
  const { isDurable, version } = stream.coordinator
  return isDurable ? Effect.void : saveDurably(stream, version)
}

const saveDurably: (stream: StreamState, version: number) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (stream, version) {
    const { coordinator } = stream
    while (coordinator.durable < version) {
      yield* attempt(() => checkOpen(stream))
      // The end of a stream in order makes it durable.
      if (stream.blocked !== blockedForGood) {
        if (stream.active === undefined && isInFooter(stream)) {
          yield* nextSeal(stream)
          continue
        }
        yield* Effect.tapError(
          attempt(() => openForIt(stream)),
          (error) => Effect.sync(() => noteFull(stream, error)),
        )
        coordinator.wanted = Math.max(coordinator.wanted, version)
        startFlushing(stream)
      }
      yield* waitAbove(coordinator.waiters, version - 1)
    }
  },
)

/** True while a footer is being made that names it. */
const isInFooter = ({ sealing, sealFailure }: StreamState): boolean => sealing.length > 0 && sealFailure === undefined

const openForIt = (stream: StreamState): void => {
  if (stream.active !== undefined) return
  if (stream.sealing.length >= unfinishedSegmentsMax && stream.sealFailure !== undefined) throw stream.sealFailure
  openNextSegment(stream)
}

const noteFull = (stream: StreamState, error: AofError): void => {
  if (isDiskFull(error)) stream.services.tiers.services.onDiskFull()
}
