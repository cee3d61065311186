/** The files of a manifest's directory. */
import * as Effect from "effect/Effect"
import { parseManifestFileName } from "../../format/manifest_chunk.ts"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"

/** Names of its chunks and snapshots, in order; temporary files and strangers are left out. */
export const manifestFileNames = (
  directory: Directory,
  path: string,
): Effect.Effect<ReadonlyArray<string>, Unavailable> =>
  Effect.map(directory.list(path), (entries) =>
    entries
      .filter(({ name, isDirectory }) => !isDirectory && parseManifestFileName(name) !== undefined)
      .map(({ name }) => name),
  )
