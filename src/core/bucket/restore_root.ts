/**
 * Makes a root out of what a HEAD names: the files of the manifest come to the local disk, segments stay where they are. What lies in the root
 * before is put aside. A marker says that this is under way (`restore_marker.ts`): an open that finds it begins anew, so that a crash at any
 * point costs nothing but the work.
 */
import * as Effect from "effect/Effect"
import type { HeadFile, HeadObject } from "../../format/head_object.ts"
import { manifestFileName } from "../../format/manifest_chunk.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { journalFolder, rootFilePath, streamsPath } from "../files/paths.ts"
import { quarantineMove } from "../files/quarantine.ts"
import { createRoot } from "../files/root.ts"
import { attempt } from "../flow/attempt.ts"
import { manifestPath } from "../manifest/manifest_log.ts"
import type { HeadStore } from "./head_store.ts"

/** Files of the manifest that are brought at once. */
const fetchesAtOnce = 4

/** Puts aside what is there, and makes root file and manifest as `head` says. The marker has to be there. */
export const restoreRoot: (
  directory: Directory,
  options: { readonly root: string; readonly head: HeadObject; readonly headStore: HeadStore },
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (directory, { root, head, headStore }) {
  yield* putAside(directory, root)
  const folder = manifestPath(root)
  yield* directory.makeDirectory(folder)
  const bring = (file: HeadFile): Effect.Effect<void, AofError> =>
    Effect.flatMap(headStore.getFile(file), (bytes) =>
      writeFile(directory, `${folder}/${manifestFileName(file.kind, file.chunkSequence)}`, bytes),
    )
  yield* Effect.forEach(head.files, bring, { concurrency: fetchesAtOnce, discard: true })
  yield* directory.sync(folder)
  yield* createRoot(directory, root, { rootId: head.rootId, createdMs: head.rootCreatedMs, isRestored: true })
})

/**
 * Nothing is thrown away: what an earlier writer had here may be all that is left of it. Its commit journal goes first: replayed into the streams of
 * whoever took the root over, it would mix the records of both.
 */
const putAside = Effect.fnUntraced(function* (directory: Directory, root: string): Effect.fn.Return<void, AofError> {
  for (const path of [journalFolder(root), manifestPath(root), streamsPath(root), rootFilePath(root)]) {
    const kind = yield* directory.kind(path)
    if (kind === "missing") continue
    const isEmpty = kind === "directory" && (yield* directory.list(path)).length === 0
    if (isEmpty) yield* directory.removeDirectory(path)
    else yield* quarantineMove(directory, { root, path, name: `fenced-${path.slice(path.lastIndexOf("/") + 1)}` })
  }
  yield* directory.sync(root)
})

const writeFile = (directory: Directory, path: string, bytes: Uint8Array): Effect.Effect<void, AofError> =>
  Effect.acquireUseRelease(
    attempt(() => directory.openUnsafe(path, "create")),
    (file) =>
      Effect.andThen(
        attempt(() => file.writeUnsafe(bytes, 0, bytes.length, 0)),
        file.syncData,
      ),
    (file) => Effect.sync(() => file.closeUnsafe()),
  )
