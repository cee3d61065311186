/** The adapter for Node: positional reads instead of mappings, and no flock(2). */
import type * as Layer from "effect/Layer"
import type { RuntimeServices } from "./layer.ts"
import { makeRuntimeLayer } from "./layer.ts"
import { mapNothing } from "./posix_file.ts"

/** Files, lock and event loop of Node. */
export const layer: Layer.Layer<RuntimeServices> = makeRuntimeLayer(() => ({
  runtime: "node",
  map: mapNothing,
  tryFlock: undefined,
}))
