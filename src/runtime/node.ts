/** The adapter for Node: files are mapped and locked by the C library where Node has `node:ffi` (26.1 and later), else read by position. */
import type * as Layer from "effect/Layer"
import { type ForeignMemory, makeMapFile, makeTryFlock } from "./c_library.ts"
import type { RuntimeAbilities, RuntimeServices } from "./layer.ts"
import { makeRuntimeLayer } from "./layer.ts"
import { loadNodeFfi } from "./node_ffi.ts"
import { mapNothing } from "./posix_file.ts"
import { RemovedFiles } from "./removed_files.ts"
import { collectV8Garbage } from "./v8_collector.ts"

/** Files, lock and event loop of Node. */
export const layer: Layer.Layer<RuntimeServices> = makeRuntimeLayer(() => ({ runtime: "node", ...findAbilities() }))

/** As much of `node:ffi` as is used here. A pointer is a `bigint`. */
interface Ffi {
  readonly dlopen: (library: null, functions: object) => { readonly functions: CFunctions }
  readonly toArrayBuffer: (pointer: bigint, bytes: number, isCopied: false) => ArrayBuffer
}

interface CFunctions {
  readonly flock: (descriptor: number, operation: number) => number
  readonly mmap: (
    address: null,
    length: bigint,
    protection: number,
    flags: number,
    descriptor: number,
    offset: bigint,
  ) => bigint
  readonly munmap: (address: bigint, length: bigint) => number
}

const signatures = {
  flock: { arguments: ["int32", "int32"], return: "int32" },
  mmap: { arguments: ["pointer", "uint64", "int32", "int32", "int32", "int64"], return: "pointer" },
  munmap: { arguments: ["pointer", "uint64"], return: "int32" },
}

const mapFailed = 2n ** 64n - 1n

const findAbilities = (): Omit<RuntimeAbilities, "runtime"> => {
  const without = { map: mapNothing, tryFlock: undefined }
  const ffi = loadNodeFfi<Ffi>()
  // A pointer of 32 bits has another way to say that it failed.
  if (ffi === undefined || process.platform === "win32" || ["arm", "ia32"].includes(process.arch)) return without
  let c: CFunctions
  try {
    c = ffi.dlopen(null, signatures).functions
  } catch {
    // Node's permission model, without `--allow-ffi`.
    return without
  }
  const memory: ForeignMemory<bigint> = {
    map: (length, protection, flags, descriptor) => {
      const pointer = c.mmap(null, BigInt(length), protection, flags, descriptor, 0n)
      return pointer === mapFailed ? undefined : pointer
    },
    unmap: (pointer, length) => void c.munmap(pointer, BigInt(length)),
    bytesAt: (pointer, length) => ffi.toArrayBuffer(pointer, length, false),
  }
  const removed = new RemovedFiles()
  return { map: makeMapFile(memory, removed), removed, reclaim: collectV8Garbage, tryFlock: makeTryFlock(c.flock) }
}
