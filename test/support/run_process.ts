// Runs a program to its end and keeps what it writes.

import { spawn } from "node:child_process"

/** What came of a run; a process that a signal ended has no `code`. */
export interface ProcessResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Starts `command[0]` with the other elements as arguments, in `directory`. */
export function runProcess(command: ReadonlyArray<string>, directory: string): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    const [program, ...args] = command
    const child = spawn(program!, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] })
    const output = { stdout: "", stderr: "" }
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        output[name] += text
      })
    }
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, ...output }))
  })
}

/** The same, for programs that must succeed: gives stdout, and throws with all output if the exit code is not 0. */
export async function runSuccessfully(command: ReadonlyArray<string>, directory: string): Promise<string> {
  const { code, stdout, stderr } = await runProcess(command, directory)
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}\n${stdout}${stderr}`)
  return stdout
}
