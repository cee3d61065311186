/**
 * The directories of one stream: made with its first segment, because a stream without records needs none, and made durable with the first sync
 * of an entry in them, whoever made them: a process that was killed in between has left some that the next power cut takes away.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { streamPath } from "../files/paths.ts"
import type { StreamState } from "./stream_state.ts"

/** Makes the directories unless they are there. Throws `Unavailable`. */
export const makeFolderUnsafe = (stream: StreamState): void => {
  if (stream.folder !== "missing") return
  const { config, directory } = stream.services
  directory.makeDirectoryUnsafe(streamPath(config.root, stream.name))
  directory.makeDirectoryUnsafe(stream.path)
  stream.services.streamsFolder.noteChange()
  stream.folder = "made"
}

/** Makes the entries of all segments durable. */
export const syncFolder = (stream: StreamState): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { config, directory } = stream.services
    const own = directory.sync(stream.path)
    if (stream.folder === "durable") return own
    const parents = Effect.andThen(
      stream.services.streamsFolder.sync,
      directory.sync(streamPath(config.root, stream.name)),
    )
    return Effect.map(Effect.andThen(parents, own), () => {
      stream.folder = "durable"
    })
  })
