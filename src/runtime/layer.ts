/** What the adapters of the three runtimes have in common: the event loop and how the services become a layer. */
import { setImmediate } from "node:timers"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import { RootLock } from "../port/root_lock.ts"
import { boundMaps } from "./bound_maps.ts"
import type { RuntimeName } from "./detect.ts"
import type { TryFlock } from "./lock_holder.ts"
import { makePosixDirectory } from "./posix_directory.ts"
import type { MapFile } from "./posix_file.ts"
import type { RemovedFiles } from "./removed_files.ts"
import { makeRootLock } from "./root_lock.ts"

/** The services that every adapter gives. */
export type RuntimeServices = Directory | RootLock | EventLoop

/** In what a runtime differs from the others. */
export interface RuntimeAbilities {
  readonly runtime: RuntimeName
  readonly map: MapFile
  /** Where unmapping the last of a removed file would hold up the main thread. */
  readonly removed?: RemovedFiles | undefined
  /** Undefined where nothing is mapped. */
  readonly reclaim?: (() => void) | undefined
  /** Undefined where the runtime has no flock(2). */
  readonly tryFlock: TryFlock | undefined
}

/** Builds the layer of a runtime; `abilities` is asked when the layer is built, not when the module is loaded. */
export const makeRuntimeLayer = (abilities: () => RuntimeAbilities): Layer.Layer<RuntimeServices> =>
  Layer.syncContext(() => {
    const { runtime, map, removed, reclaim, tryFlock } = abilities()
    return Context.make(Directory, makePosixDirectory({ map: boundMaps(map), removed, reclaim })).pipe(
      Context.add(RootLock, makeRootLock(runtime, tryFlock)),
      Context.add(EventLoop, { nextTurn: (callback) => void setImmediate(callback) }),
    )
  })
