/** The store with the adapter of Node fixed, for bundlers and for those who want to say which one. */
import type { AofManagerOptions } from "../model/config.ts"
import { layer } from "../runtime/node.ts"
import { AofManager as AnyManager, openWith } from "./manager.ts"

export { layer }

/** `AofManager` on Node. */
export class AofManager extends AnyManager {
  /** As `AofManager.open` of the main module. */
  static override open(options: AofManagerOptions): Promise<AnyManager> {
    return openWith(layer, options)
  }
}
