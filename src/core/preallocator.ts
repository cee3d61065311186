/**
 * Runs ahead of the writer with zeros, because a sync of a file that neither grows nor allocates is nearly twice as fast. Lazy:
 * only where groups are small against the step, as a writer that streams gains nothing from writing everything twice. A stretch
 * that is being zeroed is closed to the writer; its bytes wait in staging memory.
 */
import * as Effect from "effect/Effect"
import { attempt } from "./attempt.ts"
import { sparePath } from "./paths.ts"
import { framesEndMax, spareZeroBytes } from "./segment_limits.ts"
import type { StreamState } from "./stream_state.ts"
import type { WritingSegment } from "./writing_segment.ts"

const alignBytes = 4096
const pieceBytesMax = 1024 * 1024

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
  const { config } = stream.services
  const end = framesEndMax(stream.segmentBytes)
  if (stream.fillsSegments && stream.spare === "none" && writing.writtenOffset > end / 2) prepareSpare(stream)
  if (config.preallocateBytesMax === 0 || writing.zeroing !== undefined || writing.isReplacing) return
  const step = Math.min(writing.zeroStepBytes, config.preallocateBytesMax)
  if (syncedBytes * 4 > step) {
    writing.zeroStepBytes = Math.min(writing.zeroStepBytes * 2, config.preallocateBytesMax)
    return
  }
  if (writing.zeroedEnd - writing.endOffset > step / 2) return
  const from = Math.max(writing.zeroedEnd, Math.ceil(writing.endOffset / alignBytes) * alignBytes)
  const to = Math.min(from + Math.min(step, pieceBytesMax), end)
  if (to <= from) return
  writing.zeroing = { from, to }
  writing.zeroStepBytes = Math.min(writing.zeroStepBytes * 2, config.preallocateBytesMax)
  stream.services.run(
    Effect.map(Effect.result(writing.file.zeroFill(from, to)), (result) => {
      writing.zeroing = undefined
      // A failure shows again when data is written there; the zeros are not needed for anything.
      writing.zeroedEnd = result._tag === "Success" ? to : end
      if (writing.endOffset > from) onEnd()
    }),
  )
}

/** Makes the file for the next segment ready, so that rollover creates and allocates nothing. */
const prepareSpare = (stream: StreamState): void => {
  stream.spare = "preparing"
  const { directory } = stream.services
  const path = sparePath(stream.path)
  const prepared = Effect.gen(function* () {
    yield* directory.remove(path)
    const file = yield* attempt(() => directory.openUnsafe(path, "create"))
    yield* Effect.ensuring(
      file.zeroFill(0, spareZeroBytes(stream.segmentBytes, stream.services.config.preallocateBytesMax)),
      Effect.sync(() => file.closeUnsafe()),
    )
    yield* directory.sync(stream.path)
  })
  stream.services.run(
    Effect.map(Effect.result(prepared), (result) => {
      stream.spare = result._tag === "Success" ? "ready" : "none"
    }),
  )
}
