/** From effects to promises: a typed failure is what the promise rejects with, an aborted signal rejects with its reason. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { AofError } from "../model/errors.ts"

/** Runs an effect; aborting `signal` interrupts it. */
export const runPromise = async <A>(effect: Effect.Effect<A, AofError>, signal?: AbortSignal): Promise<A> => {
  signal?.throwIfAborted()
  const exit = await Effect.runPromiseExit(effect, signal === undefined ? undefined : { signal })
  if (Exit.isSuccess(exit)) return exit.value
  if (signal?.aborted && Cause.hasInterruptsOnly(exit.cause)) throw signal.reason
  throw Cause.squash(exit.cause)
}
