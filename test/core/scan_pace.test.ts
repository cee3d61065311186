// Fetches of scans: all at once, but one after the other and with a rest behind each while somebody appends.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { ScanPace } from "../../src/core/tiers/scan_pace.ts"

const fetchMs = 10

/** Begins `count` fetches and tells after each step of a millisecond how many have begun, and how long they rested. */
const begin = (isLive: (nowMs: number) => boolean, count: number, forMs: number, restShare = 2) =>
  Effect.gen(function* () {
    let nowMs = 0
    let started = 0
    const pace = new ScanPace({ restShare, isLive: () => isLive(nowMs), nowMs: () => nowMs })
    const fetch = Effect.andThen(
      Effect.sync(() => void started++),
      Effect.sleep(fetchMs),
    )
    const fibers = yield* Effect.all(Array.from({ length: count }, () => Effect.forkChild(pace.paced(fetch))))
    const seen: Array<number> = []
    for (; nowMs < forMs; nowMs++) {
      yield* TestClock.adjust(nowMs === 0 ? 0 : 1)
      seen.push(started)
    }
    for (const fiber of fibers) yield* Fiber.interrupt(fiber)
    return { seen, restedMs: pace.restedMs }
  }).pipe(Effect.provide(TestClock.layer()), Effect.runPromise)

describe("ScanPace", () => {
  test("lets all go at once while nobody appends", async () => {
    const { seen, restedMs } = await begin(() => false, 5, 2)
    expect([seen.at(-1), restedMs]).toEqual([5, 0])
  })

  test("lets one go at a time while somebody appends, and rests twice as long as it took", async () => {
    const { seen, restedMs } = await begin(() => true, 3, 4 * fetchMs)
    expect(seen.slice(0, 3 * fetchMs - 1).every((count) => count === 1)).toBe(true)
    expect([seen.at(-1), restedMs]).toEqual([2, 2 * fetchMs])
  })

  test("lets all go at once where no rest is wanted", async () => {
    const { seen, restedMs } = await begin(() => true, 5, 2, 0)
    expect([seen.at(-1), restedMs]).toEqual([5, 0])
  })

  test("rests no longer when nobody appends any more", async () => {
    const { seen } = await begin((nowMs) => nowMs < fetchMs + 2, 3, 6 * fetchMs)
    expect(seen.at(-1)).toBe(3)
  })

  test("goes on with the next one when one is interrupted", async () => {
    const started: Array<string> = []
    await Effect.gen(function* () {
      const pace = new ScanPace({ restShare: 2, isLive: () => true, nowMs: () => 0 })
      const fetch = (name: string, ms: number) =>
        pace.paced(
          Effect.andThen(
            Effect.sync(() => void started.push(name)),
            Effect.sleep(ms),
          ),
        )
      const first = yield* Effect.forkChild(fetch("first", 60_000))
      yield* Effect.sleep(1)
      const second = yield* Effect.forkChild(fetch("second", 1))
      const third = yield* Effect.forkChild(fetch("third", 1))
      yield* Effect.sleep(1)
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      yield* Fiber.join(third)
    }).pipe(Effect.runPromise)
    expect(started).toEqual(["first", "third"])
  })
})
