/**
 * A file system that gives descriptors back when the process has no more: those that are only kept for the next read go, and what needed one
 * is tried once more. So a low limit slows reading down, and does not keep the writer from going on.
 */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import { caught } from "./attempt.ts"
import type { OpenFiles } from "./open_files.ts"

/** True when this process, or the system, may have no more open files. */
const isOutOfDescriptors = (error: { readonly _tag: string; readonly code?: unknown }): boolean =>
  error._tag === "Unavailable" && (error.code === "EMFILE" || error.code === "ENFILE")

/** The same file system; what opens something makes room in `openFiles` first when it has to. */
export const withDescriptorRoom = (directory: Directory, openFiles: OpenFiles): Directory => {
  const again = <A>(call: Effect.Effect<A, Unavailable>): Effect.Effect<A, Unavailable> =>
    Effect.catch(call, (error) => (isOutOfDescriptors(error) && openFiles.makeRoom() ? call : Effect.fail(error)))
  const againUnsafe = <A>(call: () => A): A => {
    let result: { readonly value: A } | undefined
    const error = caught(() => {
      result = { value: call() }
    })
    if (error === undefined) return result!.value
    if (isOutOfDescriptors(error) && openFiles.makeRoom()) return call()
    throw error
  }
  return {
    ...directory,
    openUnsafe: (path, mode) => againUnsafe(() => directory.openUnsafe(path, mode)),
    open: (path, mode) => again(directory.open(path, mode)),
    list: (path) => again(directory.list(path)),
    listUnsafe: (path) => againUnsafe(() => directory.listUnsafe(path)),
    readFile: (path) => again(directory.readFile(path)),
    makeDirectory: (path) => again(directory.makeDirectory(path)),
    removeDirectory: (path) => again(directory.removeDirectory(path)),
    sync: (path) => again(directory.sync(path)),
  }
}
