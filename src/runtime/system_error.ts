/**
 * From what the runtimes throw to `Unavailable`. Node, Bun and Deno's `node:fs` put the system's code on the error; what Deno's
 * permissions deny has none, but names the flag that would allow it, and that name has to reach the user.
 */
import * as Effect from "effect/Effect"
import { Unavailable, unavailable } from "../model/errors.ts"

/** Makes `Unavailable` of whatever was thrown by `operation` on `path`; an unknown failure gets the code `EIO` and keeps its message. */
export const systemError = (operation: string, path: string, error: unknown): Unavailable => {
  if (error instanceof Unavailable) return error
  const code = codeOf(error) ?? codeOfMessage(error)
  if (code !== undefined) return unavailable(operation, code, path)
  const denied = isDenied(error)
  const text = error instanceof Error ? error.message : String(error)
  // Written out, because the helper cuts long values and the flag stands at the end.
  return new Unavailable({
    message: `${operation} failed with ${denied ? "EACCES" : "EIO"}: ${JSON.stringify(path)}: ${text}`,
    what: operation,
    value: path,
    limit: denied ? text : "success",
    code: denied ? "EACCES" : "EIO",
  })
}

/** The system's code such as `ENOENT`, or undefined when the error has none. */
export const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined
  const { code } = error
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : undefined
}

/** Errors for which Deno has no code, by the number that its message ends with; each number means the same on Linux and macOS, or nothing there. */
const codesOfNumbers: Readonly<Record<string, string>> = { 27: "EFBIG", 122: "EDQUOT" }

const codeOfMessage = (error: unknown): string | undefined => {
  const number = error instanceof Error ? /\(os error (\d+)\)/.exec(error.message)?.[1] : undefined
  return number === undefined ? undefined : codesOfNumbers[number]
}

/** True when the permissions of Deno or Node, not the system, denied it. */
export const isDenied = (error: unknown): boolean =>
  error instanceof Error && (error.name === "NotCapable" || ("code" in error && error.code === "ERR_ACCESS_DENIED"))

/** Runs a synchronous call, and throws `Unavailable` when it throws. */
export const callUnsafe = <A>(operation: string, path: string, call: () => A): A => {
  try {
    return call()
  } catch (error) {
    throw systemError(operation, path, error)
  }
}

/**
 * Runs a call with a callback on the runtime's thread pool. It cannot be interrupted: the thread goes on anyway, and whoever
 * interrupts must not take the descriptor away from under it.
 */
export const callAsync = <A = void>(
  operation: string,
  path: string,
  start: (done: (error: unknown, value?: A) => void) => void,
): Effect.Effect<A, Unavailable> =>
  Effect.uninterruptible(
    Effect.callback<A, Unavailable>((resume) => {
      try {
        start((error, value) =>
          resume(error ? Effect.fail(systemError(operation, path, error)) : Effect.succeed(value as A)),
        )
      } catch (error) {
        resume(Effect.fail(systemError(operation, path, error)))
      }
    }),
  )
