/**
 * Brings what the contestants need into a folder of the user's cache, never into this repository: npm packages, programs out of Debian
 * packages (unpacked there, not installed), and the C program of the limit. What cannot be had is told, and the others go on.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import { delimiter, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { runtimePath } from "../scripts/runtimes.mjs"
import type { Contestant, DebianProgram } from "./contestant.ts"

const benchFolder = fileURLToPath(new URL(".", import.meta.url))

/** Where everything lies: `BOP_AOF_PEERS`, or a folder of the user's cache. */
export const peersFolder = (): string => {
  const given = process.env["BOP_AOF_PEERS"]
  if (given !== undefined && given !== "") return given
  const caches: Partial<Record<NodeJS.Platform, string | undefined>> = {
    darwin: join(os.homedir(), "Library", "Caches"),
    win32: process.env["LOCALAPPDATA"],
  }
  const cache = caches[process.platform] ?? process.env["XDG_CACHE_HOME"] ?? join(os.homedir(), ".cache")
  return join(cache, "bop-aof-peers")
}

/** What a phase needs to know of an installed contestant. */
export interface Installed {
  readonly packagesFolder: string
  readonly programs: Readonly<Record<string, string>>
  /** The program that runs its phases instead of `peer_child.ts`, for a contestant that was built for the caller's Node. */
  readonly bundle: string | undefined
}

/** Installs what one contestant needs; throws with what stands in the way. */
export const installContestant = (contestant: Contestant, file: string, say: (line: string) => void): Installed => {
  const folder = join(peersFolder(), "npm", contestant.name.replace(/\W+/g, "-"))
  fs.mkdirSync(folder, { recursive: true })
  if (contestant.packages !== undefined) installPackages(folder, contestant, say)
  const programs = (contestant.programs ?? []).map((program) => [program.name, findProgram(program, say)])
  return {
    packagesFolder: folder,
    programs: Object.fromEntries(programs) as Record<string, string>,
    bundle: contestant.isBuilt === true ? makeBundle(folder, file) : undefined,
  }
}

const installPackages = (
  folder: string,
  { name, packages, isBuilt }: Contestant,
  say: (line: string) => void,
): void => {
  const wanted = JSON.stringify(isBuilt === true ? { packages, node: callersNodeVersion() } : { packages })
  const mark = join(folder, "installed.json")
  if (fs.existsSync(mark) && fs.readFileSync(mark, "utf8") === wanted) return
  say(`installing ${name} into ${folder}`)
  fs.rmSync(join(folder, "node_modules"), { recursive: true, force: true })
  fs.writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: packages }))
  // Most carry their binaries; only one that does not may run its own steps.
  const flags = ["--no-audit", "--no-fund", "--loglevel=error", ...(isBuilt === true ? [] : ["--ignore-scripts"])]
  run("npm", ["install", ...flags], folder)
  fs.writeFileSync(mark, wanted)
}

/** The Node that runs npm, for which npm builds. */
export const callersNode = (): string => process.env["BOP_AOF_CALLER_NODE"] ?? "node"
const callersNodeVersion = (): string => run(callersNode(), ["--version"], ".").trim()

/** The phases and the contestant as one JavaScript file, as the caller's Node may be too old for TypeScript. */
const makeBundle = (folder: string, file: string): string => {
  const entry = join(folder, "entry.ts")
  const bundle = join(folder, "phases.mjs")
  const phases = join(benchFolder, "peer_phases.ts")
  fs.writeFileSync(
    entry,
    `import { contestant } from ${JSON.stringify(file)}\nimport { runPhase } from ${JSON.stringify(phases)}\nawait runPhase(contestant)\n`,
  )
  run(runtimePath("bun"), ["build", entry, "--target=node", `--outfile=${bundle}`], folder)
  return bundle
}

/** Finds a program on this machine or in the peers' folder, else fetches it there. */
const findProgram = ({ name, packages }: DebianProgram, say: (line: string) => void): string => {
  const installed = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name))
  const folder = join(peersFolder(), "debian", name)
  const wrapper = join(folder, "run")
  const found = [...installed, wrapper].find((path) => fs.existsSync(path))
  if (found !== undefined) return found
  if (spawnSync("apt-get", ["--version"], { stdio: "ignore" }).status !== 0)
    throw new Error(`${name} is not installed, and there is no apt-get to fetch it with`)
  say(`fetching ${name} into ${folder}`)
  fs.mkdirSync(folder, { recursive: true })
  run("apt-get", ["-q", "download", ...packages], folder)
  for (const file of fs.readdirSync(folder).filter((one) => one.endsWith(".deb"))) {
    run("dpkg", ["-x", file, "root"], folder)
  }
  const root = join(folder, "root", "usr")
  const program = [join(root, "bin", name), join(root, "sbin", name)].find((path) => fs.existsSync(path))
  if (program === undefined) throw new Error(`${packages[0]} holds no ${name}`)
  const names = fs.existsSync(join(root, "lib")) ? fs.readdirSync(join(root, "lib")) : []
  const libraries = names.map((one) => join(root, "lib", one)).join(":")
  fs.writeFileSync(wrapper, `#!/bin/sh\nLD_LIBRARY_PATH="${libraries}" exec "${program}" "$@"\n`, { mode: 0o755 })
  return wrapper
}

/** Builds the C program of the limit and returns its path; throws when there is no compiler. */
export const buildLimit = (): string => {
  const source = join(benchFolder, "limit.c")
  const folder = join(peersFolder(), "limit")
  const program = join(folder, "limit")
  fs.mkdirSync(folder, { recursive: true })
  const isCurrent = fs.existsSync(program) && fs.statSync(program).mtimeMs > fs.statSync(source).mtimeMs
  if (isCurrent) return program
  const compiler = [process.env["CC"], "cc", "gcc", "clang"].find(
    (one) => one !== undefined && spawnSync(one, ["--version"], { stdio: "ignore" }).status === 0,
  )
  if (compiler === undefined)
    throw new Error(
      "there is no C compiler (cc, gcc or clang), so the limit cannot be measured; on Debian: apt-get install gcc libc6-dev",
    )
  run(compiler, ["-O3", "-march=native", "-o", program, source], folder)
  return program
}

const run = (command: string, args: ReadonlyArray<string>, directory: string): string => {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: directory, encoding: "utf8" })
  if (status === 0) return stdout
  const words = error?.message ?? (stderr.trim() || stdout.trim()).split("\n").slice(-3).join(" ")
  throw new Error(`${command} ${args.slice(0, 2).join(" ")} failed: ${words.slice(0, 400)}`)
}
