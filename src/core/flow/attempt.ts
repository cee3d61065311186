/** Synchronous calls of a port inside effects and plain functions: what they throw becomes a value, a defect stays one. */
import * as Effect from "effect/Effect"
import { type AofError, isAofError } from "../../model/errors.ts"

/** Runs a synchronous call as an effect. */
export const attempt = <A>(run: () => A): Effect.Effect<A, AofError> => Effect.try({ try: run, catch: onlyTyped })

/** Runs a synchronous call and returns the typed error that it threw, if any. */
export const caught = (run: () => void): AofError | undefined => {
  // tidy: allow try because this is the one place where a thrown error becomes a value
  try {
    run()
    return undefined
  } catch (error) {
    return onlyTyped(error)
  }
}

const onlyTyped = (error: unknown): AofError => {
  if (isAofError(error)) return error
  throw error
}
