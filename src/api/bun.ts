/** The store with the adapter of Bun fixed, for bundlers and for those who want to say which one. */
import { withCompressor } from "../compressor/compressor.ts"
import type { AofManagerOptions } from "../model/config.ts"
import type { RepairOptions, RepairReport } from "../model/repair.ts"
import { layer as runtimeLayer } from "../runtime/bun.ts"
import { type AofManager as AnyManager, openWith, type RuntimeLayer, repairPromise } from "./manager.ts"

export * from "./exports.ts"
export type { RuntimeLayer, RuntimeServices } from "./manager.ts"

/** Files, lock, event loop and compressor of Bun. */
export const layer: RuntimeLayer = withCompressor(runtimeLayer)

/** The manager of the main module. */
export type AofManager = AnyManager

/** `AofManager` on Bun. */
export const AofManager: {
  /** As `AofManager.open` of the main module. */
  readonly open: (options: AofManagerOptions) => Promise<AofManager>
  /** As `AofManager.repair` of the main module. */
  readonly repair: (options: RepairOptions) => Promise<RepairReport>
} = { open: (options) => openWith(layer, options), repair: (options) => repairPromise(layer, options) }
