/** The adapter for Deno: flock(2) by `Deno.FsFile`; files are mapped by the C library when `--allow-ffi` was given. */
import type * as Layer from "effect/Layer"
import { makeMapFile, withCLibrary } from "./c_library.ts"
import type { RuntimeServices } from "./layer.ts"
import { makeRuntimeLayer } from "./layer.ts"
import type { TryFlock } from "./lock_holder.ts"
import type { MapFile } from "./posix_file.ts"
import { mapNothing } from "./posix_file.ts"
import { collectV8Garbage } from "./v8_collector.ts"

/** Files, lock and event loop of Deno. */
export const layer: Layer.Layer<RuntimeServices> = makeRuntimeLayer(() => ({
  runtime: "deno",
  map: findMap(),
  reclaim: collectV8Garbage,
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

/** Asks without prompting: whoever did not give the permission gets positional reads. */
const findMap = (): MapFile => {
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return mapNothing
  const library = withCLibrary((name) => Deno.dlopen(name, mappingFunctions).symbols)
  if (library === undefined) return mapNothing
  const { mmap, munmap } = library
  return makeMapFile<object>({
    map: (length, protection, flags, descriptor) => {
      const pointer = mmap(null, BigInt(length), protection, flags, descriptor, 0n)
      // MAP_FAILED is all ones.
      const isFailed = pointer === null || BigInt.asIntN(64, BigInt(Deno.UnsafePointer.value(pointer))) === -1n
      return isFailed ? undefined : pointer
    },
    unmap: (pointer, length) => void munmap(pointer, BigInt(length)),
    bytesAt: Deno.UnsafePointerView.getArrayBuffer,
  })
}
