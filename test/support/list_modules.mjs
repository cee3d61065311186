// Imports the module given as first argument and prints, as JSON, which modules that loaded and how much WebAssembly it
// compiled. Node and Deno tell through a module hook; Bun keeps all loaded modules, ES modules too, in `require.cache`.

import nodeModule from "node:module"

const loaded = []
let wasm = 0

// Node strips types by a WebAssembly module of its own: that one comes first, uncounted.
nodeModule.stripTypeScriptTypes?.("")

// A Proxy sees both `WebAssembly.compile(…)` and `new WebAssembly.Module(…)`.
const counting =
  (perform) =>
  (target, ...args) => {
    wasm++
    return perform(target, ...args)
  }
const handler = { apply: counting(Reflect.apply), construct: counting(Reflect.construct) }
for (const name of ["Module", "compile", "compileStreaming", "instantiate", "instantiateStreaming"]) {
  if (WebAssembly[name]) WebAssembly[name] = new Proxy(WebAssembly[name], handler)
}

nodeModule.registerHooks?.({
  load: (url, context, next) => {
    loaded.push(url)
    return next(url, context)
  },
})

await import(process.argv[2])
if (!nodeModule.registerHooks) loaded.push(...Object.keys(nodeModule.createRequire(import.meta.url).cache))
console.log(JSON.stringify({ modules: loaded, wasm }))
