// `npm run fix`: biome with `--write`. It ends with 1 for an argument that it does not know, as for code that it cannot fix: those are refused before.

import { existsSync } from "node:fs"
import { join } from "node:path"
import { asksForHelp, UsageError } from "./options.mjs"
import { capture, handOver } from "./process.mjs"
import { rootDirectory } from "./runtimes.mjs"

const biome = join("node_modules", "@biomejs", "biome", "bin", "biome")

/** Puts right what can be put right, and gives the exit code. Throws for an option that biome has not, and for a path that is not there. */
export async function runFix(args) {
  if (!asksForHelp(args)) await refuseArguments(args)
  return handOver(process.execPath, [biome, "check", "--write", ...args], { cwd: rootDirectory })
}

async function refuseArguments(args) {
  if (args.length === 0) return
  const { output } = await capture(process.execPath, [biome, "check", "--help"], { cwd: rootDirectory })
  const known = new Set(output.match(/(?<![\w-])--?[a-z][a-z-]*/g))
  for (const [index, arg] of args.entries()) {
    if (arg === "--") continue
    if (arg.startsWith("-")) {
      const [name] = arg.split("=", 1)
      if (!known.has(name)) throw new UsageError(`there is no option ${name}; npm run fix -- --help says what there is`)
      // What follows an option may be its value.
    } else if (!args[index - 1]?.startsWith("--") && !existsSync(join(rootDirectory, arg)) && !existsSync(arg)) {
      throw new UsageError(`there is no file or directory ${arg}`)
    }
  }
}
