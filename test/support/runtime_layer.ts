// The adapter of the runtime that runs the test, with the compressor.

import type { RuntimeLayer } from "../../src/api/manager.ts"
import { withCompressor } from "../../src/compressor/compressor.ts"
import { detectRuntime } from "../../src/runtime/detect.ts"

/** Whether the adapter of the current runtime maps files. */
export const canMapFiles: boolean = detectRuntime() !== "node" || process.getBuiltinModule("node:ffi") !== undefined

/** Loads the adapter of the current runtime, and no other. */
export async function loadRuntimeLayer(): Promise<RuntimeLayer> {
  const modules = {
    bun: () => import("../../src/runtime/bun.ts"),
    deno: () => import("../../src/runtime/deno.ts"),
    node: () => import("../../src/runtime/node.ts"),
  }
  return withCompressor((await modules[detectRuntime()]()).layer)
}
