/** What the adapters use of the C library: its names, mappings (mmap(2)), and locks (flock(2)) as `TryFlock`. */
import * as fs from "node:fs"
import type { TryFlock } from "./lock_holder.ts"
import type { MapFile } from "./posix_file.ts"
import type { RemovedFiles } from "./removed_files.ts"

/** Names by which the C library may be found on this system, the usual one first. */
const cLibraryNames = (): ReadonlyArray<string> => {
  if (process.platform === "darwin") return ["libSystem.dylib"]
  if (process.platform !== "linux") return []
  return ["libc.so.6", "libc.so", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]
}

/** What `open` makes of the C library, by the first name under which it can; undefined when it can by none. */
export const withCLibrary = <A>(open: (library: string) => A): A | undefined => {
  for (const library of cLibraryNames()) {
    try {
      return open(library)
    } catch {
      // Another name of the C library.
    }
  }
  return undefined
}

/** Memory of the system, as a runtime shows it to JavaScript. */
export interface ForeignMemory<Pointer> {
  /** mmap(2) at an address of the system's choice, from the start of the file; undefined for `MAP_FAILED`. */
  readonly map: (length: number, protection: number, flags: number, descriptor: number) => Pointer | undefined
  /** munmap(2). */
  readonly unmap: (pointer: Pointer, length: number) => void
  /** The bytes themselves, not a copy. */
  readonly bytesAt: (pointer: Pointer, length: number) => ArrayBuffer
}

const [protectionRead, protectionWrite, mapPrivate] = [1, 2, 2]

interface LiveMapping<Pointer> {
  readonly pointer: Pointer
  readonly length: number
  readonly forget: (() => void) | undefined
}

/**
 * Maps through the C library; `removed` hears of it. The mapping is private and writable, so that a store into a view stays in memory
 * instead of ending the process.
 */
export const makeMapFile = <Pointer>(
  { map, unmap, bytesAt }: ForeignMemory<Pointer>,
  removed?: RemovedFiles,
): MapFile => {
  // A view holds its buffer, so the memory goes only when nobody can read it any more.
  const registry = new FinalizationRegistry<LiveMapping<Pointer>>(({ pointer, length, forget }) => {
    unmap(pointer, length)
    forget?.()
  })
  return (descriptor, path, length) => {
    const pointer = map(length, protectionRead | protectionWrite, mapPrivate, descriptor)
    // The process has run out of mappings or address space.
    if (pointer === undefined) return undefined
    const buffer = bytesAt(pointer, length)
    registry.register(buffer, { pointer, length, forget: removed?.addMapping(path) })
    return new Uint8Array(buffer)
  }
}

const [lockShared, lockExclusive, lockNonBlocking] = [1, 2, 4]

/** Locks with flock(2), which returns 0 when the lock was taken. */
export const makeTryFlock =
  (flock: (descriptor: number, operation: number) => number): TryFlock =>
  (path, mode) => {
    let descriptor: number
    try {
      descriptor = fs.openSync(path, "r+")
    } catch {
      return "unsupported"
    }
    // The reason of a refusal is not to be had here; all but "busy" mean that the holder could not have locked it either.
    if (flock(descriptor, (mode === "shared" ? lockShared : lockExclusive) | lockNonBlocking) !== 0) {
      fs.closeSync(descriptor)
      return "busy"
    }
    return () => fs.closeSync(descriptor)
  }
