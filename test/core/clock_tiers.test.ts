// What is measured in time, and not by the clock of the machine: graces, leases and the age of what is to be sealed, while that clock is set.

import { describe, expect, test } from "bun:test"
import { memoryStore, openReplica } from "bop-aof"
import { type Aof, AofManager } from "bop-aof/effect"
import * as Effect from "effect/Effect"
import { steadyClock } from "../../src/core/flow/steady_clock.ts"
import { DeleteTimes } from "../../src/core/tier2/delete_times.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { segmentsIn } from "../support/bucket.ts"
import { hourMs, type Jump, jumping, runWith } from "../support/jumping_clock.ts"

const graceMs = 60_000

const options = (store: ObjectStore) => ({
  root: "/store",
  segmentBytes: 8192,
  stagingBytes: 4096,
  preallocateBytesMax: 8192,
  tier1: { residencyMsMin: 0, level: 1 },
  tier2: { store, headIntervalMs: 0, deleteGraceMs: graceMs },
})

const fill = Effect.fnUntraced(function* (stream: Aof<any, any>, count: number) {
  const ids: Array<number> = []
  for (let i = 0; i < count; i++) ids.push((yield* stream.append(`record ${i}`.padEnd(500, "x"))).recordId)
  yield* stream.seal()
  return ids
})

/** Time for a loop that is asked to look to have done what is due. */
const looked = Effect.fnUntraced(function* (manager: AofManager, stream: Aof<any, any>) {
  for (let turns = 0; turns < 5; turns++) {
    yield* fill(stream, 1)
    yield* manager.settled()
    yield* Effect.sleep(5)
  }
})

const until = Effect.fnUntraced(function* (holds: () => boolean, work: Effect.Effect<unknown, any>) {
  for (let turns = 0; turns < 200 && !holds(); turns++) {
    yield* work
    yield* Effect.sleep(5)
  }
  expect(holds()).toBe(true)
})

const program = (jump: Jump, store: ObjectStore) =>
  Effect.gen(function* () {
    const manager = yield* AofManager.open(options(store))
    const stream = yield* manager.stream("orders")
    const ids = yield* fill(stream, 40)
    yield* manager.settled()
    const before = yield* Effect.promise(() => segmentsIn(store))
    const gone = (): Effect.Effect<number> =>
      Effect.promise(async () => {
        const now = await segmentsIn(store)
        return before.filter((key) => !now.includes(key)).length
      })
    const tick = looked(manager, stream)
    const pass = (ms: number) => {
      jump.passedMs += ms
      return tick
    }
    return { manager, stream, ids, gone, tick, pass }
  })

describe("a clock that is set ahead", () => {
  test("ends no lease of a replica, and what that reads stays", async () => {
    const jump = await jumping()
    const store = memoryStore()
    const work = Effect.gen(function* () {
      const { manager, stream, ids, gone, tick, pass } = yield* program(jump, store)
      const replica = yield* Effect.promise(() => openReplica({ store, pollMs: 3_600_000, leaseMs: 60_000 }))
      const view = yield* Effect.promise(() => replica.stream("orders"))
      yield* stream.trim({ before: ids[35]! })
      yield* tick
      yield* pass(graceMs)
      yield* until(() => manager.observe().bucket!.replicas === 1, tick)
      jump.offsetMs += hourMs
      yield* pass(6000)
      yield* pass(6000)
      expect([manager.observe().bucket!.replicas, yield* gone()]).toEqual([1, 0])
      let count = 0
      yield* Effect.promise(async () => {
        for await (const _ of view.read({ from: "start" })) count++
      })
      expect(count).toBe(40)
      yield* pass(60_000)
      yield* until(() => manager.observe().bucket!.replicas === 0, tick)
      expect(yield* gone()).toBeGreaterThan(0)
      yield* Effect.promise(() => replica.close())
      yield* manager.close()
    })
    await runWith(jump, work)
  }, 60_000)

  test("removes no object before its grace has passed", async () => {
    const jump = await jumping()
    const store = memoryStore()
    const work = Effect.gen(function* () {
      const { manager, stream, ids, gone, tick, pass } = yield* program(jump, store)
      yield* stream.trim({ before: ids[35]! })
      yield* tick
      jump.offsetMs += 24 * hourMs
      yield* tick
      yield* pass(graceMs / 2)
      expect(yield* gone()).toBe(0)
      // HEAD says when it was put by the clock of the machine.
      const headMs = manager.observe().bucket!.headMs
      expect(Math.abs(headMs - jump.clock.currentTimeMillisUnsafe())).toBeLessThan(hourMs)
      yield* pass(graceMs / 2)
      yield* until(() => manager.observe().backlog.deletes === 0 || jump.passedMs > 10 * graceMs, pass(graceMs))
      expect(yield* gone()).toBeGreaterThan(0)
      yield* manager.close()
    })
    await runWith(jump, work)
  }, 60_000)

  test("moves a steady clock not at all, and neither does one that is set back", async () => {
    const jump = await jumping()
    const steady = steadyClock(jump.clock)
    const startMs = steady.currentTimeMillisUnsafe()
    for (const offsetMs of [hourMs, -hourMs, 24 * hourMs]) {
      jump.offsetMs = offsetMs
      expect(Math.abs(steady.currentTimeMillisUnsafe() - startMs)).toBeLessThan(hourMs / 2)
      expect(Math.abs(steady.wallMsUnsafe() - startMs - offsetMs)).toBeLessThan(hourMs / 2)
    }
    jump.passedMs = hourMs
    expect(steady.currentTimeMillisUnsafe() - startMs).toBeGreaterThanOrEqual(hourMs)
  })

  test("leaves of a grace what it was: all of what this process has queued, the rest of what another has", async () => {
    const jump = await jumping()
    const clock = steadyClock(jump.clock)
    const times = new DeleteTimes({ clock, graceMs, foundSequence: 10 })
    const record = (sequence: number, notBeforeMs: number) => ({
      key: `${sequence}`,
      streamId: 1,
      sequence,
      notBeforeMs,
    })
    const left = (one: ReturnType<typeof record>): number =>
      Math.round((times.dueMs(one) - clock.currentTimeMillisUnsafe()) / 1000)
    const wallMs = clock.wallMsUnsafe()
    const [older, own, done, atOnce] = [
      record(9, wallMs + 20_000),
      record(11, wallMs + graceMs),
      record(8, wallMs - 1),
      record(12, 0),
    ]
    expect([older, own, done, atOnce].map(left)).toEqual([20, 60, 0, 0])
    jump.offsetMs = hourMs
    expect([older, own, record(13, clock.wallMsUnsafe() + graceMs)].map(left)).toEqual([20, 60, 60])
    jump.passedMs = 10_000
    expect([older, own].map(left)).toEqual([10, 50])
  })
})

test("a clock that is set back does not keep a segment from being sealed in time", async () => {
  const jump = await jumping()
  const work = Effect.gen(function* () {
    const manager = yield* AofManager.open({ ...options(memoryStore()), sealAfterMs: 200 })
    const stream = yield* manager.stream("orders")
    yield* stream.append("one")
    // It has been looked at.
    yield* Effect.sleep(120)
    jump.offsetMs = -hourMs
    yield* until(() => stream.segments().some(({ state }) => state === "sealed"), Effect.sleep(5))
    yield* manager.close()
  })
  await runWith(jump, work)
}, 30_000)
