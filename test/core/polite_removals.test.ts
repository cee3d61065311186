// Files of segments that leave their tier go one after the other, with the disk left to those who wait for syncs in between.

import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { PoliteRemovals } from "../../src/core/files/polite_removals.ts"
import { unavailable } from "../../src/model/errors.ts"

/** Removals that take `ms` each, on a clock of their own. */
const makeRemovals = (ms: number, isDiskWanted: () => boolean) => {
  const state = { nowMs: 1000, running: 0, most: 0, removed: [] as Array<string> }
  const startedMs: Array<number> = []
  const remove = (path: string) =>
    Effect.gen(function* () {
      startedMs.push(state.nowMs)
      state.most = Math.max(state.most, ++state.running)
      yield* Effect.yieldNow
      state.running--
      state.nowMs += ms
      if (path === "bad") return yield* Effect.fail(unavailable("removing", "EIO", path))
      state.removed.push(path)
    })
  const removals = new PoliteRemovals({ remove }, { isDiskWanted, isRoomWanted: () => false, nowMs: () => state.nowMs })
  return { removals, state, startedMs }
}

const all = (removals: PoliteRemovals, paths: ReadonlyArray<string>) =>
  Effect.runPromise(
    Effect.all(
      paths.map((path) => Effect.result(removals.remove(path))),
      { concurrency: "unbounded" },
    ),
  )

test("one at a time, in the order in which they were asked for", async () => {
  const { removals, state } = makeRemovals(5, () => false)
  await all(removals, ["a", "b", "c"])
  expect(state.most).toBe(1)
  expect(state.removed).toEqual(["a", "b", "c"])
})

test("one that fails is told so, and keeps no other", async () => {
  const { removals, state } = makeRemovals(5, () => false)
  const [one, two, three] = await all(removals, ["a", "bad", "c"])
  expect([one?._tag, two?._tag, three?._tag]).toEqual(["Success", "Failure", "Success"])
  expect(state.removed).toEqual(["a", "c"])
})

test("the next one waits for as long as the last one took while somebody wants the disk, and not otherwise", async () => {
  const pausesOf = async (isDiskWanted: boolean, ms: number): Promise<boolean> => {
    const { removals, state } = makeRemovals(ms, () => isDiskWanted)
    await Effect.runPromise(removals.remove("a"))
    let isOver = false
    const next = Effect.runPromise(removals.remove("b")).then(() => {
      isOver = true
    })
    // Turns of the event loop, in which a removal without a pause is over.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    const waited = !isOver
    await next
    expect(state.removed).toEqual(["a", "b"])
    return waited
  }
  expect(await pausesOf(true, 300)).toBe(true)
  expect(await pausesOf(false, 300)).toBe(false)
  expect(await pausesOf(true, 0)).toBe(false)
})

test("one that hangs, or whose caller goes away, keeps no other", async () => {
  const removed: Array<string> = []
  const remove = (path: string) => (path === "hangs" ? Effect.never : Effect.sync(() => void removed.push(path)))
  const removals = new PoliteRemovals(
    { remove },
    { isDiskWanted: () => true, isRoomWanted: () => false, nowMs: () => 0 },
  )
  const hanging = Effect.runFork(removals.remove("hangs"))
  const waiting = Effect.runFork(removals.remove("waits"))
  waiting.interruptUnsafe()
  await all(removals, ["a", "b"])
  expect(removed).toEqual(["a", "b"])
  hanging.interruptUnsafe()
  await all(removals, ["c"])
  expect(removed).toEqual(["a", "b", "c"])
})

test("a long queue in which nothing hangs stays one, until somebody waits for the room or the end", async () => {
  const state = { running: 0, most: 0, removed: 0, isRoomWanted: false }
  const remove = () =>
    Effect.gen(function* () {
      state.most = Math.max(state.most, ++state.running)
      yield* Effect.sleep(20)
      state.running--
      state.removed++
    })
  const manners = { isDiskWanted: () => false, isRoomWanted: () => state.isRoomWanted, nowMs: () => 0 }
  const paths = Array.from({ length: 20 }, (_, at) => `${at}`)
  await all(new PoliteRemovals({ remove }, manners), paths)
  expect([state.most, state.removed]).toEqual([1, 20])
  state.isRoomWanted = true
  await all(new PoliteRemovals({ remove }, manners), paths)
  expect([state.most, state.removed]).toEqual([20, 40])
  state.isRoomWanted = false
  state.most = 0
  const closing = new PoliteRemovals({ remove }, manners)
  const ended = all(closing, paths)
  closing.hurry()
  await ended
  expect(state.removed).toBe(60)
  expect(state.most).toBeGreaterThan(10)
})
