/** The end of a stream that nobody has open any more: first the manifest says that it is deleted, and then its directory goes. */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import type { AofError } from "../../model/errors.ts"
import type { ManifestStream } from "../../state/manifest_state.ts"
import { deletedPath, streamPath, streamsPath } from "../files/paths.ts"
import type { StreamServices } from "./stream_state.ts"

/** Says durably that the stream is deleted, and its objects with it; nothing works on its files any more afterwards. */
export const noteDeleted = (
  { tiers, manifest }: StreamServices,
  { streamId, tiers: inTiers }: ManifestStream,
): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const residencies = [...tiers.segments.ofStream(streamId).values()]
    const objects = [...inTiers.keys()].flatMap((index) => tiers.objectsOf(streamId, index))
    tiers.forget(residencies)
    manifest.append({ type: "StreamDeleted", streamId })
    tiers.queueDeletes(objects, manifestReason.StreamDeleted)
    return Effect.andThen(tiers.coordinator.cancel(residencies), manifest.commit)
  })

/** Removes the directory of a stream that is noted to be deleted. By another name first: the next stream of this one may come at any time. */
export const removeFolder: (services: StreamServices, name: string, streamId: number) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* ({ config, directory }, name, streamId) {
    const path = streamPath(config.root, name)
    if ((yield* directory.kind(path)) === "missing") return
    const target = deletedPath(config.root, streamId)
    yield* directory.rename(path, target)
    yield* directory.sync(streamsPath(config.root))
    yield* directory.removeDirectory(target)
    yield* directory.sync(streamsPath(config.root))
  })
