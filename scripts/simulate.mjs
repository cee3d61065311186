// `npm run simulate` (`--help` for its options): the store in a simulated world, seed after seed.

import { join } from "node:path"
import { install } from "./install.mjs"
import { takeOption, takeRuntimes } from "./options.mjs"
import { handOver } from "./process.mjs"
import { rootDirectory, runtimeCommand } from "./runtimes.mjs"

/** Name, lowest and highest value, default; `whole` for integers. */
const numbers = [
  { name: "--seeds", least: 1, most: 1e9, isWhole: true },
  { name: "--minutes", least: 0.01, most: 100_000, isWhole: false },
  { name: "--seed", least: 0, most: 2 ** 52, isWhole: true },
  { name: "--steps", least: 1, most: 100_000, isWhole: true },
  { name: "--shrink", least: 0, most: 100_000, isWhole: true },
]

/** An argument that cannot be used: exit code 2. */
export class BadArgument extends Error {}

/** Runs the simulator on each runtime; gives the exit code: 1 when there was a violation, 2 for an argument that cannot be used. */
export async function runSimulate(args) {
  let run
  try {
    run = parse(args)
  } catch (error) {
    if (!(error instanceof BadArgument)) throw error
    console.error(error.message)
    return 2
  }
  install(run.names)
  let worst = 0
  for (const name of run.names) {
    const file = join(rootDirectory, "test", "simulate", "main.ts")
    const [path, ...rest] = runtimeCommand(name, file, [JSON.stringify(run.options)])
    worst = Math.max(worst, await handOver(path, rest))
  }
  return worst
}

/** The options, checked; throws `BadArgument`. */
export function parse(args) {
  const values = {}
  let left = args
  let names = ["bun"]
  try {
    ;({ names, rest: left } = takeRuntimes(left, names))
    for (const number of numbers) {
      const { values: given, rest } = takeOption(left, number.name)
      left = rest
      if (given.length > 0) values[number.name] = numberOf(number, given.at(-1))
    }
  } catch (error) {
    throw error instanceof BadArgument ? error : new BadArgument(error.message)
  }
  const flags = ["--exhaustive", "--trace"]
  const unknown = left.find((arg) => !flags.includes(arg))
  if (unknown !== undefined) {
    const known = [...numbers.map(({ name }) => name), "--runtime", ...flags]
    throw new BadArgument(`there is no argument ${unknown}, there are ${known.join(", ")}`)
  }
  const hasTime = values["--minutes"] !== undefined
  const isExhaustive = left.includes("--exhaustive")
  return {
    names,
    options: {
      seed: values["--seed"] ?? Math.floor(Date.now() / 1000) * 1000,
      seeds: values["--seeds"] ?? (hasTime ? Number.MAX_SAFE_INTEGER : isExhaustive ? 1 : 100),
      minutes: values["--minutes"] ?? 100_000,
      steps: values["--steps"] ?? (isExhaustive ? 40 : 120),
      tries: values["--shrink"] ?? 300,
      isExhaustive,
      showsTrace: left.includes("--trace"),
    },
  }
}

function numberOf({ name, least, most, isWhole }, text) {
  const value = Number(text)
  if (text.trim() !== "" && value >= least && value <= most && (!isWhole || Number.isInteger(value))) return value
  throw new BadArgument(
    `${name} is ${text}, allowed is ${isWhole ? "a whole number" : "a number"} from ${least} to ${most}`,
  )
}
