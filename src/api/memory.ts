/** The store without a disk, for tests of programs that use it: everything is gone when the manager is closed. */
import type { AofManagerOptions } from "../model/config.ts"
import { isOptions } from "../model/config_check.ts"
import type { RepairOptions, RepairReport } from "../model/repair.ts"
import { layerMemory } from "../testing/memory_disk.ts"
import { AofManager as AnyManager, openAs, type RuntimeLayer, repairPromise } from "./manager.ts"

export * from "./exports.ts"
export type { RuntimeLayer, RuntimeServices } from "./manager.ts"

/** The services of a new memory disk. */
export const layer: RuntimeLayer = layerMemory

/** The manager of the main module in memory: what it opens are instances of both classes. */
export class AofManager extends AnyManager {
  /** As `AofManager.open` of the main module, but every manager has a disk of its own and `root` may be left out. */
  static override open(options: Partial<AofManagerOptions> = {}): Promise<AofManager> {
    const rooted = isOptions(options) && options.root === undefined ? { ...options, root: "/memory" } : options
    return openAs((core, scope) => new AofManager(core as never, scope as never), layer, rooted as AofManagerOptions)
  }

  /**
   * As `AofManager.repair` of the main module, for programs that call it. There is nothing to repair: it looks at a disk of its own, which is
   * empty, and rejects with `NotFound`, or with `InvalidArgument` for an option.
   */
  static override repair(options: RepairOptions): Promise<RepairReport> {
    return repairPromise(layer, options)
  }
}
