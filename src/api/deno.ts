/** The store with the adapter of Deno fixed, for bundlers and for those who want to say which one. */
import type { AofManagerOptions } from "../model/config.ts"
import { layer } from "../runtime/deno.ts"
import { type AofManager as AnyManager, openWith } from "./manager.ts"

export type { RuntimeServices } from "../runtime/layer.ts"
export * from "./exports.ts"
export { layer }

/** The manager of the main module. */
export type AofManager = AnyManager

/** `AofManager` on Deno. */
export const AofManager: {
  /** As `AofManager.open` of the main module. */
  readonly open: (options: AofManagerOptions) => Promise<AofManager>
} = { open: (options) => openWith(layer, options) }
