// Fetches of scans: all at once, but no faster than so many bytes a second while somebody appends.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { ScanPace } from "../../src/core/tiers/scan_pace.ts"

/** A fetch of 1000 bytes takes 10 ms of a budget of 100 bytes a millisecond. */
const [bytes, bytesPerSecondMax] = [1000, 100_000]

/** Begins `count` fetches, which never end, and tells after each step of a millisecond how many have begun. */
const begin = (isLive: (nowMs: number) => boolean, count: number, forMs: number) =>
  Effect.gen(function* () {
    let nowMs = 0
    let begun = 0
    const pace = new ScanPace({ bytesPerSecondMax, isLive: () => isLive(nowMs), nowMs: () => nowMs })
    const fetch = Effect.andThen(
      Effect.sync(() => void begun++),
      Effect.never,
    )
    const fibers = yield* Effect.all(Array.from({ length: count }, () => Effect.forkChild(pace.paced(bytes, fetch))))
    const seen: Array<number> = []
    for (; nowMs < forMs; nowMs++) {
      yield* TestClock.adjust(nowMs === 0 ? 0 : 1)
      seen.push(begun)
    }
    for (const fiber of fibers) yield* Fiber.interrupt(fiber)
    return { seen, waitedMs: pace.waitedMs }
  }).pipe(Effect.provide(TestClock.layer()), Effect.runPromise)

describe("ScanPace", () => {
  test("lets all begin at once while nobody appends", async () => {
    const { seen, waitedMs } = await begin(() => false, 5, 2)
    expect([seen.at(-1), waitedMs]).toEqual([5, 0])
  })

  test("lets them begin one after the other while somebody appends, whether or not those before have ended", async () => {
    const { seen, waitedMs } = await begin(() => true, 3, 30)
    expect(seen.slice(0, 9).every((count) => count === 1)).toBe(true)
    expect(seen.slice(11, 19).every((count) => count === 2)).toBe(true)
    expect([seen.at(-1), waitedMs]).toEqual([3, 30])
  })

  test("keeps nobody waiting when nobody appends any more", async () => {
    const { seen } = await begin((nowMs) => nowMs < 5, 50, 25)
    expect(seen[4]).toBe(1)
    expect(seen.at(-1)).toBe(50)
  })

  test("begins no more of a fetch that was interrupted while it waited", async () => {
    const begun: Array<string> = []
    let nowMs = 0
    const pace = new ScanPace({ bytesPerSecondMax, isLive: () => true, nowMs: () => nowMs })
    const fetch = (name: string) =>
      pace.paced(
        bytes,
        Effect.sync(() => void begun.push(name)),
      )
    await Effect.gen(function* () {
      yield* fetch("first")
      const second = yield* Effect.forkChild(fetch("second"))
      const third = yield* Effect.forkChild(fetch("third"))
      yield* Effect.sleep(1)
      yield* Fiber.interrupt(second)
      nowMs = 1000
      yield* Fiber.join(third)
    }).pipe(Effect.runPromise)
    expect(begun).toEqual(["first", "third"])
  })

  test("gives the time of those who leave back to those who come", async () => {
    let nowMs = 0
    const pace = new ScanPace({ bytesPerSecondMax, isLive: () => true, nowMs: () => nowMs })
    await Effect.gen(function* () {
      for (let i = 0; i < 1000; i++) {
        const fiber = yield* Effect.forkChild(pace.paced(bytes, Effect.void))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      nowMs = 20
      // Of a thousand only the first began: without that the next one would wait for ten seconds.
      yield* pace.paced(bytes, Effect.void)
    }).pipe(Effect.timeout(5000), Effect.runPromise)
  })
})
