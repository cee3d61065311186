/**
 * A file system that gives descriptors back when the process has no more: those that are only kept for the next read go, and what needed one
 * is tried once more. So a low limit slows reading down, and does not keep the writer from going on.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { Compressor } from "../../port/compressor.ts"
import type { Directory } from "../../port/directory.ts"
import { caught } from "../flow/attempt.ts"
import type { OpenFiles } from "./open_files.ts"

/** True when this process, or the system, may have no more open files. */
const isOutOfDescriptors = (error: { readonly _tag: string; readonly code?: unknown }): boolean =>
  error._tag === "Unavailable" && (error.code === "EMFILE" || error.code === "ENFILE")

/** How often, and how long, somebody waits for descriptors that others give back by themselves. */
const [waitsMax, waitMs] = [500, 10]

/** Repeats a call that gets no descriptor until others of the same opening have given theirs back. */
export const patiently = <A>(call: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> => {
  const tried = (waits: number): Effect.Effect<A, AofError> =>
    Effect.catch(call, (error: AofError) =>
      isOutOfDescriptors(error) && waits < waitsMax
        ? Effect.andThen(Effect.sleep(waitMs), tried(waits + 1))
        : Effect.fail(error),
    )
  return Effect.suspend(() => tried(0))
}

/** Runs `call` once more when it fails for want of descriptors and `openFiles` has given some back. */
const again = <A, E extends AofError>(openFiles: OpenFiles, call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.catch(call, (error: E) => (isOutOfDescriptors(error) && openFiles.makeRoom() ? call : Effect.fail(error)))

/** The same compressor; a job that can open nothing makes room in `openFiles`. */
export const compressorWithRoom = (compressor: Compressor, openFiles: OpenFiles): Compressor => ({
  ...compressor,
  compress: (job) => again(openFiles, compressor.compress(job)),
  decompress: (job) => again(openFiles, compressor.decompress(job)),
  checksum: (job) => again(openFiles, compressor.checksum(job)),
})

/** The same file system; what opens something makes room in `openFiles` first when it has to. */
export const directoryWithRoom = (directory: Directory, openFiles: OpenFiles): Directory => {
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
    open: (path, mode) => again(openFiles, directory.open(path, mode)),
    list: (path) => again(openFiles, directory.list(path)),
    listUnsafe: (path) => againUnsafe(() => directory.listUnsafe(path)),
    readFile: (path) => again(openFiles, directory.readFile(path)),
    makeDirectory: (path) => again(openFiles, directory.makeDirectory(path)),
    removeDirectory: (path) => again(openFiles, directory.removeDirectory(path)),
    sync: (path) => again(openFiles, directory.sync(path)),
  }
}
