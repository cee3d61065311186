/**
 * Finds streams that the manifest does not know (any more), because the record that made them was lost: their directories are there, and
 * every file in them names the stream. Their records become part of the manifest again.
 */
import * as Effect from "effect/Effect"
import { decodeSealedPointer, sealedPointer } from "../../format/sealed_pointer.ts"
import { decodeSegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { isStreamName } from "../../model/stream_name.ts"
import {
  pointerPath,
  segmentIndexOfName,
  segmentIndexOfWarmName,
  segmentsPath,
  streamsPath,
  warmFolder,
} from "../files/paths.ts"
import { readStart } from "../files/read_start.ts"
import { attempt } from "../flow/attempt.ts"
import type { RestoreServices } from "./repair_copies.ts"
import { type ReadBytes, readWarmFacts } from "./repair_facts.ts"

/** A stream that is known again. */
export interface AdoptedStream {
  readonly name: string
  readonly streamId: number
}

/**
 * Makes streams known again. `isDamaged` says that records may be missing from the manifest: otherwise a directory that it does not know,
 * of a stream whose id it has given out, is what is left of one that was deleted.
 */
export const adoptStreams: (
  services: RestoreServices,
  isDamaged: boolean,
) => Effect.Effect<ReadonlyArray<AdoptedStream>, AofError> = Effect.fnUntraced(function* (services, isDamaged) {
  const { directory, root, state } = services
  const adopted: Array<AdoptedStream> = []
  // As the manifest has it: each stream that is adopted raises it above others whose names come later.
  const { nextStreamId } = state
  for (const { name, isDirectory } of yield* directory.list(streamsPath(root))) {
    if (!isDirectory || !isStreamName(name) || state.streamsByName.has(name)) continue
    const streamId = yield* streamIdOf(services, name)
    if (streamId === undefined) continue
    const known = state.streams.get(streamId)
    const isNameless = known?.name === ""
    const isUnknown = known === undefined && (isDamaged || streamId >= nextStreamId)
    if (!isNameless && !isUnknown) continue
    services.append({ type: "StreamCreated", streamId, name })
    // A stream that was deleted stays so, whatever lies there.
    if (state.streamsByName.get(name)?.streamId === streamId) adopted.push({ name, streamId })
  }
  return adopted
})

/** What most files in a stream's directory say that it is; undefined when none says anything. */
const streamIdOf = Effect.fnUntraced(function* (
  services: RestoreServices,
  name: string,
): Effect.fn.Return<number | undefined, AofError> {
  const { directory, root } = services
  const votes = new Map<number, number>()
  const vote = (streamId: number | undefined): void => {
    if (streamId !== undefined && streamId > 0) votes.set(streamId, (votes.get(streamId) ?? 0) + 1)
  }
  const folder = segmentsPath(root, name)
  const pointer = yield* readStart(directory, pointerPath(folder), sealedPointer.sizeBytes)
  vote(pointer === undefined ? undefined : decodeSealedPointer(pointer)?.streamId)
  for (const entry of yield* directory.list(folder)) {
    if (segmentIndexOfName(entry.name) === undefined) continue
    vote(yield* Effect.scoped(idOfSegment(services, `${folder}/${entry.name}`)))
  }
  const warm = warmFolder(root, name)
  for (const entry of yield* directory.list(warm)) {
    if (segmentIndexOfWarmName(entry.name) === undefined) continue
    vote(yield* Effect.scoped(idOfWarm(services, `${warm}/${entry.name}`)))
    if (votes.size > 0) break
  }
  return [...votes].sort(([, one], [, other]) => other - one)[0]?.[0]
})

const openBytes = (services: RestoreServices, path: string) =>
  Effect.map(
    Effect.acquireRelease(
      attempt(() => services.directory.openUnsafe(path, "read")),
      (file) => Effect.sync(() => file.closeUnsafe()),
    ),
    (file): ReadBytes =>
      (offset, length) => {
        const buffer = new Uint8Array(length)
        return Effect.map(file.read(buffer, 0, length, offset), (count) => buffer.subarray(0, count))
      },
  )

const isOwn = (services: RestoreServices, rootId: Uint8Array): boolean =>
  rootId.every((byte, at) => byte === services.rootId[at])

const idOfSegment = Effect.fnUntraced(function* (services: RestoreServices, path: string) {
  const read = yield* openBytes(services, path)
  const header = decodeSegmentHeader(yield* read(0, segmentHeaderBytes))
  return header !== undefined && isOwn(services, header.rootId) ? header.streamId : undefined
})

const idOfWarm = Effect.fnUntraced(function* (services: RestoreServices, path: string) {
  const size = yield* services.directory.sizeOf(path)
  if (size === undefined) return undefined
  const facts = yield* readWarmFacts(services.compressor, yield* openBytes(services, path), size)
  return facts !== undefined && isOwn(services, facts.header.rootId) ? facts.header.streamId : undefined
})
