/**
 * Runs ahead of the writer with zeros, because a sync of a file that neither grows nor allocates is nearly twice as fast. Lazy:
 * only where groups are small against the step, as a writer that streams gains nothing from writing everything twice. A stretch
 * that is being zeroed is closed to the writer; its bytes wait in staging memory.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { framesEndMax } from "./segment_limits.ts"
import { growSpare } from "./spare_file.ts"
import type { WritingSegment } from "./writing_segment.ts"

const alignBytes = 4096
/** A sync of the data waits for the zeros of the same file that are being written: a millisecond for so many. */
const pieceBytesMax = 256 * 1024

/**
 * Starts zeroing the next stretch when the writer comes near its end; `syncedBytes` is the size of
 * the group just synced; `onEnd` is called when staged bytes can go out again.
 */
export const preallocate = (
  stream: StreamState,
  writing: WritingSegment,
  syncedBytes: number,
  onEnd: () => void,
): void => {
  // It may have ended while the sync was on its way, and nobody would give back what it took now.
  if (stream.closedAs !== undefined) return
  const { config } = stream.services
  const end = framesEndMax(stream.segmentBytes)
  growSpare(stream, writing, syncedBytes)
  if (config.preallocateBytesMax === 0 || writing.zeroing !== undefined || writing.isReplacing) return
  const step = Math.min(writing.zeroStepBytes, config.preallocateBytesMax)
  if (syncedBytes * 4 > step) {
    writing.zeroStepBytes = Math.min(writing.zeroStepBytes * 2, config.preallocateBytesMax)
    return
  }
  if (writing.zeroedEnd - writing.endOffset > step / 2) return
  const from = Math.max(writing.zeroedEnd, Math.ceil(writing.endOffset / alignBytes) * alignBytes)
  const to = Math.min(from + Math.min(step, pieceBytesMax), end)
  if (to <= from || !holdZeros(stream, writing, to)) return
  writing.zeroing = { from, to }
  writing.zeroStepBytes = Math.min(writing.zeroStepBytes * 2, config.preallocateBytesMax)
  stream.services.run(
    Effect.map(Effect.result(fillWithZeros(stream, writing, { from, to })), (result) => {
      writing.zeroing = undefined
      // The zeros are not needed for anything.
      writing.zeroedEnd = result._tag === "Success" ? to : end
      if (writing.endOffset > from) onEnd()
    }),
  )
}

/** Zeros are not worth the room that records need. */
const holdZeros = (stream: StreamState, { segment }: WritingSegment, to: number): boolean => {
  const { tier0 } = stream.services.tiers
  const { guard } = segment.residency
  if (guard === undefined || to <= guard.bytes) return true
  if (!tier0.fits(stream.owner, to - guard.bytes)) return false
  guard.resize(to)
  return true
}

/**
 * Through a descriptor of its own: the system tells each descriptor once that a write was lost, and the sync of the zeros must not
 * hear it in place of the sync of the data. When it does hear of one, the data is not trusted either.
 */
const fillWithZeros = (
  stream: StreamState,
  writing: WritingSegment,
  { from, to }: { readonly from: number; readonly to: number },
): Effect.Effect<void, AofError> =>
  Effect.flatMap(
    attempt(() => stream.services.directory.openUnsafe(writing.segment.path, "write")),
    (file) =>
      Effect.ensuring(
        Effect.tapError(file.zeroFill(from, to), (error) =>
          Effect.sync(() => {
            if (!isNoRoom(error)) writing.isSuspect = true
          }),
        ),
        Effect.sync(() => file.closeUnsafe()),
      ),
  )

/** True when zeros were refused for want of room, before anything was synced. */
const isNoRoom = (error: AofError): boolean =>
  error._tag === "Unavailable" && (error.code === "ENOSPC" || error.code === "EDQUOT") && !error.what.startsWith("sync")
