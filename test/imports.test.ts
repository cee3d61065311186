// Importing the package costs little: no back end's SDK, no WebAssembly, no command line or server, until it is used.

import { expect, test } from "bun:test"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { currentRuntime, rootDirectory, runtimeCommand } from "../scripts/runtimes.mjs"
import { runSuccessfully } from "./support/run_process.ts"

interface Loaded {
  readonly modules: ReadonlyArray<string>
  readonly wasm: number
}

const heavy = /@aws-sdk|@smithy|hash-wasm|zstd-wasm|\.wasm$|\/src\/(?:cli|server|client|testing)\//

test("importing the package loads no AWS SDK, no wasm and no command line", async () => {
  const { modules, wasm } = await load(pathToFileURL(join(rootDirectory, "mod.ts")).href)
  expect(modules.some((path) => path.endsWith("/mod.ts"))).toBe(true)
  expect(modules.some((path) => path.includes("/node_modules/effect/"))).toBe(true)
  expect(modules.filter((path) => heavy.test(path))).toEqual([])
  expect(wasm).toBe(0)
})

test("importing ./s3 loads no AWS SDK: it reads the environment, for which Deno asks", async () => {
  const { modules } = await load(pathToFileURL(join(rootDirectory, "src", "api", "s3.ts")).href)
  expect(modules.some((path) => path.endsWith("/s3_connection.ts"))).toBe(true)
  expect(modules.filter((path) => heavy.test(path))).toEqual([])
})

test("what is loaded and compiled would be seen", async () => {
  const { modules, wasm } = await load(pathToFileURL(join(rootDirectory, "test", "support", "load_wasm.ts")).href)
  expect(modules.some((path) => heavy.test(path))).toBe(true)
  expect(wasm).toBeGreaterThan(0)
})

async function load(url: string): Promise<Loaded> {
  const program = join(rootDirectory, "test", "support", "list_modules.mjs")
  return JSON.parse(await runSuccessfully(runtimeCommand(currentRuntime, program, [url]), rootDirectory))
}
