/** The store without a disk, for tests of programs that use it: everything is gone when the manager is closed. */
import type { AofManagerOptions } from "../model/config.ts"
import { layerMemory } from "../testing/memory_disk.ts"
import { type AofManager as AnyManager, openWith, type RuntimeLayer } from "./manager.ts"

export * from "./exports.ts"
export type { RuntimeLayer, RuntimeServices } from "./manager.ts"

/** The services of a new memory disk. */
export const layer: RuntimeLayer = layerMemory

/** The manager of the main module. */
export type AofManager = AnyManager

/** `AofManager` in memory. */
export const AofManager: {
  /** As `AofManager.open` of the main module, but every manager has a disk of its own and `root` may be left out. */
  readonly open: (options?: Partial<AofManagerOptions>) => Promise<AofManager>
} = { open: (options = {}) => openWith(layer, { ...options, root: options.root ?? "/memory" }) }
