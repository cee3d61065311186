/** A stream as the tiers see it: who is told of room, and whose active segment is sealed when there is nothing else to move. */
import * as Effect from "effect/Effect"
import { endActiveSegment } from "../append/rollover.ts"
import { unfinishedSegmentsMax } from "../append/segment_limits.ts"
import { refreshStream } from "../read/read_only.ts"
import { blockedForGood, type StreamState, wakeReady } from "../stream/stream_state.ts"
import type { TierStream } from "./tier_services.ts"

/** `stream` is asked for when something happens, because the two know each other. */
export const makeTierStream = (
  { streamId, name }: { readonly streamId: number; readonly name: string },
  stream: () => StreamState,
): TierStream => ({
  streamId,
  name,
  get tier0BytesMax() {
    return stream().tier0BytesMax
  },
  onRoom: () => tellRoom(stream()),
  sealableBytes: () => sealableBytes(stream()),
  seal: () => {
    if (sealableBytes(stream()) > 0) endActiveSegment(stream())
  },
  look: Effect.suspend(() => refreshStream(stream())),
})

const tellRoom = (stream: StreamState): void => {
  if (stream.closedAs !== undefined) return
  const { services } = stream
  const { clock, tiers } = services
  if (stream.refusedSinceMs > 0) {
    tiers.services.counters.admissionWaits.note(Math.max(0, clock.currentTimeMillisUnsafe() - stream.refusedSinceMs))
    stream.refusedSinceMs = 0
  }
  // Not at once: who gives room back may be in the middle of an append or of a rollover of this very stream.
  services.run(Effect.andThen(Effect.yieldNow, wakeAppends(stream)))
}

const wakeAppends = (stream: StreamState): Effect.Effect<void> =>
  Effect.sync(() => {
    if (stream.closedAs === undefined) wakeReady(stream)
  })

/** Bytes of the active segment when it holds records and may be sealed now; 0 when not. */
const sealableBytes = (stream: StreamState): number => {
  const { active, sealing, writer, blocked, closedAs } = stream
  if (active === undefined || closedAs !== undefined || blocked === blockedForGood) return 0
  if (sealing.length >= unfinishedSegmentsMax) return 0
  if (writer.nextRecordNumber === active.segment.header.firstRecordNumber) return 0
  return active.segment.residency.guard?.bytes ?? 0
}
