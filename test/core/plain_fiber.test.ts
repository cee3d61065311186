// What a store does behind its callers' backs keeps nothing of the waits that are over, however long it goes on.

import { expect, test } from "bun:test"
import * as process from "node:process"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Background, makeBackground } from "../../src/core/flow/background.ts"
import { keepNoContext } from "../../src/core/flow/plain_fiber.ts"
import { collectV8Garbage } from "../../src/runtime/v8_collector.ts"

const background = (): Promise<Background> => Effect.runPromise(makeBackground)

const { Bun: bun } = globalThis as { readonly Bun?: { readonly gc: (isForced: boolean) => void } }

const usedBytes = (): number => {
  if (bun === undefined) collectV8Garbage()
  else bun.gc(true)
  return process.memoryUsage().heapUsed
}

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Waits so often in one fiber of its own. */
const waitOften = async (count: number): Promise<void> => {
  const { fork } = await background()
  const waits = Effect.gen(function* () {
    for (let at = 0; at < count; at++) yield* turn
  })
  await Effect.runPromise(Fiber.join(fork(waits)))
}

test("a fiber of the background keeps no memory for each wait", async () => {
  const count = 20_000
  const { fork } = await background()
  const grown: Array<number> = []
  await waitOften(1000)
  // Looked at while the fiber goes on: with its end all would go.
  const waits = Effect.gen(function* () {
    for (let round = 0; round < 3; round++) {
      const before = usedBytes()
      for (let at = 0; at < count; at++) yield* turn
      grown.push((usedBytes() - before) / count)
    }
  })
  await Effect.runPromise(Fiber.join(fork(waits)))
  // Each wait that is kept is some 500 bytes.
  expect(Math.min(...grown)).toBeLessThan(50)
})

test("the place where Effect keeps it is the one that is looked at", async () => {
  const fiber = Effect.runFork(Effect.never)
  expect("_asyncContext" in fiber).toBe(true)
  expect(keepNoContext(fiber)).toBe(fiber)
  expect((fiber as unknown as { readonly _asyncContext: unknown })._asyncContext).toBeUndefined()
  fiber.interruptUnsafe()
  expect((await Effect.runPromise(Fiber.await(fiber)))._tag).toBe("Failure")
})

test("a fiber without it waits, ends, fails and is interrupted as any other", async () => {
  const { fork, stop } = await background()
  const ended: Array<string> = []
  const one = fork(Effect.as(Effect.andThen(turn, Effect.sleep(1)), "one"))
  const failing = fork(Effect.andThen(turn, Effect.fail("no")))
  const stopped = fork(
    Effect.onInterrupt(Effect.andThen(turn, Effect.never), () => Effect.sync(() => void ended.push("stopped"))),
  )
  expect(await Effect.runPromise(Fiber.join(one))).toBe("one")
  expect(await Effect.runPromise(Effect.flip(Fiber.join(failing)))).toBe("no")
  stop()
  await Effect.runPromise(Fiber.await(stopped))
  expect(ended).toEqual(["stopped"])
})
