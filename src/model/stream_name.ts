/** Stream names are directory names: 1 to 128 of `A-Z a-z 0-9 . _ -`, no leading dot, so that no name leaves its directory. */
import { invalidArgument } from "./errors.ts"

export const streamNameRule = "1 to 128 of A-Z a-z 0-9 . _ -, no leading dot"

const pattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/

/** True for a name that a stream may have. */
export const isStreamName = (name: string): boolean => pattern.test(name)

/** Returns `name` when it is a stream name, else throws `InvalidArgument`. */
export const checkStreamName = (name: unknown): string => {
  if (typeof name === "string" && pattern.test(name)) return name
  throw invalidArgument("stream name", name, streamNameRule)
}
