// A clock that jumps: an hour back, and a day ahead. Ids, order, reads by time, retention and what waits do not come to harm.

import { describe, expect, test } from "bun:test"
import { memoryStore } from "bop-aof"
import { type Aof, AofManager } from "bop-aof/effect"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { hourMs, jumping, runWith } from "../support/jumping_clock.ts"

const fill = Effect.fnUntraced(function* (stream: Aof<any, any>, text: string) {
  for (let i = 0; i < 20; i++) yield* stream.append(`${text} ${i}`.padEnd(500, "x"))
  yield* stream.seal()
})

/** Waits until a stream has at most so many records. */
const untilCount = Effect.fnUntraced(function* (stream: Aof<any, any>, count: number) {
  while (stream.info().count > count) yield* Effect.sleep(10)
})

describe("a clock that jumps", () => {
  test("back and ahead leaves ids in order, and everything is read, by time too", async () => {
    const jump = await jumping()
    const store = memoryStore()
    const options = {
      root: "/store",
      segmentBytes: 8192,
      stagingBytes: 4096,
      sealAfterMs: 1000,
      tier1: { residencyMsMin: 0, level: 1 },
      tier2: { store, deleteGraceMs: 0 },
    } as const
    const ids: Array<number> = []
    const times: Array<number> = []
    const program = Effect.gen(function* () {
      const manager = yield* AofManager.open(options)
      const stream = yield* manager.stream("orders")
      for (const offsetMs of [0, -hourMs, 24 * hourMs, -hourMs, 0]) {
        jump.offsetMs = offsetMs
        for (let i = 0; i < 20; i++) {
          times.push(jump.clock.currentTimeMillisUnsafe())
          ids.push((yield* stream.append(`${ids.length} `.padEnd(500, "x"))).recordId)
        }
        yield* stream.seal()
        yield* manager.settled()
      }
      expect(ids).toEqual([...ids].sort((a, b) => a - b))
      const all = Array.from(yield* Stream.runCollect(stream.read({ from: "start" })))
      expect(all.map(({ recordId }) => recordId)).toEqual(ids)
      for (const [at, { timestampMs }] of all.entries())
        expect(Math.abs(timestampMs - times[at]!)).toBeLessThan(hourMs / 2)
      // The first record that is as late, wherever those behind it stand.
      for (const [time, first] of [
        [times[0]! - 2 * hourMs, 0],
        [times[40]! - hourMs, 40],
      ] as const) {
        const found = Array.from(yield* Stream.runCollect(stream.read({ time })))
        expect(found.map(({ recordId }) => recordId)).toEqual(ids.slice(first))
      }
      yield* stream.evict({ to: "tier2" })
      expect(Array.from(yield* Stream.runCollect(stream.read({ from: "start" }))).length).toBe(ids.length)
      yield* manager.close()
    })
    await runWith(jump, program)
  }, 60_000)

  test("back does not make retention by age forget what is young, nor keep the rest for ever", async () => {
    const jump = await jumping()
    const program = Effect.gen(function* () {
      const manager = yield* AofManager.open({ root: "/store", segmentBytes: 8192, stagingBytes: 4096, tier2: false })
      const stream = yield* manager.stream("orders", { retention: { ageMs: 2 * hourMs } })
      yield* fill(stream, "old")
      jump.offsetMs = -hourMs
      yield* fill(stream, "back")
      expect(stream.info().count).toBe(40)
      jump.offsetMs = 3 * hourMs
      yield* fill(stream, "late")
      for (let turns = 0; stream.info().count > 25 && turns < 500; turns++) yield* Effect.sleep(10)
      const left = Array.from(yield* Stream.runCollect(stream.read({ from: "start" })))
      expect(left.some((record) => record.text().startsWith("late"))).toBe(true)
      expect(left.some((record) => record.text().startsWith("old"))).toBe(false)
      yield* manager.close()
    })
    await runWith(jump, program)
  }, 60_000)

  const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, tier2: false } as const

  test("back does not keep a scrub waiting", async () => {
    const jump = await jumping()
    const program = Effect.gen(function* () {
      const manager = yield* AofManager.open({ ...options, segmentBytes: 65_536 })
      const stream = yield* manager.stream("orders")
      for (let i = 0; i < 40; i++) yield* stream.append("x".repeat(8000))
      yield* stream.seal()
      const onProgress = (): void => {
        jump.offsetMs -= hourMs
      }
      const report = yield* manager.scrub({ bytesPerSecond: 1024 * 1024, onProgress })
      expect([report.isClean, report.durationMs < hourMs]).toEqual([true, true])
    })
    await runWith(jump, program)
  }, 30_000)

  test("from 1970 to today trims nothing that is young", async () => {
    const jump = await jumping()
    jump.offsetMs = 100_000 - jump.clock.currentTimeMillisUnsafe()
    const program = Effect.gen(function* () {
      const manager = yield* AofManager.open(options)
      const stream = yield* manager.stream("orders", { retention: { ageMs: 24 * hourMs } })
      yield* fill(stream, "young")
      jump.offsetMs = 0
      yield* fill(stream, "today")
      for (let turns = 0; turns < 20; turns++) yield* Effect.sleep(10)
      expect(stream.info().count).toBe(40)
      jump.passedMs = 25 * hourMs
      yield* fill(stream, "tomorrow")
      yield* untilCount(stream, 20)
    })
    await runWith(jump, program)
  }, 60_000)

  test("a year ahead for a while keeps nothing from being trimmed afterwards", async () => {
    const jump = await jumping()
    jump.offsetMs = 365 * 24 * hourMs
    const opened = Effect.gen(function* () {
      const manager = yield* AofManager.open(options)
      return yield* manager.stream("orders", { retention: { ageMs: 2 * hourMs } })
    })
    const program = Effect.gen(function* () {
      yield* Effect.scoped(Effect.flatMap(opened, (stream) => fill(stream, "future")))
      jump.offsetMs = 0
      const stream = yield* opened
      yield* fill(stream, "today")
      expect(stream.info().count).toBe(40)
      jump.passedMs = 3 * hourMs
      yield* fill(stream, "later")
      yield* untilCount(stream, 20)
    })
    await runWith(jump, program)
  }, 60_000)
})
