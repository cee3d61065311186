// Stopping in good order: the first Ctrl-C stops taking input, closes the store and says where it stopped. All waits and
// loops of the job look at one AbortSignal, whose reason is what will be reported.

import { constants } from "node:os"
import { exitCodes, Failure } from "./failure.ts"

const signalNames = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** A terminal and a launcher may both deliver the same Ctrl-C: what follows this soon is taken for the same one. */
const sameSignalMs = 1000

export class Stop {
  readonly #controller: AbortController = new AbortController()
  #signalMs: number | undefined = undefined

  constructor() {
    // The handlers stay until the end: the second delivery of a Ctrl-C may come when all is done.
    for (const name of signalNames) process.on(name, () => this.#onSignal(name))
    process.stdout.on("error", () => {
      this.request(new Failure("nobody reads the output any more", exitCodes.interrupted))
    })
    // Without a place for messages the exit code has to do.
    process.stderr.on("error", () => {})
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  request(reason: Failure): void {
    this.#controller.abort(reason)
  }

  #onSignal(name: (typeof signalNames)[number]): void {
    const exitCode = 128 + constants.signals[name]
    const nowMs = performance.now()
    if (this.#signalMs !== undefined && nowMs - this.#signalMs > sameSignalMs) process.exit(exitCode)
    this.#signalMs ??= nowMs
    this.request(new Failure(`interrupted by ${name}`, exitCode))
  }
}
