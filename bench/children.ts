/** Runs workloads in processes of their own, one at a time, on any of the runtimes. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type RuntimeName, runtimeCommand } from "../scripts/runtimes.mjs"

const childFile = fileURLToPath(new URL("child.ts", import.meta.url))
let running: ChildProcess | undefined

/** Ends the process that runs now, if any, and everything it holds. */
export const killChild = (): void => {
  running?.kill("SIGKILL")
}

export interface CommandOptions {
  /** What is said of it when it fails. */
  readonly label: string
  /** After which it is killed and has failed. */
  readonly timeoutMs?: number
  /** False when what it writes to stderr is only told if it fails. */
  readonly showsErrors?: boolean
}

const start = ([path, ...args]: readonly [string, ...Array<string>], showsErrors = true): ChildProcess => {
  running = spawn(path, args, { stdio: ["ignore", "pipe", showsErrors ? "inherit" : "pipe"] })
  return running
}

/** Runs a program to its end and returns the JSON of its last line; fails when the program does. */
export const runCommand = <T>(
  command: readonly [string, ...Array<string>],
  { label, timeoutMs, showsErrors }: CommandOptions,
): Promise<T> =>
  new Promise((resolve, reject) => {
    const child = start(command, showsErrors)
    let [output, errors, isLate] = ["", "", false]
    child.stdout!.on("data", (chunk) => (output += chunk))
    child.stderr?.on("data", (chunk) => (errors += chunk))
    const expire = (): void => {
      isLate = true
      child.kill("SIGKILL")
    }
    const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs)
    child.on("error", reject)
    child.on("close", (code, signal) => {
      running = undefined
      clearTimeout(timer)
      if (isLate) reject(new Error(`${label} took longer than ${timeoutMs! / 1000} s`))
      else if (code !== 0) reject(new Error(`${label} ended with ${code ?? signal}${lastWords(errors)}`))
      else resolve(JSON.parse(output.trim().split("\n").at(-1)!) as T)
    })
  })

/** The line of an uncaught error that says what it is. */
const lastWords = (errors: string): string => {
  const lines = errors.split("\n").map((line) => line.trim())
  const line = lines.find((one) => /^\w*(?:Error|error)\b.*:/.test(one)) ?? lines.find((one) => one !== "")
  return line === undefined ? "" : `: ${line.slice(0, 200)}`
}

/** Runs a program until it says something, lets it go on for a while, and kills it. */
export const runCommandKilled = (
  command: readonly [string, ...Array<string>],
  { label, timeoutMs, showsErrors }: CommandOptions,
  afterMs: number,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = start(command, showsErrors)
    let [errors, isReady] = ["", false]
    const kill = (): void => void child.kill("SIGKILL")
    const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs)
    child.stdout!.on("data", () => {
      isReady = true
      setTimeout(kill, afterMs)
    })
    child.stderr?.on("data", (chunk) => (errors += chunk))
    child.on("error", reject)
    child.on("close", (code) => {
      running = undefined
      clearTimeout(timer)
      if (isReady) resolve()
      else reject(new Error(`${label} ended with ${code}${lastWords(errors)}`))
    })
  })

/** The command that runs a file of this folder; `flags` are for the runtime. */
export const fileCommand = (
  runtime: RuntimeName,
  file: string,
  args: ReadonlyArray<string>,
  flags: ReadonlyArray<string> = [],
): [string, ...Array<string>] => {
  const [path, ...rest] = runtimeCommand(runtime, file, args)
  // Deno's flags come behind its subcommand.
  rest.splice(runtime === "deno" ? 1 : 0, 0, ...flags)
  return [path, ...rest]
}

/** Runs a workload of `child.ts` to its end and returns its result; fails when the process does. */
export const runChild = <T>(
  runtime: RuntimeName,
  name: string,
  parameters: object,
  flags: ReadonlyArray<string> = [],
): Promise<T> =>
  runCommand<T>(fileCommand(runtime, childFile, [name, JSON.stringify(parameters)], flags), {
    label: `${name} on ${runtime}`,
  })

/** Runs the writer until it says that it is ready, lets it append for a while, and kills it. */
export const runKilled = (runtime: RuntimeName, parameters: object, afterMs: number): Promise<void> =>
  runCommandKilled(
    fileCommand(runtime, childFile, ["killed", JSON.stringify(parameters)]),
    { label: `the writer on ${runtime}` },
    afterMs,
  )
