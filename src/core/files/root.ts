/** `<root>/ROOT`: made with the root, checked at every open, before anything else is looked at. */
import * as Effect from "effect/Effect"
import { decodeManifestHeader, manifestHeaderBytes } from "../../format/manifest_chunk.ts"
import {
  correctRootFile,
  decodeRootFile,
  encodeRootFile,
  featureJournal,
  featureJournalInUse,
  featuresKnown,
  formatVersion,
  type RootFile,
} from "../../format/root_file.ts"
import { type AofError, corrupt, invalidArgument, notFound, unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { manifestFileNames } from "../manifest/manifest_files.ts"
import { readManifestFile } from "../manifest/manifest_load.ts"
import { rootFilePath } from "./paths.ts"
import { readStart } from "./read_start.ts"
import { replaceSmallFile } from "./replace_small_file.ts"

/** A root file is much smaller; what lies behind belongs to a later version. */
const rootFileBytesMax = 4096

/** Reads the root file; undefined when there is none. Fails for a newer format, an unknown feature, and a root that is a file. */
export const readRoot: (directory: Directory, root: string) => Effect.Effect<RootFile | undefined, AofError> =
  Effect.fnUntraced(function* (directory, root) {
    const kind = yield* directory.kind(root)
    if (kind === "file") return yield* Effect.fail(rootIsFile(root))
    const bytes = kind === "missing" ? undefined : yield* readStart(directory, rootFilePath(root), rootFileBytesMax)
    if (bytes === undefined) return undefined
    const file = decodeRootFile(bytes) ?? (yield* correctedRoot(directory, root, bytes))
    if (file === undefined) {
      return yield* Effect.fail(corrupt(`root file ${rootFilePath(root)}`, "it does not check", 0, bytes.length))
    }
    if (file.version > formatVersion) {
      return yield* Effect.fail(
        invalidArgument("format version of the root", file.version, formatVersion, `at most ${formatVersion}`),
      )
    }
    if ((file.featuresIncompatible & ~featuresKnown) !== 0) {
      return yield* Effect.fail(invalidArgument("feature bits of the root", file.featuresIncompatible, featuresKnown))
    }
    return file
  })

const rootIsFile = (root: string): AofError =>
  unavailable("opening the root, which is a file and has to be a directory,", "ENOTDIR", root)

/** Makes the directory of the root where it is missing. Fails for a root that is a file, or that lies below one. */
export const makeRootDirectory = (directory: Directory, root: string): Effect.Effect<void, AofError> =>
  Effect.catch(directory.makeDirectory(root), (error) => {
    if (error.code !== "ENOTDIR") return Effect.fail(error)
    const kind = Effect.orElseSucceed(directory.kind(root), () => "missing" as const)
    return Effect.flatMap(kind, (found) => Effect.fail(found === "file" ? rootIsFile(root) : error))
  })

/** The root file without the one byte that has changed, when the manifest has the same root id. */
export const correctedRoot: (
  directory: Directory,
  root: string,
  bytes: Uint8Array,
) => Effect.Effect<RootFile | undefined, AofError> = Effect.fnUntraced(function* (directory, root, bytes) {
  const rootId = yield* manifestRootId(directory, root)
  return rootId === undefined ? undefined : correctRootFile(bytes, rootId)
})

/** The root id in the newest file of the manifest whose header checks. */
export const manifestRootId: (directory: Directory, root: string) => Effect.Effect<Uint8Array | undefined, AofError> =
  Effect.fnUntraced(function* (directory, root) {
    const folder = `${root}/manifest`
    for (const name of [...(yield* manifestFileNames(directory, folder))].reverse()) {
      const bytes = yield* readManifestFile(directory, `${folder}/${name}`, manifestHeaderBytes)
      const header = bytes === undefined ? undefined : decodeManifestHeader(bytes)
      if (header !== undefined) return header.rootId
    }
    return undefined
  })

/** Writes the root file again when it does not check; true when it did not. */
export const mendRoot: (
  directory: Directory,
  root: string,
  options: { readonly file: RootFile; readonly isReadOnly: boolean },
) => Effect.Effect<boolean, AofError> = Effect.fnUntraced(function* (directory, root, { file, isReadOnly }) {
  const path = rootFilePath(root)
  const bytes = yield* readStart(directory, path, rootFileBytesMax)
  if (bytes !== undefined && decodeRootFile(bytes) !== undefined) return false
  if (isReadOnly) return true
  yield* replaceSmallFile(directory, {
    folder: root,
    path,
    bytes: encodeRootFile(file.rootId, file.createdMs, file.featuresIncompatible, file.featuresCompatible),
  })
  return true
})

/** Makes the root file durable: temporary file, sync, rename, directory sync. A root that is restored has its manifest already. */
export const createRoot: (
  directory: Directory,
  root: string,
  content: { readonly rootId: Uint8Array; readonly createdMs: number; readonly isRestored?: boolean },
) => Effect.Effect<RootFile, AofError> = Effect.fnUntraced(function* (directory, root, content) {
  const foreign = (yield* directory.list(root)).filter((entry) => entry.name === "streams" || entry.name === "manifest")
  if (foreign.length > 0 && content.isRestored !== true) {
    const what = "a root without its ROOT file but with data"
    return yield* Effect.fail(corrupt(`root ${root}`, `${what}: ${foreign.map((entry) => entry.name).join(", ")}`))
  }
  const bytes = encodeRootFile(content.rootId, content.createdMs)
  yield* replaceSmallFile(directory, { folder: root, path: rootFilePath(root), bytes })
  return decodeRootFile(bytes)!
})

/** A root file as it is known while the root is open. */
type KnownRoot = { -readonly [K in keyof RootFile]: RootFile[K] }

/**
 * Says in the root file, durably, that a program has to know the commit journal, and that one is in use. Nothing is written when it says so
 * already.
 */
export const announceJournal = (directory: Directory, root: string, file: KnownRoot): Effect.Effect<void, AofError> =>
  writeFeatures(directory, root, file, (known) => ({
    incompatible: known.featuresIncompatible | featureJournal,
    compatible: known.featuresCompatible | featureJournalInUse,
  }))

/** Says in the root file, durably, that no journal is in use any more. Its files go afterwards: where it says so there has to be one. */
export const retractJournal = (directory: Directory, root: string, file: KnownRoot): Effect.Effect<void, AofError> =>
  writeFeatures(directory, root, file, (known) => ({
    incompatible: known.featuresIncompatible,
    compatible: known.featuresCompatible & ~featureJournalInUse,
  }))

const writeFeatures = (
  directory: Directory,
  root: string,
  file: KnownRoot,
  change: (known: RootFile) => { readonly incompatible: number; readonly compatible: number },
): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const { incompatible, compatible } = change(file)
    if (file.featuresIncompatible === incompatible && file.featuresCompatible === compatible) return Effect.void
    const bytes = encodeRootFile(file.rootId, file.createdMs, incompatible, compatible)
    // A write that fails may have reached the disk: what may stand there is taken back later.
    file.featuresCompatible |= compatible
    return Effect.map(replaceSmallFile(directory, { folder: root, path: rootFilePath(root), bytes }), () => {
      file.featuresIncompatible = incompatible
      file.featuresCompatible = compatible
    })
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
