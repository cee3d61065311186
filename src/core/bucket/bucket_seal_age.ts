/** Seals active segments of some age, so that they go up: it bounds what is lost with the machine. One loop for all streams of a manager. */
import * as Effect from "effect/Effect"
import { endActiveSegment } from "../append/rollover.ts"
import { unfinishedSegmentsMax } from "../append/segment_limits.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import { monotonicMs } from "../flow/steady_clock.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"

/** How often the streams are looked at, as a share of the age. */
const looksInAge = 4
const lookMsMin = 5

/** Looks at the streams for as long as the manager is open. */
export const watchSealAge = (
  { clock, fence }: Pick<StreamServices, "clock" | "fence">,
  options: { readonly sealAfterMs: number; readonly streams: ReadonlyMap<string, StreamState> },
): Effect.Effect<void> => {
  const { sealAfterMs, streams } = options
  const lookMs = Math.max(lookMsMin, Math.floor(sealAfterMs / looksInAge))
  /** When a segment was last seen without records: those in it have come after. */
  const emptyMs = new WeakMap<WritingSegment, number>()
  let before = monotonicMs(clock)
  const look = Effect.sync(() => {
    const nowMs = monotonicMs(clock)
    for (const stream of streams.values()) {
      const { active } = stream
      if (active === undefined || stream.closedAs !== undefined || stream.blocked < 0) continue
      if (stream.writer.nextRecordNumber === active.segment.header.firstRecordNumber) {
        emptyMs.set(active, nowMs)
        continue
      }
      const sinceMs = emptyMs.get(active) ?? before
      emptyMs.set(active, sinceMs)
      // The next look would be too late.
      const isOld = nowMs + lookMs > sinceMs + sealAfterMs
      if (isOld && stream.sealing.length < unfinishedSegmentsMax) endActiveSegment(stream)
    }
    before = nowMs
  })
  return Effect.gen(function* () {
    while (fence.error === undefined) {
      yield* Effect.sleep(lookMs)
      yield* look
    }
  })
}
