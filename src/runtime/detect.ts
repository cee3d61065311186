/** Which runtime this is. The only place that looks; everything else is given an adapter. */

/** The runtimes that have an adapter. */
export type RuntimeName = "bun" | "deno" | "node"

/** The runtime that runs this code; anything that is neither Bun nor Deno is taken for Node. */
export const detectRuntime = (): RuntimeName => {
  if ("Bun" in globalThis) return "bun"
  return "Deno" in globalThis ? "deno" : "node"
}
