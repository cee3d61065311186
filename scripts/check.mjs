// `npm run check`: everything about the code that is not behaviour. One line a step, and what a step says if it fails.

import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, sep } from "node:path"
import { checkDocumentation } from "./check_doc.mjs"
import { UsageError } from "./options.mjs"
import { capture, endWithChildren } from "./process.mjs"
import { rootDirectory, runtimePath } from "./runtimes.mjs"

const nodeModules = join(rootDirectory, "node_modules")

const steps = {
  format: () => script(["@biomejs", "biome", "bin", "biome"], ["check", "--colors=off", "--max-diagnostics=50"]),
  tsc: () => script(["typescript", "bin", "tsc"], ["--pretty", "false"]),
  "deno check": () => deno(["check", "--quiet", ...entryPoints(), ...programs()]),
  "deno doc": () => checkDocumentation(entryPoints()),
  "deno publish": () => deno(["publish", "--dry-run", "--allow-dirty", "--quiet"]),
  package: () => run(process.execPath, ["scripts/launch.mjs", "test", "--runtime", "bun", "test/package.test.ts"]),
}

export const stepNames = Object.keys(steps)

/** Throws for a name that is none of a step. */
export function refuseSteps(names) {
  const unknown = names.find((name) => !stepNames.includes(name))
  if (unknown !== undefined) throw new UsageError(`no such step: ${unknown}; there are ${stepNames.join(", ")}`)
}

/** Runs all steps, or those named, and gives the exit code. */
export async function runChecks(names) {
  endWithChildren()
  let worst = 0
  for (const name of names.length > 0 ? names : stepNames) {
    const started = performance.now()
    const { code, output } = await steps[name]()
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(`${code === 0 ? "ok    " : "failed"}  ${name.padEnd(14)}${seconds.padStart(6)} s`)
    if (code !== 0) console.log(`${output.trimEnd()}\n`)
    worst = Math.max(worst, code)
  }
  return worst
}

/** The files that `deno.json` exports. */
export function entryPoints() {
  const { exports } = JSON.parse(readFileSync(join(rootDirectory, "deno.json"), "utf8"))
  return Object.values(exports)
}

/** Tests, benches and examples: what runs but is not exported. */
function programs() {
  return ["test", "bench", "examples"].flatMap((folder) => {
    const directory = join(rootDirectory, folder)
    if (!existsSync(directory)) return []
    const files = readdirSync(directory, { recursive: true }).filter((path) => path.endsWith(".ts"))
    return files.map((path) => `${folder}/${path.split(sep).join("/")}`)
  })
}

function script(path, args) {
  return run(process.execPath, [join(nodeModules, ...path), ...args])
}

function deno(args) {
  return run(runtimePath("deno"), args)
}

function run(command, args) {
  return capture(command, args, { cwd: rootDirectory, env: { ...process.env, NO_COLOR: "1" } })
}
