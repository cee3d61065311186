/** Options of the bench programs: each is checked before anything runs, and a wrong one ends the program with code 2 and one line. */
import process from "node:process"
import { type ParseArgsConfig, parseArgs } from "node:util"
import { currentRuntime, type RuntimeName, runtimeNames } from "../scripts/runtimes.mjs"

/** The caller asked for something that is not there. */
export class UsageError extends Error {}

/** How the programs start themselves, and what their tests ask for. */
const internalNames = ["child", "check"]

/** The caller asked what there is: the message is the answer. */
class HelpAsked extends Error {}

type Options = NonNullable<ParseArgsConfig["options"]>
type Values = Record<string, string | boolean | undefined>

/** The values of `--name value` options; booleans take none. With `--help` among them it ends the program by what `runMain` prints. */
export const parseOptions = (options: Options): Values => {
  const known = { ...options, help: { type: "boolean", short: "h" } } satisfies Options
  const own = Object.entries(known).filter(([name]) => !internalNames.includes(name))
  let values: Values
  try {
    values = parseArgs({ args: process.argv.slice(2), options: known }).values as Values
  } catch (error) {
    const names = own.map(([name]) => `--${name}`)
    throw new UsageError(`${(error as Error).message.split(". ")[0]}; options are ${names.join(", ")}`)
  }
  if (values["help"] === true) throw new HelpAsked(own.map(describeOption).join("\n"))
  return values
}

const describeOption = ([name, option]: readonly [string, Options[string]]): string => {
  const takes = option.type === "string" ? " VALUE" : ""
  const standard = typeof option.default === "string" ? `default ${option.default}` : ""
  return `  ${`--${name}${takes}`.padEnd(28)}${standard}`.trimEnd()
}

/** The items of a list with commas; each must be one of `known`. */
export const takeNames = <T extends string>(
  option: string,
  value: Values[string],
  known: ReadonlyArray<T>,
): ReadonlyArray<T> => {
  if (value === undefined) return known
  const names = String(value)
    .split(",")
    .map((name) => name.trim())
  const unknown = names.find((name) => !known.includes(name as T))
  if (unknown !== undefined)
    throw new UsageError(`--${option}: no such name: ${unknown}; there are ${known.join(", ")}`)
  return [...new Set(names)] as Array<T>
}

/** The runtimes that were asked for, by default the one that runs this. */
export const takeRuntimeNames = (value: Values[string]): ReadonlyArray<RuntimeName> =>
  takeNames("runtime", value ?? currentRuntime, runtimeNames)

/** A whole number from `lowest` to `highest`. */
export const takeNumber = (
  option: string,
  value: Values[string],
  { lowest, highest }: { readonly lowest: number; readonly highest: number },
): number => {
  const number = Number(value)
  if (!/^\d+$/.test(String(value)) || number < lowest || number > highest)
    throw new UsageError(`--${option} takes a whole number from ${lowest} to ${highest}, not ${value}`)
  return number
}

/** A list of such numbers. */
export const takeNumbers = (
  option: string,
  value: Values[string],
  bounds: { readonly lowest: number; readonly highest: number },
): ReadonlyArray<number> => [
  ...new Set(
    String(value)
      .split(",")
      .map((one) => takeNumber(option, one.trim(), bounds)),
  ),
]

/** Runs a program; with `--help` it says its options, its failure is one line, with `DEBUG` in the environment all of it. */
export const runMain = async (main: () => Promise<void>): Promise<void> => {
  try {
    await main()
  } catch (error) {
    if (error instanceof HelpAsked)
      return console.log(`options:\n${error.message}\ndocs/performance.md says what they mean`)
    console.error(process.env["DEBUG"] === undefined ? (error as Error).message : error)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
