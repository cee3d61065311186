/**
 * Below a root nothing leads elsewhere: a symbolic link in the place of a directory of the store would let whoever made it choose what is
 * written, moved or removed with the rights of this process. Files are opened without following one. The root itself may be a link.
 */
import * as Effect from "effect/Effect"
import { type AofError, unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { quarantinePath, segmentsPath, streamPath, streamsPath, warmFolder } from "./paths.ts"

/** Fails `Unavailable` (`ELOOP`) when one of the paths is a symbolic link. */
export const refuseLinks: (directory: Directory, paths: ReadonlyArray<string>) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (directory, paths) {
    for (const path of paths) {
      if (!(yield* directory.isLink(path))) continue
      return yield* Effect.fail(unavailable("using a symbolic link for a directory of the store", "ELOOP", path))
    }
  })

/** Fails `Unavailable` (`ELOOP`) when a directory of the root is a symbolic link. */
export const refuseRootLinks = (directory: Directory, root: string): Effect.Effect<void, AofError> =>
  refuseLinks(directory, [`${root}/manifest`, streamsPath(root), quarantinePath(root), `${root}/tier2`])

/** The same for the directories of a stream that is about to be made. */
export const refuseStreamLinks: (directory: Directory, root: string, name: string) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (directory, root, name) {
    const path = streamPath(root, name)
    yield* refuseLinks(directory, [path])
    // Nothing lies below what is not there.
    if ((yield* directory.kind(path)) === "missing") return
    yield* refuseLinks(directory, [segmentsPath(root, name), warmFolder(root, name)])
  })
