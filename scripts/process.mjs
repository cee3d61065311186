// Starting child processes: for output that is wanted (`capture`) and for a program that takes over the terminal
// (`handOver`). A child gets signals once: from the terminal's process group, or passed on from here.

import { spawn } from "node:child_process"
import { constants } from "node:os"
import { isatty } from "node:tty"

/** The exit code that shells use for a process that a signal ended. */
function exitCode(code, signal) {
  return code ?? 128 + (constants.signals[signal] ?? 0)
}

const running = new Set()

/** From here on a signal that ends this process also ends every child that `capture` started. */
export function endWithChildren() {
  process.on("exit", () => {
    for (const child of running) child.kill("SIGKILL")
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(exitCode(null, signal)))
}

/** Runs to the end and gives exit code and everything written to stdout and stderr, in order of arrival. */
export function capture(command, args, { timeoutMs = 0, ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options })
    running.add(child)
    const chunks = []
    let timedOut = false
    const expire = () => {
      timedOut = true
      child.kill("SIGKILL")
    }
    const timer = timeoutMs > 0 && setTimeout(expire, timeoutMs)
    child.stdout.on("data", (chunk) => chunks.push(chunk))
    child.stderr.on("data", (chunk) => chunks.push(chunk))
    child.on("error", (error) => finish(127, `${command}: ${error.message}\n`))
    child.on("close", (code, signal) => finish(exitCode(code, signal), ""))
    function finish(code, note) {
      clearTimeout(timer)
      running.delete(child)
      resolve({ code, timedOut, output: Buffer.concat(chunks).toString() + note })
    }
  })
}

/**
 * Gives stdin, stdout and stderr to the child and resolves with its exit code. Ctrl-C reaches the child through the
 * terminal, so it must not be sent again (many programs take a second one as "now"); SIGTERM and SIGHUP come to this
 * process alone and are passed on. Without a terminal SIGINT is passed on too. Either way the child ends first.
 */
export function handOver(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "inherit", ...options })
    const hasTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))
    const handlers = ["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => {
      const handler = () => {
        if (signal === "SIGINT" && hasTerminal) return
        child.kill(signal)
      }
      process.on(signal, handler)
      return [signal, handler]
    })
    const finish = (code) => {
      for (const [signal, handler] of handlers) process.off(signal, handler)
      resolve(code)
    }
    child.on("error", (error) => {
      console.error(`cannot start ${command}: ${error.message}`)
      finish(127)
    })
    child.on("close", (code, signal) => finish(exitCode(code, signal)))
  })
}
