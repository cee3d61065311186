// How the job ends when it does not end well: one line for a person and an exit code for a script.

import { isAofError } from "bop-aof"

export const exitCodes = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** An expected end with a message of one line. */
export class Failure extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Arguments or input that can't be taken. */
export function unusable(message: string): Failure {
  return new Failure(message, exitCodes.usage)
}

/** The store, or what was read back from it, is not as it should be. */
export function failed(message: string): Failure {
  return new Failure(message, exitCodes.failed)
}

/** Anything that can be thrown, as message and exit code. Errors of the store and of the system have messages for people. */
export function describe(error: unknown): { readonly message: string; readonly exitCode: number } {
  if (error instanceof Failure) return { message: error.message, exitCode: error.exitCode }
  if (isAofError(error))
    return { message: `the store said ${error._tag}: ${error.message}`, exitCode: exitCodes.failed }
  const message = error instanceof Error ? error.message : String(error)
  return { message, exitCode: exitCodes.failed }
}
