// Options that the launcher takes for itself; everything else goes on to the program.

import { runtimeNames } from "./runtimes.mjs"

/** The caller asked for something that is not there. */
export class UsageError extends Error {}

/** Takes `--name value` and `--name=value` out of the arguments before a `--`, and gives the values. */
export function takeOption(args, name) {
  const values = []
  const rest = []
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]
    if (arg === "--") {
      rest.push(...args.slice(index))
      break
    }
    if (arg.startsWith(`${name}=`)) values.push(arg.slice(name.length + 1))
    else if (arg !== name) rest.push(arg)
    else if (++index < args.length) values.push(args[index])
    else throw new UsageError(`${name} needs a value`)
  }
  return { values, rest }
}

/** True when `--help` or `-h` is among the arguments before a `--`. */
export function asksForHelp(args) {
  const end = args.indexOf("--")
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === "--help" || arg === "-h")
}

/** Throws for the first argument that looks like an option: those that are known have been taken out before. */
export function refuseOptions(args, known) {
  const unknown = args.find((arg) => arg.startsWith("-"))
  if (unknown !== undefined) throw new UsageError(`there is no option ${unknown}, there are ${known.join(", ")}`)
}

/** `--runtime bun|deno|node`, more than once or separated by commas. */
export function takeRuntimes(args, namesDefault) {
  const { values, rest } = takeOption(args, "--runtime")
  const names = values.flatMap((value) => value.split(","))
  for (const name of names) {
    if (!runtimeNames.includes(name))
      throw new UsageError(`no such runtime: ${name}; there are ${runtimeNames.join(", ")}`)
  }
  return { names: names.length > 0 ? names : namesDefault, rest }
}
