/** The store with the adapter of Node fixed, for bundlers and for those who want to say which one. */
import { withCompressor } from "../compressor/compressor.ts"
import type { AofManagerOptions } from "../model/config.ts"
import type { RepairOptions, RepairReport } from "../model/repair.ts"
import { layer as runtimeLayer } from "../runtime/node.ts"
import { AofManager as AnyManager, openAs, type RuntimeLayer, repairPromise } from "./manager.ts"

export * from "./exports.ts"
export type { RuntimeLayer, RuntimeServices } from "./manager.ts"

/** Files, lock, event loop and compressor of Node. */
export const layer: RuntimeLayer = withCompressor(runtimeLayer)

/** The manager of the main module on Node: what it opens are instances of both classes. */
export class AofManager extends AnyManager {
  /** As `AofManager.open` of the main module. */
  static override open(options: AofManagerOptions): Promise<AofManager> {
    return openAs((core, scope) => new AofManager(core as never, scope as never), layer, options)
  }

  /** As `AofManager.repair` of the main module. */
  static override repair(options: RepairOptions): Promise<RepairReport> {
    return repairPromise(layer, options)
  }
}
