/** `<root>/ROOT`: made with the root, checked at every open, before anything else is looked at. */
import * as Effect from "effect/Effect"
import { decodeRootFile, encodeRootFile, featuresKnown, formatVersion, type RootFile } from "../format/root_file.ts"
import { type AofError, corrupt, invalidArgument, notFound, unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import { rootFilePath } from "./paths.ts"
import { replaceSmallFile } from "./replace_small_file.ts"

/** Reads the root file; undefined when there is none. Fails for a newer format, an unknown feature, and a root that is a file. */
export const readRoot: (directory: Directory, root: string) => Effect.Effect<RootFile | undefined, AofError> =
  Effect.fnUntraced(function* (directory, root) {
    const kind = yield* directory.kind(root)
    if (kind === "file")
      return yield* Effect.fail(
        unavailable("opening the root, which is a file and has to be a directory,", "ENOTDIR", root),
      )
    const bytes = kind === "missing" ? undefined : yield* directory.readFile(rootFilePath(root))
    if (bytes === undefined) return undefined
    const file = decodeRootFile(bytes)
    if (file === undefined) {
      return yield* Effect.fail(corrupt(`root file ${rootFilePath(root)}`, "it does not check", 0, bytes.length))
    }
    if (file.version > formatVersion) {
      return yield* Effect.fail(invalidArgument("format version of the root", file.version, `at most ${formatVersion}`))
    }
    if ((file.featuresIncompatible & ~featuresKnown) !== 0) {
      return yield* Effect.fail(invalidArgument("feature bits of the root", file.featuresIncompatible, featuresKnown))
    }
    return file
  })

/** Makes the root file durable: temporary file, sync, rename, directory sync. */
export const createRoot: (
  directory: Directory,
  root: string,
  content: { readonly rootId: Uint8Array; readonly createdMs: number },
) => Effect.Effect<RootFile, AofError> = Effect.fnUntraced(function* (directory, root, content) {
  const foreign = (yield* directory.list(root)).filter((entry) => entry.name === "streams" || entry.name === "manifest")
  if (foreign.length > 0) {
    const what = "a root without its ROOT file but with data"
    return yield* Effect.fail(corrupt(`root ${root}`, `${what}: ${foreign.map((entry) => entry.name).join(", ")}`))
  }
  const bytes = encodeRootFile(content.rootId, content.createdMs)
  yield* replaceSmallFile(directory, { folder: root, path: rootFilePath(root), bytes })
  return decodeRootFile(bytes)!
})

/** The error for a read-only open of a root that is not there. */
export const missingRoot = (root: string): AofError => notFound("root", root, "no store")

/**
 * A process that died while it made the root may have left directories that no sync has reached. As long as there is no stream this
 * is looked after; a stream that the manifest knows had its directories synced before.
 */
export const syncNewRoot: (directory: Directory, root: string) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (directory, root) {
    const at = root.lastIndexOf("/")
    yield* Effect.ignore(directory.sync(at > 0 ? root.slice(0, at) : at === 0 ? "/" : "."))
    yield* directory.sync(root)
  },
)
