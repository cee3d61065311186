// Appends that wait for room: served in order, one that waits stops those behind it, and whatever happens while one tries leaves a sound queue.

import { expect, test } from "bun:test"
import { closed } from "../../src/model/errors.ts"
import { AppendQueue, type QueuedAppend } from "../../src/state/append_queue.ts"

/** One that needs so much of the room that is left, and says what became of it. */
const makeAppends = (room: { left: number }, log: Array<string>) => {
  return (name: string, needed: number, onTry: () => void = () => undefined): QueuedAppend => ({
    tryAgain: () => {
      onTry()
      if (room.left < needed) return -2
      room.left -= needed
      log.push(name)
      return 0
    },
    fail: ({ message }) => log.push(`${name}: ${message}`),
  })
}

test("they are taken in order, and a large one is not passed by a small one", () => {
  const room = { left: 0 }
  const log: Array<string> = []
  const make = makeAppends(room, log)
  const queue = new AppendQueue()
  expect(queue.code).toBe(0)
  for (const [name, needed] of [
    ["a", 1],
    ["b", 3],
    ["c", 1],
  ] as const) {
    queue.add(make(name, needed), -1)
  }
  expect(queue.code).toBe(-1)
  room.left = 3
  queue.serve()
  expect([log, queue.code]).toEqual([["a"], -2])
  room.left = 4
  queue.serve()
  expect([log, queue.code]).toEqual([["a", "b", "c"], 0])
})

test("one that waits no longer lets those behind it go on", () => {
  const room = { left: 1 }
  const log: Array<string> = []
  const make = makeAppends(room, log)
  const queue = new AppendQueue()
  const first = make("a", 2)
  const second = make("b", 1)
  queue.add(first, -1)
  queue.add(second, -1)
  expect([queue.remove(second), queue.remove(first)]).toEqual([false, true])
  queue.add(second, -1)
  queue.serve()
  expect([log, queue.code]).toEqual([["b"], 0])
})

test("all but the one that tries may fail meanwhile, and that one waits on", () => {
  const room = { left: 0 }
  const log: Array<string> = []
  const make = makeAppends(room, log)
  const queue = new AppendQueue()
  queue.add(
    make("a", 1, () => {
      if (room.left === 0) queue.failAll(closed("stream s"))
    }),
    -1,
  )
  queue.add(make("b", 1), -1)
  queue.serve()
  expect([log, queue.code]).toEqual([["b: stream s is closed"], -2])
  queue.add(make("c", 1), -1)
  room.left = 2
  queue.serve()
  expect([log, queue.code]).toEqual([["b: stream s is closed", "a", "c"], 0])
})

test("serving is not nested: who asks meanwhile is served by the one that is under way", () => {
  const room = { left: 0 }
  const log: Array<string> = []
  const make = makeAppends(room, log)
  const queue = new AppendQueue()
  const nested: Array<boolean> = []
  let isFirst = true
  queue.add(
    make("a", 1, () => {
      if (!isFirst) return
      isFirst = false
      nested.push(queue.serve())
    }),
    -1,
  )
  queue.add(make("b", 1), -1)
  room.left = 2
  expect(queue.serve()).toBe(true)
  expect([nested, log, queue.code]).toEqual([[false], ["a", "b"], 0])
})
