// Loaded with `--import` on Node: tests are written for `bun:test`, and Node gets the shim in its place.

import { registerHooks } from "node:module"

const shim = new URL("../test/shim/bun_test.ts", import.meta.url).href

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "bun:test"
      ? { url: shim, format: "module-typescript", shortCircuit: true }
      : next(specifier, context),
})
