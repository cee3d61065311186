// Child processes that a test talks with: a program of this repository on any runtime, line by line.

import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type RuntimeName, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"

/** A running child; its standard error goes to the test's. */
export interface Child {
  readonly pid: number
  /** The next line of its output; fails when it has ended. */
  readonly line: () => Promise<string>
  readonly write: (text: string) => void
  /** Ends its standard input. */
  readonly end: () => void
  /**
   * Sends a signal and nothing else. `ChildProcess.kill` of Deno ends the child's standard input first, so that one which waits
   * for that may have ended in order when SIGKILL arrives.
   */
  readonly kill: (signal: NodeJS.Signals) => void
  /** Settles when it has ended and was asked for its exit code, so that it is no zombie. */
  readonly closed: Promise<void>
}

/** Starts `test/support/<program>` on a runtime. */
export function startChild(runtime: RuntimeName, program: string, args: ReadonlyArray<string>): Child {
  const [command, ...rest] = runtimeCommand(runtime, join(rootDirectory, "test", "support", program), args)
  const output = openUnnamed()
  const child: ChildProcess = spawn(command, rest, { cwd: rootDirectory, stdio: ["pipe", output, "inherit"] })
  const lines: string[] = []
  const waiting: Array<{ readonly resolve: (line: string) => void; readonly reject: (error: Error) => void }> = []
  let isEnded = false
  const look = makeLineReader(output, (line) => {
    const next = waiting.shift()
    if (next) next.resolve(line)
    else lines.push(line)
  })
  const timer = setInterval(look, 1)
  const end = (): void => {
    if (isEnded) return
    isEnded = true
    clearInterval(timer)
    look()
    closeSync(output)
    for (const { reject } of waiting.splice(0)) reject(new Error(`${program} on ${runtime} ended without a word`))
  }
  const closed = new Promise<void>((resolve, reject) => {
    child.on("error", (error) => {
      end()
      reject(error)
    })
    child.on("close", () => {
      end()
      resolve()
    })
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
    kill: (signal) => {
      if (child.exitCode !== null || child.signalCode !== null) return
      try {
        process.kill(child.pid!, signal)
      } catch (error) {
        if ((error as { code?: unknown }).code !== "ESRCH") throw error
      }
    },
    closed,
  }
}

/**
 * A file for a child's output, which goes when it is closed. It is no pipe because Bun 1.4.5 can fail to notice what comes through
 * one when the machine is busy: it then waits for ever for a child that has ended long ago.
 */
function openUnnamed(): number {
  const folder = mkdtempSync(join(tmpdir(), "bop-aof-child-"))
  const descriptor = openSync(join(folder, "output"), "a+")
  rmSync(folder, { recursive: true })
  return descriptor
}

/** Gives a function that calls `onLine` with each whole line that has been written since it was called last. */
function makeLineReader(descriptor: number, onLine: (line: string) => void): () => void {
  const buffer = new Uint8Array(64 * 1024)
  const decoder = new TextDecoder()
  let position = 0
  let rest = ""
  return () => {
    for (let count = -1; count !== 0; position += count) {
      count = readSync(descriptor, buffer, 0, buffer.length, position)
      rest += decoder.decode(buffer.subarray(0, count), { stream: true })
    }
    const lines = rest.split("\n")
    rest = lines.pop() as string
    for (const line of lines) onLine(line)
  }
}
