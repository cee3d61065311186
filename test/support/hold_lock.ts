// Takes the lock of a root: `hold_lock.ts ROOT`. Says in one line of JSON what came of it, holds the root until standard input
// ends, and then gives it back.

import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import { RootLock } from "../../src/port/root_lock.ts"
import { loadRuntimeLayer } from "./runtime_layer.ts"

const root = process.argv[2] as string
const say = (value: object): void => void writeSync(1, `${JSON.stringify(value)}\n`)

const inputEnd = Effect.callback<void>((resume) => {
  process.stdin.on("end", () => resume(Effect.void)).resume()
})

const program = Effect.gen(function* () {
  const lock = yield* RootLock
  yield* lock.acquire(root)
  say({ held: true })
  yield* inputEnd
})

const layer = await loadRuntimeLayer()
// A line before the attempt, so that a test can start many at once.
say({ ready: true })
await new Promise<void>((resolve) => process.stdin.once("data", () => resolve()))
await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(layer),
    Effect.catch((error) =>
      Effect.sync(() => say({ held: false, code: error.code, message: error.message, holder: error.holder })),
    ),
  ),
)
process.exit(0)
