// The budget of all staging buffers: order, fairness, and nobody is kept waiting by one who does not come.

import { expect, test } from "bun:test"
import { StagingBudget } from "../../src/state/staging_budget.ts"
import { StagingTail } from "../../src/state/staging_tail.ts"

const make = (bytesMax: number) => {
  const turns: Array<() => void> = []
  const woken: Array<string> = []
  const onWake = new Map<string, () => void>()
  const budget = new StagingBudget<string>(10, bytesMax, {
    nextTurn: (callback) => void turns.push(callback),
    wake: (who) => {
      woken.push(who)
      onWake.get(who)?.()
    },
  })
  const { pool } = budget
  const turn = (): void => {
    for (const callback of turns.splice(0)) callback()
  }
  const take = (who: string): Uint8Array | undefined => (budget.admits(who) ? pool.take(10) : undefined)
  return { pool, budget, woken, onWake, turn, take }
}

test("room goes to those who wait, in the order in which they were refused, and nobody passes them", () => {
  const { pool, budget, woken, onWake, turn, take } = make(20)
  const held = [take("a"), take("b")]
  expect([take("c"), take("d"), take("c")]).toEqual([undefined, undefined, undefined])
  expect([budget.usedBytes, budget.waitingCount, budget.isWaiting("c"), budget.isWaiting("a")]).toEqual([
    20,
    2,
    true,
    false,
  ])
  const taken: Array<string> = []
  for (const who of ["c", "d", "a"]) onWake.set(who, () => void (take(who) && taken.push(who)))
  pool.give(held[0]!, false)
  // Within the turn in which it has given its buffer back.
  expect(take("a")).toBe(undefined)
  expect(woken).toEqual([])
  turn()
  expect([woken, taken, budget.waitingCount]).toEqual([["c"], ["c"], 2])
  pool.give(held[1]!, false)
  turn()
  expect([taken, budget.waitingCount]).toEqual([["c", "d"], 1])
})

test("room is kept for a moment for one who was woken, and then for the next", () => {
  const { pool, budget, woken, turn, take } = make(10)
  const held = take("a")!
  expect([take("b"), take("c")]).toEqual([undefined, undefined])
  pool.give(held, false)
  turn()
  expect(woken).toEqual(["b"])
  turn()
  // A late one.
  expect(take("d")).toBe(undefined)
  const mine = take("b")
  expect(mine).toBeDefined()
  pool.give(mine!, false)
  turn()
  expect(woken).toEqual(["b", "c"])
  // Neither comes again.
  for (let i = 0; i < 20; i++) turn()
  expect([woken, budget.waitingCount]).toEqual([["b", "c", "d"], 0])
  expect(take("e")).toBeDefined()
})

test("a buffer for a large record exceeds the budget once, and is waited for by others", () => {
  const { pool, budget, take } = make(20)
  expect(budget.admits("a")).toBe(true)
  const large = pool.take(100)
  expect([take("b"), budget.usedBytes]).toEqual([undefined, 100])
  pool.give(large, false)
  expect([budget.usedBytes, budget.isWaiting("b")]).toEqual([0, true])
})

test("what is kept for use again is part of it", () => {
  const { pool, take } = make(60)
  const small = [pool.take(4, 4), pool.take(4, 4)]
  const full = Array.from({ length: 4 }, () => take("a")!)
  for (const one of [...small, ...full]) pool.give(one, false)
  expect(pool.heldBytes).toBe(48)
  for (let i = 0; i < 3; i++) pool.take(8, 8)
  expect(pool.heldBytes).toBeLessThanOrEqual(60)
  for (let i = 0; i < 3; i++) take("a")
  expect(pool.heldBytes).toBeLessThanOrEqual(60)
})

test("says that memory is short with the first refusal, and for those who still wait", () => {
  const { pool, budget, turn, take } = make(10)
  let calls = 0
  budget.onShort = () => void calls++
  const held = take("a")!
  expect([take("b"), take("c"), calls]).toEqual([undefined, undefined, 1])
  pool.give(held, false)
  turn()
  expect(calls).toBe(2)
})

test("a buffer is the smaller the more tails have some, so that one for each leaves most of the budget", () => {
  const budget = new StagingBudget<string>(65_536, 1024 * 1024, { nextTurn: () => undefined, wake: () => undefined })
  const { pool } = budget
  expect(budget.shareBytes).toBe(65_536)
  const shares: Array<number> = []
  const tails: Array<StagingTail> = []
  for (let count = 1; count <= 100; count++) {
    const tail = new StagingTail(pool)
    tail.push(1536, pool.take(100, budget.shareBytes))
    tail.push(1636, pool.take(100, 128))
    tails.push(tail)
    expect(pool.holders).toBe(count)
    if ([1, 4, 5, 16, 100].includes(count)) shares.push(budget.shareBytes)
  }
  expect(shares).toEqual([65_536, 65_536, 32_768, 16_384, 2048])
  tails[0]!.release(1636, false)
  expect(pool.holders).toBe(100)
  for (const tail of tails.slice(0, 50)) {
    tail.release(1736, true)
    tail.abandon()
  }
  for (const tail of tails.slice(50)) {
    tail.abandon()
    tail.release(1736, true)
  }
  expect([pool.holders, pool.lentBytes, budget.shareBytes]).toEqual([0, 0, 65_536])
  tails[0]!.release(0, true)
  expect(pool.holders).toBe(0)
})
