/** Reads the beginning of a file that may be of any size: what is looked for is small, and a file that is not may be anything. */
import * as Effect from "effect/Effect"
import { type AofError, isMissingFile } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import { attempt } from "../flow/attempt.ts"

/** Up to `bytesMax` bytes of a file; undefined when it is not there, or no plain file. */
export const readStart: (
  directory: Directory,
  path: string,
  bytesMax: number,
) => Effect.Effect<Uint8Array | undefined, AofError> = Effect.fnUntraced(function* (directory, path, bytesMax) {
  // Asked first: opening a pipe would wait for a writer.
  const size = yield* directory.sizeOf(path)
  if (size === undefined) return undefined
  const opened = yield* Effect.result(attempt(() => directory.openUnsafe(path, "read")))
  if (opened._tag === "Failure") {
    const { failure } = opened
    if (isMissingFile(failure)) return undefined
    return yield* Effect.fail(failure)
  }
  const file = opened.success
  const bytes = new Uint8Array(Math.min(size, bytesMax))
  const read = Effect.map(file.read(bytes, 0, bytes.length, 0), (count) => bytes.subarray(0, count))
  return yield* Effect.ensuring(
    read,
    Effect.sync(() => file.closeUnsafe()),
  )
})
