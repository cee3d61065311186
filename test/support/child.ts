// Child processes that a test talks with: a program of this repository on any runtime, line by line.

import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { type RuntimeName, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"

/** A running child; its standard error goes to the test's. */
export interface Child {
  readonly pid: number
  /** The next line of its output; fails when it has ended. */
  readonly line: () => Promise<string>
  readonly write: (text: string) => void
  /** Ends its standard input. */
  readonly end: () => void
  readonly kill: (signal: NodeJS.Signals) => void
  /** Settles when it has ended and was asked for its exit code, so that it is no zombie. */
  readonly closed: Promise<void>
}

/** Starts `test/support/<program>` on a runtime. */
export function startChild(runtime: RuntimeName, program: string, args: ReadonlyArray<string>): Child {
  const [command, ...rest] = runtimeCommand(runtime, join(rootDirectory, "test", "support", program), args)
  const child: ChildProcess = spawn(command, rest, { cwd: rootDirectory, stdio: ["pipe", "pipe", "inherit"] })
  const lines: string[] = []
  const waiting: Array<{ readonly resolve: (line: string) => void; readonly reject: (error: Error) => void }> = []
  let isEnded = false
  const reader = createInterface({ input: child.stdout! })
  reader.on("line", (line) => {
    const next = waiting.shift()
    if (next) next.resolve(line)
    else lines.push(line)
  })
  const closed = new Promise<void>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", () => resolve())
  })
  reader.on("close", () => {
    isEnded = true
    for (const { reject } of waiting.splice(0)) reject(new Error(`${program} on ${runtime} ended without a word`))
  })
  // A child that was killed leaves a broken pipe, which is no news to the test.
  child.stdin!.on("error", () => {})
  return {
    pid: child.pid!,
    line: () =>
      new Promise((resolve, reject) => {
        const line = lines.shift()
        if (line !== undefined) resolve(line)
        else if (isEnded) reject(new Error(`${program} on ${runtime} ended without a word`))
        else waiting.push({ resolve, reject })
      }),
    write: (text) => void child.stdin!.write(text),
    end: () => void child.stdin!.end(),
    kill: (signal) => void child.kill(signal),
    closed,
  }
}
