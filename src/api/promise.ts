/** From effects to promises: a typed failure is what the promise rejects with, an aborted signal rejects with its reason. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { checkNames } from "../model/config_check.ts"
import { type AofError, invalidArgument } from "../model/errors.ts"

/** Waits that can be ended. */
export interface WaitOptions {
  /** Ends the wait, which rejects with its reason; what was begun goes on. */
  readonly signal?: AbortSignal | undefined
}

/** Checks the names of the options of a call that waits, and runs what it asks for; whatever is thrown is what it rejects with. */
export const runWith = async <A>(
  effect: () => Effect.Effect<A, AofError>,
  options: WaitOptions | undefined,
  names: ReadonlyArray<string> = signalOnly,
): Promise<A> => {
  if (options !== undefined) checkNames("option", options, names)
  return runPromise(effect(), options?.signal)
}

const signalOnly: ReadonlyArray<string> = ["signal"]

/** The options that are for the store itself. */
export const withoutSignal = <O extends WaitOptions>({ signal: _, ...rest }: O): Omit<O, "signal"> => rest

/** Runs an effect; aborting `signal` interrupts it. */
export const runPromise = async <A>(effect: Effect.Effect<A, AofError>, signal?: AbortSignal): Promise<A> => {
  if (signal !== undefined) checkSignal(signal)
  signal?.throwIfAborted()
  const exit = await Effect.runPromiseExit(effect, signal === undefined ? undefined : { signal })
  if (Exit.isSuccess(exit)) return exit.value
  if (signal?.aborted && Cause.hasInterruptsOnly(exit.cause)) throw signal.reason
  throw Cause.squash(exit.cause)
}

const checkSignal = (signal: unknown): void => {
  const one = signal as Partial<AbortSignal> | null
  if (typeof one === "object" && typeof one?.aborted === "boolean" && typeof one.addEventListener === "function") return
  throw invalidArgument("signal", signal, "an AbortSignal")
}

/** Closes something. Aborting ends the wait; the closing goes on. */
export const closeWith = async (close: () => Promise<void>, options: WaitOptions): Promise<void> => {
  checkNames("option", options, signalOnly)
  const { signal } = options
  if (signal === undefined) return close()
  checkSignal(signal)
  signal.throwIfAborted()
  const promise = close()
  let abort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason)
    signal.addEventListener("abort", abort, { once: true })
  })
  promise.catch(() => {})
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener("abort", abort)
  }
}
