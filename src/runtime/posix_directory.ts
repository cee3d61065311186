/**
 * The file system over `node:fs`, the same on all three runtimes but for how a file is mapped.
 *
 * Invariants: what is made here is private (0600, 0700); an effect ends only when the thread pool is done with the call.
 */
import * as fs from "node:fs"
import { dirname, isAbsolute } from "node:path"
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import { unavailable } from "../model/errors.ts"
import type { Directory, DirectoryEntry } from "../port/directory.ts"
import { openBatchWriter } from "./batch_writer.ts"
import { syncDirectory } from "./directory_sync.ts"
import { networkFileSystem } from "./network_file_system.ts"
import type { MapFile } from "./posix_file.ts"
import { openPosixFile, openPosixFileAsync } from "./posix_file.ts"
import type { RemovedFiles } from "./removed_files.ts"
import { callAsync, callUnsafe, codeOf, isDenied, systemError } from "./system_error.ts"

/** How a runtime maps files. */
export interface Mapping {
  readonly map: MapFile
  readonly removed?: RemovedFiles | undefined
  /** Unmaps what nobody uses. */
  readonly reclaim?: (() => void) | undefined
}

/** Makes the `Directory` of a runtime. */
export const makePosixDirectory = ({ map, removed, reclaim = () => undefined }: Mapping): Directory => ({
  absoluteUnsafe,
  openUnsafe: (path, mode) => openPosixFile(path, mode, map),
  open: (path, mode) => openPosixFileAsync(path, mode, map),
  renameUnsafe: (from, to) => callUnsafe(`renaming to ${JSON.stringify(to)}`, from, () => fs.renameSync(from, to)),
  rename: (from, to) => callAsync(`renaming to ${JSON.stringify(to)}`, from, (done) => fs.rename(from, to, done)),
  link: (from, to) => callAsync(`linking to ${JSON.stringify(to)}`, from, (done) => fs.link(from, to, done)),
  sizeOf,
  list,
  listUnsafe,
  readFile,
  makeDirectory: (path) =>
    Effect.try({ try: () => makeDirectory(path), catch: (error) => systemError("making a directory", path, error) }),
  makeDirectoryUnsafe: (path) => callUnsafe("making a directory", path, () => makeOne(path)),
  makeSubdirectory: (path) =>
    callAsync("making a directory", path, (done) =>
      fs.mkdir(path, 0o700, (error) => {
        if (codeOf(error) !== "EEXIST") return done(error)
        fs.stat(path, (failure, found) => done(failure ?? (found.isDirectory() ? null : error)))
      }),
    ),
  remove: (path) =>
    callAsync("removing", path, (done) => {
      const unlink = () => fs.unlink(path, (error) => done(codeOf(error) === "ENOENT" ? null : error))
      if (removed) removed.whileMapped(path, unlink)
      else unlink()
    }),
  removeDirectory: (path) =>
    callAsync("removing a directory", path, (done) => fs.rm(path, { recursive: true, force: true }, done)),
  sync,
  openBatchWriter: (path) => openBatchWriter(path),
  isLink,
  kind,
  reclaimUnsafe: reclaim,
  networkFileSystem,
})

/** `..` stays: behind a link it does not lead where its text says. */
const absoluteUnsafe = (path: string): string => {
  if (isAbsolute(path)) return path
  let folder: string
  try {
    folder = process.cwd()
  } catch (error) {
    // A Deno that asks for a permission to know it: the path is used as it is.
    if (isDenied(error)) return path
    throw systemError("finding the working directory", path, error)
  }
  const rest = path.replace(/^(\.\/+)+/, "")
  return rest === "." || rest === "" ? folder : `${folder === "/" ? "" : folder}/${rest}`
}

const listUnsafe = (path: string): ReadonlyArray<DirectoryEntry> =>
  callUnsafe("listing", path, () => {
    const found = fs.lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) return []
    if (found.isSymbolicLink()) throw unavailable("using a symbolic link for a directory of the store", "ELOOP", path)
    return fs
      .readdirSync(path, { withFileTypes: true })
      .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  })

const list = (path: string): Effect.Effect<ReadonlyArray<DirectoryEntry>, Unavailable> =>
  callAsync("listing", path, (done) =>
    fs.readdir(path, { withFileTypes: true }, (error, found) => {
      if (error) return codeOf(error) === "ENOENT" ? done(null, []) : done(error)
      const entries = found.map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
      done(
        null,
        entries.sort((a, b) => (a.name < b.name ? -1 : 1)),
      )
    }),
  )

const readFile = (path: string): Effect.Effect<Uint8Array | undefined, Unavailable> =>
  callAsync("reading", path, (done) =>
    fs.readFile(path, (error, bytes) => {
      if (error) return codeOf(error) === "ENOENT" ? done(null, undefined) : done(error)
      // A plain array: a Buffer answers some methods differently and must not leak into the core.
      done(null, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    }),
  )

const sync = (path: string): Effect.Effect<void, Unavailable> =>
  // Windows opens no directories; its file systems log entries themselves.
  process.platform === "win32" ? Effect.void : syncDirectory(path)

const isLink = (path: string): Effect.Effect<boolean, Unavailable> =>
  callAsync("looking at a path", path, (done) =>
    fs.lstat(path, (error, stat) => {
      const isNothing = error && ["ENOENT", "ENOTDIR"].includes(codeOf(error) ?? "")
      if (error) return isNothing ? done(null, false) : done(error)
      done(null, stat.isSymbolicLink())
    }),
  )

const kind = (path: string): Effect.Effect<"file" | "directory" | "missing", Unavailable> =>
  callAsync("looking at a path", path, (done) =>
    fs.stat(path, (error, stat) => {
      if (error) return codeOf(error) === "ENOENT" ? done(null, "missing") : done(error)
      done(null, stat.isDirectory() ? "directory" : "file")
    }),
  )

const sizeOf = (path: string): Effect.Effect<number | undefined, Unavailable> =>
  callAsync<number | undefined>("measuring", path, (done) =>
    fs.stat(path, (error, stat) => {
      if (error) return codeOf(error) === "ENOENT" ? done(null, undefined) : done(error)
      done(null, stat.isFile() ? stat.size : undefined)
    }),
  )

/**
 * Makes the missing part of a path from the top. Synchronous, because it happens once in the life of a root or stream and the
 * steps must not interleave with another call for the same path. A parent that cannot be synced is found out before anything is made.
 */
const makeDirectory = (path: string): void => {
  const found = fs.statSync(path, { throwIfNoEntry: false })
  if (found?.isDirectory()) return
  if (found) throw unavailable("making a directory", "ENOTDIR", path)
  const parent = dirname(path)
  if (parent !== path) makeDirectory(parent)
  if (process.platform === "win32") {
    makeOne(path)
    return
  }
  const descriptor = fs.openSync(parent, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
  try {
    makeOne(path)
    syncEntry(descriptor, path)
  } finally {
    fs.closeSync(descriptor)
  }
}

const makeOne = (path: string): void => {
  try {
    fs.mkdirSync(path, 0o700)
  } catch (error) {
    // Another process was faster.
    if (codeOf(error) !== "EEXIST" || !fs.statSync(path).isDirectory()) throw error
  }
}

/** Syncs the parent of a new directory. One that could not be made durable is not left: the next call would take it for done. */
const syncEntry = (parent: number, path: string): void => {
  try {
    fs.fsyncSync(parent)
  } catch (error) {
    fs.rmdirSync(path)
    throw error
  }
}
