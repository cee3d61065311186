// Installs what is missing, and says so in one line; silent when all is there.

import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  nodeDirectory,
  nodePackage,
  nodeVersion,
  rootDirectory,
  runtimeEnvironment,
  runtimeNames,
  runtimePath,
} from "./runtimes.mjs"

/** Makes sure of `node_modules` and of the named runtimes, and tells child processes where they are. */
export function install(names = runtimeNames) {
  if (!isModulesCurrent()) {
    console.error("installing the packages of package-lock.json (npm ci)")
    npm(["ci"], rootDirectory)
  }
  if (names.includes("node")) installNode()
  for (const name of names) makeSure(name)
  Object.assign(process.env, runtimeEnvironment(names))
}

/** npm keeps a lock file of what it installed; it holds the same packages as ours, or the folder is out of date. */
function isModulesCurrent() {
  const installed = readLock(join(rootDirectory, "node_modules", ".package-lock.json"))
  if (!installed) return false
  const wanted = readLock(join(rootDirectory, "package-lock.json"))
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true
    const present = installed[path]
    return present ? present.version === entry.version : entry.optional === true
  })
}

function readLock(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : undefined
}

function installNode() {
  if (!nodePackage) return
  const manifest = join(nodeDirectory, "node_modules", nodePackage, "package.json")
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === nodeVersion) return
  console.error(`installing Node ${nodeVersion} into .runtimes (npm install ${nodePackage})`)
  mkdirSync(nodeDirectory, { recursive: true })
  writeFileSync(join(nodeDirectory, "package.json"), `${JSON.stringify({ private: true })}\n`)
  npm(["install", "--ignore-scripts", "--no-save", "--no-package-lock", `${nodePackage}@${nodeVersion}`], nodeDirectory)
}

/** A runtime that does not answer gets its package's install step run, which npm may have been told to leave out. */
function makeSure(name) {
  if (canFind(name)) return
  const script = { bun: "install.js", deno: "install.cjs" }[name]
  const directory = join(rootDirectory, "node_modules", name)
  if (script && existsSync(join(directory, script))) {
    console.error(`running the install step of ${name}`)
    spawnSync(process.execPath, [script], { cwd: directory, stdio: "ignore" })
  }
  runtimePath(name)
}

function canFind(name) {
  try {
    return Boolean(runtimePath(name))
  } catch {
    return false
  }
}

/** npm's own output is shown only if it fails. */
function npm(args, directory) {
  const quiet = [...args, "--loglevel=error", "--no-audit", "--no-fund", "--no-progress"]
  // Inside `npm start` npm names its own program, which may be another one than the first on the path.
  const program = process.env.npm_execpath
  const [command, list] = program?.endsWith(".js") ? [process.execPath, [program, ...quiet]] : ["npm", quiet]
  const result = spawnSync(command, list, {
    cwd: directory,
    encoding: "utf8",
    shell: process.platform === "win32" && command === "npm",
  })
  if (result.status === 0) return
  // The first lines say what is wrong; a page of npm's usage may follow.
  const said = `${result.stdout ?? ""}${result.stderr ?? result.error?.message ?? ""}`.trim().split("\n").slice(0, 20)
  throw new Error([`npm ${args.join(" ")} failed`, ...said].join("\n"))
}
