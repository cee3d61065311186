// `npm run mutants -- [--only NAME] [--runtime bun|deno|node]`: each patch of `test/mutants` plants one bug into a copy of the sources, and
// the simulator has to find it within the number of seeds that the patch states. A patch that does not apply, or is not found, fails.
//
// A patch is a unified diff with lines in front of it: `bug: …`, `seeds: N`, and where it needs them `steps: K` and `from: SEED`. Where chance
// takes thousands of runs to the place, `test: FILE` in the place of `seeds` names a test that has to find it, on Bun.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { install } from "./install.mjs"
import { takeOption, takeRuntimes } from "./options.mjs"
import { capture, endWithChildren } from "./process.mjs"
import { rootDirectory, runtimeCommand, runtimePath } from "./runtimes.mjs"

const copied = ["src", "scripts", "test", "package.json", "deno.json", "bunfig.toml", "mod.ts"]
const mutantMinutes = 15

/** Gives the exit code: 0 when every mutant was found, 2 for an argument that cannot be used. */
export async function runMutants(args) {
  let names
  let only
  try {
    const { names: given, rest } = takeRuntimes(args, ["bun"])
    const { values, rest: left } = takeOption(rest, "--only")
    if (left.length > 0) throw new Error(`there is no argument ${left[0]}, there are --only, --runtime`)
    names = given
    only = values.flatMap((value) => value.split(","))
  } catch (error) {
    console.error(error.message)
    return 2
  }
  const mutants = readMutants()
  const unknown = only.find((name) => !mutants.some((mutant) => mutant.name === name))
  if (unknown !== undefined) {
    console.error(`--only is ${unknown}, allowed is ${mutants.map(({ name }) => name).join(", ")}`)
    return 2
  }
  install([...new Set(["bun", ...names])])
  endWithChildren()
  const directory = mkdtempSync(join(tmpdir(), "bop-aof-mutants-"))
  let worst = 0
  try {
    for (const mutant of mutants.filter(({ name }) => only.length === 0 || only.includes(name))) {
      worst = Math.max(worst, await runMutant(mutant, directory, names[0]))
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return worst
}

/** All patches, in order of name. */
export function readMutants() {
  const folder = join(rootDirectory, "test", "mutants")
  return readdirSync(folder)
    .filter((file) => file.endsWith(".patch"))
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), "utf8")
      const value = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1]
      return {
        name: file.slice(0, -".patch".length),
        path: join(folder, file),
        bug: value("bug"),
        test: value("test"),
        seeds: Number(value("seeds")),
        steps: Number(value("steps") ?? 60),
        from: Number(value("from") ?? 1),
      }
    })
}

/** A fresh copy with the patch in it; the exit code says whether the simulator saw it. */
async function runMutant({ name, path, bug, test, seeds, steps, from }, directory, runtime) {
  const copy = join(directory, name)
  for (const part of copied) cpSync(join(rootDirectory, part), join(copy, part), { recursive: true })
  symlinkSync(join(rootDirectory, "node_modules"), join(copy, "node_modules"), "junction")
  const patched = await capture("git", ["apply", "--whitespace=nowarn", path], { cwd: copy })
  if (patched.code !== 0) return tell("failed", name, `the patch does not apply: ${patched.output.trim()}`)
  if (test !== undefined) {
    const runs = { mutant: await runTest(copy, test), sound: await runTest(rootDirectory, test) }
    rmSync(copy, { recursive: true, force: true })
    if (runs.sound.code !== 0) return tell("failed", name, `${test} fails without the bug too`)
    const failed = /^\(fail\) (.*?)( \[[^\]]*\])?$/m.exec(runs.mutant.output)?.[1]
    if (runs.mutant.code === 0 || failed === undefined) return tell("MISSED", name, `not found by ${test}: ${bug}`)
    return tell("found", name, `by ${test}: ${bug}\n${" ".repeat(8)}${failed}`)
  }
  const { code, output } = await simulate(copy, runtime, { seed: from, seeds, steps })
  rmSync(copy, { recursive: true, force: true })
  const found = /^violation in seed (\d+): (.*)$/m.exec(output)
  if (code === 1 && found !== null) {
    const within = Number(found[1]) - from + 1
    // What fails without the bug too says nothing about it.
    const sound = await simulate(rootDirectory, runtime, { seed: Number(found[1]), seeds: 1, steps })
    if (sound.code !== 0) return tell("failed", name, `seed ${found[1]} fails without the bug too: ${found[2]}`)
    return tell("found", name, `within ${within} of ${seeds} seeds: ${bug}\n${" ".repeat(8)}${found[2].slice(0, 160)}`)
  }
  if (code === 0) return tell("MISSED", name, `not found within ${seeds} seeds: ${bug}`)
  return tell("failed", name, output.trim().slice(-600))
}

function simulate(directory, runtime, range) {
  const options = { ...range, minutes: mutantMinutes, tries: 0, stopAt: 1 }
  const [command, ...rest] = runtimeCommand(runtime, join(directory, "test", "simulate", "main.ts"), [
    JSON.stringify(options),
  ])
  return capture(command, rest, { cwd: directory, timeoutMs: (mutantMinutes + 5) * 60_000 })
}

function runTest(directory, test) {
  const args = ["--conditions=source", "test", join(directory, test)]
  return capture(runtimePath("bun"), args, { cwd: directory, timeoutMs: mutantMinutes * 60_000 })
}

function tell(outcome, name, text) {
  console.log(`${outcome.padEnd(7)} ${name}: ${text}`)
  return outcome === "found" ? 0 : 1
}
