/** The adapter for Bun: files are mapped by `Bun.mmap`, flock(2) comes from the C library by `bun:ffi`. */
import type * as Layer from "effect/Layer"
import { makeTryFlock, withCLibrary } from "./c_library.ts"
import type { RuntimeServices } from "./layer.ts"
import { makeRuntimeLayer } from "./layer.ts"
import type { TryFlock } from "./lock_holder.ts"
import type { MapFile } from "./posix_file.ts"
import { codeOf } from "./system_error.ts"

/** Files, lock and event loop of Bun. */
export const layer: Layer.Layer<RuntimeServices> = makeRuntimeLayer(() => ({
  runtime: "bun",
  map,
  reclaim: () => Bun.gc(true),
  tryFlock: findFlock(),
}))

/** As much of Bun as is used here. */
declare const Bun: {
  readonly gc: (isForced: boolean) => void
  readonly mmap: (path: string, options: { readonly shared: boolean; readonly size: number }) => Uint8Array
}

interface ForeignFunctions {
  readonly dlopen: (
    library: string,
    symbols: { readonly flock: { readonly args: ReadonlyArray<string>; readonly returns: string } },
  ) => { readonly symbols: { readonly flock: (descriptor: number, operation: number) => number } }
}

/** Bun unmaps when the garbage collector finds that no view is left. Private: a store into a view stays in memory. */
const map: MapFile = (descriptor, path, length) => {
  // By descriptor, because the name may meanwhile be that of another file.
  const name = process.platform === "linux" ? `/proc/self/fd/${descriptor}` : path
  try {
    return Bun.mmap(name, { shared: false, size: length })
  } catch (error) {
    // Bun opens for writing even for a private mapping: a file that may only be read is read by position, and so is
    // everything where /proc is not mounted or address space has run out.
    if (codeOf(error) !== undefined) return undefined
    throw error
  }
}

const findFlock = (): TryFlock | undefined => {
  const foreign = process.getBuiltinModule("bun:ffi") as unknown as ForeignFunctions | undefined
  const signature = { flock: { args: ["int", "int"], returns: "int" } }
  const flock = foreign && withCLibrary((library) => foreign.dlopen(library, signature).symbols.flock)
  return flock && makeTryFlock(flock)
}
