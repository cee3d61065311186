/** A directory for the stores of a run, removed at its end, also when that is Ctrl-C. */
import * as fs from "node:fs"
import * as os from "node:os"
import { join, resolve } from "node:path"
import process from "node:process"

export interface Scratch {
  readonly directory: string
  /** Removes everything; a second call does nothing. */
  readonly remove: () => void
}

/** Makes it below `parent`, which is made too when it is not there; calls `onSignal` before a signal ends the process. */
export const makeScratch = (parent: string, onSignal: () => void): Scratch => {
  const made = fs.mkdirSync(parent, { recursive: true })
  const directory = fs.mkdtempSync(join(resolve(parent), "bench-"))
  const remove = (): void => {
    fs.rmSync(directory, { recursive: true, force: true })
    if (made !== undefined && fs.existsSync(made) && fs.readdirSync(made).length === 0) fs.rmdirSync(made)
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      onSignal()
      remove()
      process.exit(128 + os.constants.signals[signal])
    })
  }
  return { directory, remove }
}
