/**
 * Index and footer that an earlier process has written without telling the manifest. The last bytes of a footer, the checksum of the file, are
 * not covered by its own checksum: a manifest that took a wrong one from there would call the segment damaged for ever. Looking takes a
 * second for each few hundred MiB, so it is done behind everybody's back, as if the segment were sealed now.
 */
import * as Effect from "effect/Effect"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { IndexWalk } from "../read/index_walk.ts"
import type { StreamState } from "../stream/stream_state.ts"
import { checksumOf, sliceBytes } from "./segment_tail.ts"
import { writeAgain } from "./write_again.ts"
import type { SealedTail, WritingSegment } from "./writing_segment.ts"

/** The tail that was found, durable now; undefined when there is none, or it has to be made anew. */
export const takeFoundTail: (
  stream: StreamState,
  writing: WritingSegment,
) => Effect.Effect<SealedTail | undefined, AofError> = Effect.fnUntraced(function* (stream, writing) {
  const found = writing.foundTail
  // After a failed sync the file may lack anything, and one that has taken its place has no tail.
  if (found === undefined || writing.isSuspect) return undefined
  if (found.footer.fileGeneration !== writing.segment.header.fileGeneration) return undefined
  const { endOffset } = writing
  const bytes = new Uint8Array(found.tailBytes - 8)
  yield* attempt(() => writing.file.readUnsafe(bytes, 0, bytes.length, endOffset))
  const isIntact = (yield* checksumOf(stream, writing, bytes)) === found.checksum64
  // With the checksum of damaged bytes a scrub would find nothing: it stays the one that they do not have.
  if (!isIntact) {
    if (!(yield* hasBadFrames(stream, writing))) return undefined
    const { emit } = stream.services.tiers.services
    const segmentIndex = writing.segment.index
    emit({ name: "tier0_corrupt", level: "error", stream: stream.name, segmentIndex, reason: "Corrupt" })
  }
  // What was found may be in memory of the system only.
  const file = yield* attempt(() => writing.file)
  yield* attempt(() => writeAgain(file, endOffset, endOffset + found.tailBytes))
  yield* Effect.onError(file.syncData, () =>
    Effect.sync(() => {
      writing.isSuspect = true
    }),
  )
  return { ...found, isNoted: false }
})

const hasBadFrames = Effect.fnUntraced(function* (
  stream: StreamState,
  writing: WritingSegment,
): Effect.fn.Return<boolean, AofError> {
  const walk = new IndexWalk(writing.segment, segmentHeaderBytes, writing.endOffset)
  while (!(yield* attempt(() => walk.advance(sliceBytes)))) yield* nextTurn(stream.services.eventLoop)
  return walk.hasPassedOver
})
