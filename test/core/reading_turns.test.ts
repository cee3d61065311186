// Who reads much shares the turns of the event loop with all others, whatever many of them have waited for together.

import { describe, expect, test } from "bun:test"
import { memoryStore } from "bop-aof"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { openWith } from "../../src/api/manager.ts"
import { ReadingTurns, recordCostBytes, turnBytes, wokenBytes } from "../../src/core/read/reading_turns.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"

describe("ReadingTurns", () => {
  const makeTurns = () => {
    const planned: Array<() => void> = []
    const pauses: Array<Effect.Effect<void>> = []
    const state = { nowMs: 1000, isUrgent: false }
    const turns = new ReadingTurns({
      eventLoop: { nextTurn: (callback) => void planned.push(callback) },
      nowMs: () => state.nowMs,
      run: (pause) => void pauses.push(pause),
    })
    turns.isUrgent = () => state.isUrgent
    const turn = (): void => {
      for (const one of planned.splice(0)) one()
    }
    return { turns, state, turn, pauses }
  }

  test("lets one go in each turn, in the order in which they asked", () => {
    const { turns, turn } = makeTurns()
    const gone: Array<number> = []
    for (const one of [0, 1, 2]) turns.wait(() => void gone.push(one), false)
    turn()
    expect(gone).toEqual([0])
    turns.wait(() => void gone.push(3), false)
    for (let i = 0; i < 3; i++) turn()
    expect(gone).toEqual([0, 1, 2, 3])
  })

  test("lets a point read go before all scans, and without a pause", async () => {
    const { turns, state, turn, pauses } = makeTurns()
    state.isUrgent = true
    const gone: Array<number | string> = []
    for (let i = 0; i < 30; i++) {
      turns.wait(() => void gone.push(i), true)
      turn()
    }
    expect(pauses.length).toBe(1)
    for (let i = 0; i < 3; i++) turns.wait(() => void gone.push("reader"), false)
    const point = Effect.runPromise(Effect.map(turns.nextOfPoint, () => void gone.push("point")))
    gone.length = 0
    for (let i = 0; i < 5; i++) turn()
    await point
    expect(gone).toContain("point")
    expect(gone.filter((one) => one === "reader").length).toBe(3)
    const order: Array<string> = []
    turns.wait(() => void order.push("reader"), false)
    const next = Effect.runPromise(Effect.map(turns.nextOfPoint, () => void order.push("point")))
    turn()
    await next
    expect(order).toEqual(["point"])
  })

  test("gives less while somebody waits for a sync and for a moment after, also when the clock is put back", () => {
    const { turns, state, turn } = makeTurns()
    const given: Array<number> = []
    const ask = (): number => {
      turns.wait((bytes) => void given.push(bytes), false)
      turn()
      return given.at(-1)!
    }
    expect(ask()).toBe(turnBytes)
    state.isUrgent = true
    const urgentBytes = ask()
    expect(urgentBytes).toBeLessThan(turnBytes / 4)
    state.isUrgent = false
    state.nowMs += 20
    expect(ask()).toBe(urgentBytes)
    state.nowMs += 40
    expect(ask()).toBe(turnBytes)
    state.isUrgent = true
    ask()
    state.isUrgent = false
    state.nowMs -= 60_000
    expect(ask()).toBe(turnBytes)
  })

  test("have a pause for those who read other tiers, but only while somebody appends, and for nobody else", async () => {
    const { turns, state, turn, pauses } = makeTurns()
    let [cold, hot] = [0, 0]
    const ask = (isCold: boolean): void => {
      turns.wait(() => void (isCold ? cold++ : hot++), isCold)
      turn()
    }
    for (let i = 0; i < 100; i++) ask(true)
    expect([cold, pauses.length]).toEqual([100, 0])
    state.isUrgent = true
    const before = cold
    for (let i = 0; i < 100; i++) ask(true)
    const inOneGo = cold - before
    expect(inOneGo).toBeLessThan(20)
    expect(pauses.length).toBe(1)
    for (let i = 0; i < 100; i++) ask(false)
    expect([hot, cold - before]).toEqual([100, inOneGo])
    // All who wait go on behind the pause, as far as the next one.
    await Effect.runPromise(pauses[0]!)
    for (let i = 0; i < 200; i++) turn()
    expect(cold - before).toBeGreaterThan(inOneGo)
    state.isUrgent = false
    state.nowMs += 1000
    for (let i = 0; i < 100; i++) ask(true)
    for (const pause of pauses.splice(1)) await Effect.runPromise(pause)
    for (let i = 0; i < 300; i++) turn()
    expect(cold).toBe(300)
  })

  test("leave nobody behind when what pauses is interrupted", async () => {
    const { turns, state, turn, pauses } = makeTurns()
    state.isUrgent = true
    let gone = 0
    for (let i = 0; i < 30; i++) {
      turns.wait(() => void gone++, true)
      turn()
    }
    while (pauses.length > 0) {
      const fiber = Effect.runFork(pauses.shift()!)
      fiber.interruptUnsafe()
      await Effect.runPromise(Fiber.await(fiber))
      for (let i = 0; i < 30; i++) turn()
    }
    expect(gone).toBe(30)
  })
})

test("many readers that have waited for the same frames do not all go on in one turn", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const payload = new Uint8Array(1000)
  const [records, readers] = [20_000, 8]
  const manager = await openWith(disk.layer, {
    root: "/root",
    segmentBytes: 4 * 1024 * 1024,
    tier1: { compress: "pressure", residencyMsMin: 0 },
    tier2: { store: memoryStore() },
  })
  const stream = await manager.stream("s")
  for (let i = 0; i < records; i++) if (stream.tryAppend(payload) < 0) await stream.append(payload)
  await stream.seal()
  await stream.evict({ to: "tier2" })
  let [inTurn, mostInTurn, isOver] = [0, 0, false]
  const turn = (): void => {
    mostInTurn = Math.max(mostInTurn, inTurn)
    inTurn = 0
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  const read = async (): Promise<number> => {
    let count = 0
    for await (const _ of stream.read({ from: "start" })) {
      count++
      inTurn++
    }
    return count
  }
  const counts = await Promise.all(Array.from({ length: readers }, read))
  isOver = true
  expect(counts).toEqual(Array.from({ length: readers }, () => records))
  const costBytes = payload.length + recordCostBytes
  // Two, as the watch and the readers take turns in an order of their own.
  expect(mostInTurn * costBytes).toBeLessThan(2 * (readers * wokenBytes + turnBytes))
  await manager.close()
})
