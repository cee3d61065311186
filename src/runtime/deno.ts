/** The adapter for Deno: flock(2) by `Deno.FsFile`; files are mapped by the C library when `--allow-ffi` was given. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type * as Layer from "effect/Layer"
import type { RuntimeServices } from "./layer.ts"
import { makeRuntimeLayer } from "./layer.ts"
import type { TryFlock } from "./lock_holder.ts"
import type { MapFile } from "./posix_file.ts"
import { mapNothing } from "./posix_file.ts"

/** Files, lock and event loop of Deno. */
export const layer: Layer.Layer<RuntimeServices> = makeRuntimeLayer(() => ({
  runtime: "deno",
  map: findMap(),
  reclaim,
  tryFlock,
}))

/** A C pointer as Deno shows it. */
type Pointer = object | null

/** As much of Deno as is used here. */
declare const Deno: {
  readonly openSync: (
    path: string,
    options: { readonly read: boolean; readonly write: boolean },
  ) => { readonly tryLockSync: (exclusive: boolean) => boolean; readonly close: () => void }
  readonly permissions: { readonly querySync: (descriptor: { readonly name: "ffi" }) => { readonly state: string } }
  readonly dlopen: (library: string, functions: object) => { readonly symbols: MappingFunctions }
  readonly UnsafePointer: { readonly value: (pointer: Pointer) => bigint | number }
  readonly UnsafePointerView: { readonly getArrayBuffer: (pointer: object, bytes: number) => ArrayBuffer }
}

interface MappingFunctions {
  readonly mmap: (
    address: Pointer,
    length: bigint,
    protection: number,
    flags: number,
    descriptor: number,
    offset: bigint,
  ) => Pointer
  readonly munmap: (address: Pointer, length: bigint) => Promise<number>
}

const mappingFunctions = {
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  // Off the main thread: with the last mapping of a removed file its blocks are freed, 20 ms and more for 64 MiB.
  munmap: { parameters: ["pointer", "usize"], result: "i32", nonblocking: true },
}

const tryFlock: TryFlock = (path, mode) => {
  let file: ReturnType<typeof Deno.openSync>
  try {
    file = Deno.openSync(path, { read: true, write: true })
  } catch {
    return "unsupported"
  }
  try {
    if (file.tryLockSync(mode === "exclusive")) return () => file.close()
  } catch {
    file.close()
    return "unsupported"
  }
  file.close()
  return "busy"
}

/** V8's collector, which has no name of its own. */
const reclaim = (): void => {
  setFlagsFromString("--expose-gc")
  runInNewContext("gc")()
}

const [protectionRead, protectionWrite, mapPrivate] = [1, 2, 2]

interface LiveMapping {
  readonly pointer: object
  readonly length: bigint
}

/**
 * Asks without prompting: whoever did not give the permission gets positional reads. The mapping is private and writable, so
 * that a store into a view stays in memory instead of ending the process.
 */
const findMap = (): MapFile => {
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return mapNothing
  const library = loadLibrary()
  if (library === undefined) return mapNothing
  const { mmap, munmap } = library
  // A view holds its buffer, so the memory goes only when nobody can read it any more.
  const registry = new FinalizationRegistry<LiveMapping>(({ pointer, length }) => {
    void munmap(pointer, length)
  })
  return (descriptor, _path, length) => {
    const size = BigInt(length)
    const pointer = mmap(null, size, protectionRead | protectionWrite, mapPrivate, descriptor, 0n)
    // MAP_FAILED is all ones: the process has run out of mappings or address space.
    if (pointer === null || BigInt.asIntN(64, BigInt(Deno.UnsafePointer.value(pointer))) === -1n) return undefined
    const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, length)
    registry.register(buffer, { pointer, length: size })
    return new Uint8Array(buffer)
  }
}

const loadLibrary = (): MappingFunctions | undefined => {
  const libraries: Partial<Record<NodeJS.Platform, ReadonlyArray<string>>> = {
    linux: ["libc.so.6", "libc.so", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`],
    darwin: ["libSystem.dylib"],
  }
  for (const library of libraries[process.platform] ?? []) {
    try {
      return Deno.dlopen(library, mappingFunctions).symbols
    } catch {
      // Another name of the C library.
    }
  }
  return undefined
}
