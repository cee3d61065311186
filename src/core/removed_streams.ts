/** What is left of streams that are gone: removed when a root is opened, or put aside where nobody knows what it is. */
import * as Effect from "effect/Effect"
import type { AofError } from "../model/errors.ts"

/** Finishes the removal of streams that were deleted before a crash, and puts directories aside that no record names. */
export const removeDeleted = Effect.fnUntraced(function* ({ config, directory, manifest }: StreamServices) {
  const path = streamsPath(config.root)
  for (const entry of yield* directory.list(path)) {
    if (entry.name.startsWith(".deleted-")) yield* directory.removeDirectory(`${path}/${entry.name}`)
    else if (!manifest.state.streamsByName.has(entry.name)) yield* putDirectoryAside({ config, directory }, entry.name)
  }
  yield* directory.sync(path)
})

/** A directory without segments was made just before a crash; one with segments may be all that is left of a damaged manifest. */
const putDirectoryAside = Effect.fnUntraced(function* (
  { config, directory }: Pick<StreamServices, "config" | "directory">,
  name: string,
) {
  const segments = yield* directory.list(segmentsPath(config.root, name))
  if (segments.length === 0) return yield* directory.removeDirectory(streamPath(config.root, name))
  const quarantine = quarantinePath(config.root)
  yield* directory.makeDirectory(quarantine)
  const taken = new Set((yield* directory.list(quarantine)).map((entry) => entry.name))
  let target = name
  for (let i = 1; taken.has(target); i++) target = `${name}.${i}`
  yield* directory.rename(streamPath(config.root, name), `${quarantine}/${target}`)
  yield* directory.sync(quarantine)
})
