// The adapter of the runtime that runs the test.

import type * as Layer from "effect/Layer"
import { detectRuntime } from "../../src/runtime/detect.ts"
import type { RuntimeServices } from "../../src/runtime/layer.ts"

/** Loads the adapter of the current runtime, and no other. */
export async function loadRuntimeLayer(): Promise<Layer.Layer<RuntimeServices>> {
  const modules = {
    bun: () => import("../../src/runtime/bun.ts"),
    deno: () => import("../../src/runtime/deno.ts"),
    node: () => import("../../src/runtime/node.ts"),
  }
  return (await modules[detectRuntime()]()).layer
}
