/**
 * Makes a directory of the store whose entry is durable, whoever made it: a process that was killed between the two steps has left one that
 * is there for everybody and gone after the next power cut, with all that was put into it meanwhile.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"

/** What this process has synced, for each file system that it uses. */
const synced: WeakMap<Directory, Set<string>> = new WeakMap()

/** Makes `path` in its parent, which is durable; the parent is synced once for each process at least. */
export const makeDurableFolder: (directory: Directory, path: string) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (directory, path) {
    const known = synced.get(directory) ?? new Set()
    synced.set(directory, known)
    // One that was removed and is made again may fail half-way.
    yield* Effect.tapError(directory.makeDirectory(path), () => Effect.sync(() => known.delete(path)))
    if (known.has(path)) return
    yield* directory.sync(path.slice(0, path.lastIndexOf("/")))
    known.add(path)
  })
