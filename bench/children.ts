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

/** Starts a workload; `flags` are for the runtime. */
const start = (runtime: RuntimeName, name: string, parameters: object, flags: ReadonlyArray<string>): ChildProcess => {
  const [path, ...args] = runtimeCommand(runtime, childFile, [name, JSON.stringify(parameters)])
  // Deno's flags come behind its subcommand.
  args.splice(runtime === "deno" ? 1 : 0, 0, ...flags)
  running = spawn(path!, args, { stdio: ["ignore", "pipe", "inherit"] })
  return running
}

/** Runs a workload to its end and returns its result; fails when the process does. */
export const runChild = <T>(
  runtime: RuntimeName,
  name: string,
  parameters: object,
  flags: ReadonlyArray<string> = [],
): Promise<T> =>
  new Promise((resolve, reject) => {
    const child = start(runtime, name, parameters, flags)
    let output = ""
    child.stdout!.on("data", (chunk) => (output += chunk))
    child.on("error", reject)
    child.on("close", (code) => {
      running = undefined
      if (code !== 0) reject(new Error(`${name} on ${runtime} ended with ${code}`))
      else resolve(JSON.parse(output.trim().split("\n").at(-1)!) as T)
    })
  })

/** Runs the writer until it says that it is ready, lets it append for a while, and kills it. */
export const runKilled = (runtime: RuntimeName, parameters: object, afterMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = start(runtime, "killed", parameters, [])
    let isReady = false
    child.stdout!.on("data", () => {
      isReady = true
      setTimeout(() => child.kill("SIGKILL"), afterMs)
    })
    child.on("error", reject)
    child.on("close", (code) => {
      running = undefined
      if (isReady) resolve()
      else reject(new Error(`the writer on ${runtime} ended with ${code}`))
    })
  })
