/** Batches on a disk in memory: one operation after the other, each in a turn of its own, and then one sync of everything. */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { BatchFile, BatchOutcome, BatchWriter } from "../port/batch_writer.ts"
import type { Directory } from "../port/directory.ts"
import type { MemoryInode } from "./memory_inode.ts"
import type { DiskRequest, DiskState } from "./memory_state.ts"

/** Announces an operation and carries it out in a later turn. */
type RunOperation = (
  request: DiskRequest,
  start: () => (fault: string | undefined) => void,
) => Effect.Effect<void, Unavailable>

/** Undefined for a disk without batches. */
export const makeMemoryBatchWriter = (
  state: DiskState,
  directory: Directory,
  run: RunOperation,
): BatchWriter | undefined => {
  const { batchFilesMin: filesMin } = state.options
  if (filesMin === undefined) return undefined
  const writeOne = Effect.fnUntraced(function* ({ path, isNew, folders, pieces }: BatchFile, bytes: Uint8Array) {
    if (isNew) for (const folder of folders) yield* directory.makeSubdirectory(folder)
    const isThere = isNew && (yield* directory.kind(path)) === "file"
    const handle = yield* directory.open(path, isNew && !isThere ? "create" : "write")
    const written = Effect.forEach(pieces, ({ from, to, position }) => handle.write(bytes, from, to, position))
    yield* Effect.ensuring(
      written,
      Effect.sync(() => handle.closeUnsafe()),
    )
    const node = state.find("write", path)
    return node?.kind === "file" ? node : undefined
  })
  const write = Effect.fnUntraced(function* (files: ReadonlyArray<BatchFile>, bytes: Uint8Array) {
    const written: Array<MemoryInode | undefined> = []
    for (const file of files) {
      const result = yield* Effect.result(writeOne(file, bytes))
      written.push(result._tag === "Success" ? result.success : undefined)
    }
    const synced = yield* Effect.result(syncEverything(state, run, written))
    const outcome: BatchOutcome = synced._tag === "Success" ? "durable" : "lost"
    return written.map((file): BatchOutcome => (file === undefined ? "failed" : outcome))
  })
  return {
    filesMin,
    isResting: false,
    watchUnsafe: () => undefined,
    write: (files, bytes) => Effect.uninterruptible(write(files, bytes)),
    sync: () => Effect.uninterruptible(syncEverything(state, run)),
    close: Effect.void,
  }
}

/** Makes everything durable; a fault loses what `files` hold, or all that is not durable. */
const syncEverything = (
  { tree }: DiskState,
  run: RunOperation,
  files?: ReadonlyArray<MemoryInode | undefined>,
): Effect.Effect<void, Unavailable> =>
  run({ kind: "syncFileSystem", path: "/" }, () => {
    const entries = tree.unsyncedEverywhere()
    const contents = tree.allFiles().map((file) => ({ file, covered: file.unsynced() }))
    return (fault) => {
      if (fault === undefined) tree.settleEverywhere(entries)
      for (const { file, covered } of contents) {
        if (fault === undefined) file.settle(covered, "durable")
        else if (files === undefined || files.includes(file)) file.settle(covered, "lost")
      }
    }
  })
