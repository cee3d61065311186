/** Replaces a small file as a whole: whoever looks sees the old content or the new one, also after a crash. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { attempt } from "../flow/attempt.ts"

/**
 * Writes `bytes` to a temporary file beside `path` in `folder`, syncs it, renames it over `path` and syncs the folder. Who may do so at the
 * same time as somebody else names a `temporary` of its own.
 */
export const replaceSmallFile: (
  directory: Directory,
  target: {
    readonly folder: string
    readonly path: string
    readonly bytes: Uint8Array
    readonly temporary?: string | undefined
  },
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (directory, target) {
  const { folder, path, bytes, temporary = `${path}.tmp` } = target
  yield* directory.remove(temporary)
  const file = yield* attempt(() => directory.openUnsafe(temporary, "create"))
  yield* Effect.ensuring(
    Effect.andThen(
      attempt(() => file.writeUnsafe(bytes, 0, bytes.length, 0)),
      file.syncData,
    ),
    Effect.sync(() => file.closeUnsafe()),
  )
  yield* directory.rename(temporary, path)
  yield* directory.sync(folder)
})
