/** What all option checks have in common. */
import { invalidArgument } from "./errors.ts"

/** True for what options may be: an object that is no array. */
export const isOptions = (options: unknown): options is object =>
  typeof options === "object" && options !== null && !Array.isArray(options)

/** Throws `InvalidArgument` when `options` is no object or has a name that is not in `allowed`. */
export const checkNames = (what: string, options: unknown, allowed: ReadonlyArray<string>): void => {
  if (!isOptions(options)) throw invalidArgument(`${what}s`, options, `an object of ${allowed.join(", ")}`)
  for (const name of Object.keys(options)) {
    if (!allowed.includes(name)) throw invalidArgument(what, name, allowed.join(", "))
  }
}
