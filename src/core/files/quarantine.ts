/** `<root>/quarantine`: where files go that do not check. Nothing there is ever replaced or removed: a name that is taken gets a number. */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { makeDurableFolder } from "./durable_folder.ts"
import { quarantinePath } from "./paths.ts"

/** Moves a file or directory to the quarantine, durably there, and returns its new path. The folder that it leaves is the caller's to sync. */
export const quarantineMove: (
  directory: Directory,
  move: { readonly root: string; readonly path: string; readonly name: string },
) => Effect.Effect<string, AofError> = Effect.fnUntraced(function* (directory, { root, path, name }) {
  const folder = quarantinePath(root)
  yield* makeDurableFolder(directory, folder)
  const target = `${folder}/${yield* freeName(directory, folder, name)}`
  yield* directory.rename(path, target)
  yield* directory.sync(folder)
  return target
})

/** Gives files a second name in the quarantine, durably, so that they stay when they are replaced. Returns the new paths in their order. */
export const quarantineLink: (
  directory: Directory,
  link: { readonly root: string; readonly paths: ReadonlyArray<string>; readonly prefix: string },
) => Effect.Effect<ReadonlyArray<string>, AofError> = Effect.fnUntraced(function* (directory, { root, paths, prefix }) {
  const folder = quarantinePath(root)
  yield* makeDurableFolder(directory, folder)
  const places: Array<string> = []
  for (const path of paths) {
    const name = yield* freeName(directory, folder, prefix + path.slice(path.lastIndexOf("/") + 1))
    const place = `${folder}/${name}`
    yield* directory.link(path, place)
    places.push(place)
  }
  yield* directory.sync(folder)
  return places
})

const freeName = (directory: Directory, folder: string, name: string): Effect.Effect<string, AofError> =>
  Effect.map(directory.list(folder), (entries) => {
    const taken = new Set(entries.map((entry) => entry.name))
    let free = name
    for (let i = 1; taken.has(free); i++) free = `${name}.${i}`
    return free
  })
