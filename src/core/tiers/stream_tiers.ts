/** A stream as the tiers see it: who is told of room, and whose active segment is sealed when there is nothing else to move. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { endActiveSegment } from "../append/rollover.ts"
import { unfinishedSegmentsMax } from "../append/segment_limits.ts"
import { refreshStream } from "../read/read_only.ts"
import { blockedForGood, type StreamState, wakeReady } from "../stream/stream_state.ts"
import type { TierStream } from "./tier_services.ts"

/** A class, because there is one for each of thousands of streams: closures and an accessor of their own took twenty times as much memory. */
export class StreamOwner implements TierStream {
  readonly streamId: number
  readonly name: string
  #stream: StreamState | undefined = undefined

  constructor({ streamId, name }: { readonly streamId: number; readonly name: string }) {
    this.streamId = streamId
    this.name = name
  }

  /** Says whose it is, once and before anything else, because the two know each other. */
  attach(stream: StreamState): void {
    this.#stream = stream
  }

  get tier0BytesMax(): number | undefined {
    return this.#stream!.tier0BytesMax
  }

  get look(): Effect.Effect<void, AofError> {
    return Effect.suspend(() => refreshStream(this.#stream!))
  }

  onRoom(): void {
    tellRoom(this.#stream!)
  }

  sealableBytes(): number {
    return sealableBytes(this.#stream!)
  }

  seal(): void {
    if (this.sealableBytes() > 0) endActiveSegment(this.#stream!)
  }
}

const tellRoom = (stream: StreamState): void => {
  if (stream.closedAs !== undefined) return
  const { services } = stream
  const { clock, counters } = services.tiers.services
  if (stream.refusedSinceMs > 0) {
    counters.admissionWaits.note(Math.max(0, clock.currentTimeMillisUnsafe() - stream.refusedSinceMs))
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
