/**
 * A root that was made from its bucket goes on above every record id that the writer before may have given out: it may have opened segments that
 * the bucket never heard of. So many indexes are left out, and the manifest says so.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { AofError } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"

/** Indexes that are left out in each stream: of 2^25 in all. */
export const restoreGap = 4096

/** Leaves indexes out in all streams, durably, and makes their directories. */
export const leaveGaps: (
  services: StreamServices,
  streams: ReadonlyArray<StreamState>,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* ({ manifest, directory }, streams) {
  for (const stream of streams) {
    yield* directory.makeDirectory(stream.path)
    stream.folder = "made"
    stream.nextIndex += restoreGap
    const { streamId, nextIndex } = stream
    const none = { fileGeneration: 0, firstRecordNumber: 0, baseOffset: 0 }
    const reasonCode = manifestReason.Missing
    yield* attempt(() =>
      manifest.append({ type: "SegmentOpened", streamId, segmentIndex: nextIndex - 1, ...none, reasonCode }),
    )
  }
  yield* manifest.commit
})

/**
 * Notes that no segment has a local copy: none is looked for, and brought, as if it were lost. Of one that is not in the bucket either this says
 * that it is lost for good.
 */
export const noteNothingLocal = ({ manifest }: StreamServices): Effect.Effect<void, AofError> =>
  attempt(() => {
    const reasonCode = manifestReason.Missing
    for (const { streamId, sealed, tiers } of manifest.state.streams.values()) {
      for (const segmentIndex of [...sealed.keys()]) {
        const { isHotEvicted = false, isWarmEvicted = false } = tiers.get(segmentIndex) ?? {}
        const evicted = { type: "LocalEvicted", streamId, segmentIndex, bytes: 0, reasonCode } as const
        if (!isHotEvicted) manifest.append({ ...evicted, tier: 0 })
        if (!isWarmEvicted) manifest.append({ ...evicted, tier: 1 })
      }
    }
  })
