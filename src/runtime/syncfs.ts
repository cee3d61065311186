/**
 * syncfs(2), which blocks the thread that calls it, by whatever foreign functions the runtime has. It is asked for only where it tells of each write
 * that was lost.
 */
import * as fs from "node:fs"
import { release } from "node:os"
import { withCLibrary } from "./c_library.ts"
import { loadNodeFfi } from "./node_ffi.ts"

/** Calls syncfs(2); 0 for success. */
export type Syncfs = (descriptor: number) => number

/** ext4 (with ext2 and ext3), XFS and Btrfs. */
const trustedTypes: ReadonlyArray<number> = [0xef53, 0x58465342, 0x9123683e]

/** True where a sync of the file system of `path` reports what was lost: on Linux since 5.8. */
export const isSyncfsTold = (path: string): boolean => {
  if (process.platform !== "linux") return false
  try {
    const [major = 0, minor = 0] = release().split(".").map(Number)
    return (major > 5 || (major === 5 && minor >= 8)) && trustedTypes.includes(fs.statfsSync(path).type)
  } catch {
    // Deno asks for --allow-sys.
    return false
  }
}

/** Undefined where it cannot be called. */
export const findSyncfs = (): Syncfs | undefined => {
  if (process.platform !== "linux") return undefined
  for (const find of [findByDeno, findByBun, findByNode]) {
    try {
      const found = find()
      if (found !== undefined) return found
    } catch {
      // A permission is missing, or the library has another name.
    }
  }
  return undefined
}

interface DenoFunctions {
  readonly permissions: { readonly querySync: (descriptor: { readonly name: "ffi" }) => { readonly state: string } }
  readonly dlopen: (library: string, functions: object) => { readonly symbols: { readonly syncfs: Syncfs } }
}

const findByDeno = (): Syncfs | undefined => {
  const { Deno: deno } = globalThis as unknown as { readonly Deno?: DenoFunctions }
  // Asked without prompting.
  if (deno?.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined
  const signature = { syncfs: { parameters: ["i32"], result: "i32" } }
  return withCLibrary((library) => deno.dlopen(library, signature).symbols.syncfs)
}

interface BunFunctions {
  readonly dlopen: (library: string, functions: object) => { readonly symbols: { readonly syncfs: Syncfs } }
}

const findByBun = (): Syncfs | undefined => {
  const foreign = process.getBuiltinModule("bun:ffi") as unknown as BunFunctions | undefined
  const signature = { syncfs: { args: ["int"], returns: "int" } }
  return foreign && withCLibrary((library) => foreign.dlopen(library, signature).symbols.syncfs)
}

interface NodeFunctions {
  readonly dlopen: (library: null, functions: object) => { readonly functions: { readonly syncfs: Syncfs } }
}

const findByNode = (): Syncfs | undefined =>
  loadNodeFfi<NodeFunctions>()?.dlopen(null, { syncfs: { arguments: ["int32"], return: "int32" } }).functions.syncfs
