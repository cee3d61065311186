// The rate of a scrub holds on a clock of its own; its options are checked; a scrub in the background comes again and again, and ends with
// the manager.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { openWith } from "../../src/api/manager.ts"
import { ScrubPace } from "../../src/core/scrub/scrub_pace.ts"
import type { ScrubOptions } from "../../src/model/scrub.ts"
import type { TierEvent } from "../../src/model/tier_event.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { randomOf, withStore } from "../support/crash_model.ts"

const MiB = 1024 * 1024

/** When each piece may be read, in milliseconds of a clock that nobody else moves. */
const timesOf = (
  bytesPerSecond: number,
  pieces: ReadonlyArray<number>,
  stepMs: number,
): Promise<ReadonlyArray<number>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const clock = yield* Effect.clockWith((one) => Effect.succeed(one))
        const pace = new ScrubPace(clock, bytesPerSecond)
        const times: Array<number> = []
        const taken = yield* Effect.forkChild(
          Effect.forEach(pieces, (bytes) =>
            Effect.map(pace.take(bytes), () => times.push(clock.currentTimeMillisUnsafe())),
          ),
        )
        while (times.length < pieces.length) yield* TestClock.adjust(stepMs)
        yield* Fiber.join(taken)
        return times
      }),
    ).pipe(Effect.provide(TestClock.layer())),
  )

describe("the pace", () => {
  test("lets no more bytes through in any stretch of time than the rate and one piece", async () => {
    for (const rate of [64 * 1024, MiB, 37 * MiB]) {
      const random = randomOf(rate)
      const pieces = Array.from({ length: 60 }, () => 1 + random(rate / 4))
      const times = await timesOf(rate, pieces, 1)
      for (let from = 0; from < pieces.length; from++) {
        let bytes = 0
        for (let to = from; to < pieces.length; to++) {
          const passedMs = times[to]! - times[from]!
          // The clock moves by whole milliseconds.
          if (bytes > ((passedMs + 1) * rate) / 1000) throw new Error(`${bytes} bytes in ${passedMs} ms at ${rate}`)
          bytes += pieces[to]!
        }
      }
    }
  })

  test("makes up for nothing that was not read", async () => {
    const times = await timesOf(MiB, [MiB, MiB, MiB], 1)
    expect(times).toEqual([0, 1000, 2000])
  })

  test("takes pieces that last an eighth of a second, within bounds", () => {
    const clock = { currentTimeMillisUnsafe: () => 0 } as never
    expect([64 * 1024, MiB, 4 * MiB, 2 ** 33].map((rate) => new ScrubPace(clock, rate).pieceBytes)).toEqual([
      65536,
      131072,
      524288,
      MiB,
    ])
  })
})

describe("options", () => {
  const bad: ReadonlyArray<readonly [string, unknown]> = [
    ["bytesPerSecond", { bytesPerSecond: 1000 }],
    ["bytesPerSecond", { bytesPerSecond: 1.5 * MiB + 0.5 }],
    ["bytesPerSecond", { bytesPerSecond: Number.POSITIVE_INFINITY }],
    ["tiers", { tiers: [] }],
    ["tiers", { tiers: ["tier3"] }],
    ["streams", { streams: "s" }],
    ["onProgress", { onProgress: 1 }],
    ["scrub option", { rate: 1 }],
  ]
  test.each(bad)("a wrong %s is InvalidArgument", async (what: string, options: unknown) => {
    await withStore(new MemoryDisk().layer, { root: "/store" }, async (manager) => {
      const error = await manager.scrub(options as ScrubOptions).then(
        () => undefined,
        (one) => one,
      )
      expect(error?._tag).toBe("InvalidArgument")
      expect(error.what).toContain(what)
    })
  })

  test.each([{}, { intervalMs: 10 }, { intervalMs: 5000, bytesPerSecond: 3 }, { intervalMs: 5000, pause: 1 }])(
    "the manager refuses %j",
    async (scrub: object) => {
      const error = await openWith(new MemoryDisk().layer, { root: "/store", scrub: scrub as never }).then(
        () => undefined,
        (one) => one,
      )
      expect(error?._tag).toBe("InvalidArgument")
    },
  )

  test("a stream that is not there is NotFound, and a closed manager Closed", async () => {
    const manager = await openWith(new MemoryDisk().layer, { root: "/store" })
    const tagOf = (options: ScrubOptions): Promise<unknown> =>
      manager.scrub(options).then(
        (report) => report.isClean,
        (error) => error._tag,
      )
    expect(await tagOf({ streams: ["none"] })).toBe("NotFound")
    expect(await tagOf({})).toBe(true)
    await manager.close()
    expect(await tagOf({})).toBe("Closed")
  })
})

test("a scrub is ended by its signal, and the next one runs", async () => {
  await withStore(new MemoryDisk().layer, { root: "/store", segmentBytes: 64 * 1024 }, async (manager) => {
    const stream = await manager.stream("s")
    for (let number = 0; number < 40; number++) await stream.append("x".repeat(8000))
    const abort = new AbortController()
    const reason = new Error("enough")
    const onProgress = (): void => abort.abort(reason)
    // At this rate it would take seconds.
    const ended = await manager.scrub({ bytesPerSecond: 64 * 1024, onProgress, signal: abort.signal }).then(
      () => undefined,
      (error) => error,
    )
    expect(ended).toBe(reason)
    expect((await manager.scrub({ bytesPerSecond: 2 ** 36 })).isClean).toBe(true)
  })
})

test("in the background it comes again and again, and ends with the manager", async () => {
  const events: Array<TierEvent> = []
  let tell: () => void = () => {}
  const twice = new Promise<void>((resolve) => {
    tell = resolve
  })
  const onEvent = (event: TierEvent): void => {
    events.push(event)
    if (events.filter(({ name }) => name === "scrub_done").length === 2) tell()
  }
  const options = { root: "/store", scrub: { intervalMs: 1000, bytesPerSecond: 2 ** 30 }, onEvent }
  await withStore(new MemoryDisk().layer, options, async (manager) => {
    await (await manager.stream("s")).append("x")
    await twice
  })
  const names = events.map(({ name }) => name).filter((name) => name.startsWith("scrub_"))
  expect(names.slice(0, 4)).toEqual(["scrub_started", "scrub_done", "scrub_started", "scrub_done"])
})
