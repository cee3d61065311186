/** The store without a disk, for tests of programs that use it: everything is gone when the manager is closed. */
import type { AofManagerOptions } from "../model/config.ts"
import { layerMemory } from "../testing/memory_disk.ts"
import { AofManager as AnyManager, openWith, type RuntimeLayer } from "./manager.ts"

/** The services of a new memory disk. */
export const layer: RuntimeLayer = layerMemory

/** `AofManager` in memory. */
export class AofManager extends AnyManager {
  /** As `AofManager.open` of the main module, but every manager has a disk of its own and `root` may be left out. */
  static override open(options: Partial<AofManagerOptions> = {}): Promise<AnyManager> {
    return openWith(layer, { root: "/memory", ...options })
  }
}
