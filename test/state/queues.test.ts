// The small state machines: waiters, watermark, catalog, index, staging memory, verified frames.

import { describe, expect, test } from "bun:test"
import { indexStride } from "../../src/format/segment_footer.ts"
import { Catalog } from "../../src/state/catalog.ts"
import { IndexBuilder } from "../../src/state/index_builder.ts"
import { decodedIndex, type IndexKey, searchIndex } from "../../src/state/segment_index.ts"
import { BufferPool, StagingTail } from "../../src/state/staging_tail.ts"
import { VerifiedFrames } from "../../src/state/verified_frames.ts"
import { type Waiter, WaitQueue } from "../../src/state/wait_queue.ts"
import { startMark, Watermark } from "../../src/state/watermark.ts"
import { makeRandom } from "../support/api.ts"

describe("WaitQueue", () => {
  const make = (position: number, log: Array<string>): Waiter => ({
    position,
    recordNumber: 0,
    cancelled: false,
    done: () => log.push(`done ${position}`),
    fail: (error) => log.push(`fail ${position} ${error}`),
  })

  test("wakes in order of position what lies below, once, and skips what was cancelled", () => {
    const log: Array<string> = []
    const queue = new WaitQueue()
    const waiters = [5, 3, 9, 3, 7].map((position) => make(position, log))
    for (const waiter of waiters) queue.add(waiter)
    waiters[3]!.cancelled = true
    queue.wake(3)
    expect(log).toEqual([])
    queue.wake(6)
    queue.wake(6)
    expect(log).toEqual(["done 3", "done 5"])
    queue.failAll("x", 8)
    expect(log.slice(2)).toEqual(["fail 7 x"])
    expect(queue.isEmpty).toBe(false)
    queue.failAll("y")
    expect(log.slice(3)).toEqual(["fail 9 y"])
    expect(queue.isEmpty).toBe(true)
  })

  test("a waiter that is added while others are woken waits for its own position", () => {
    const log: Array<string> = []
    const queue = new WaitQueue()
    queue.add({ ...make(1, log), done: () => queue.add(make(20, log)) })
    queue.add(make(2, log))
    queue.wake(10)
    expect(log).toEqual(["done 2"])
    queue.wake(21)
    expect(log).toEqual(["done 2", "done 20"])
  })

  test("100 000 waiters in any order are answered exactly once", () => {
    const random = makeRandom(4)
    const queue = new WaitQueue()
    let answered = 0
    for (let i = 0; i < 100_000; i++) {
      queue.add({ position: i + random(3), recordNumber: 0, cancelled: false, done: () => answered++, fail: () => {} })
      if (i % 1000 === 0) queue.wake(i)
    }
    queue.wake(200_000)
    expect(answered).toBe(100_000)
    expect(queue.isEmpty).toBe(true)
  })
})

test("a watermark moves forward only", () => {
  const watermark = new Watermark(startMark)
  const mark = { ...startMark, position: 10, nextRecordNumber: 2 }
  expect(watermark.advance(mark)).toBe(true)
  expect(watermark.advance(mark)).toBe(false)
  expect(() => watermark.advance({ ...mark, position: 9 })).toThrow()
  expect(() => watermark.advance({ ...mark, position: 11, nextRecordNumber: 1 })).toThrow()
  expect(watermark.mark).toBe(mark)
})

describe("Catalog", () => {
  const entry = (index: number) => ({
    index,
    header: { firstRecordNumber: index * 10, timestampMsMax: index * 100, extIdMax: BigInt(index * 1000) },
  })

  test("finds by index and by key with gaps, whatever the order in which entries came", () => {
    const catalog = new Catalog<ReturnType<typeof entry>>()
    expect([catalog.first, catalog.last, catalog.get(1), catalog.atOrAbove(0), catalog.below(9)]).toEqual(
      Array(5).fill(undefined),
    )
    expect(catalog.search({ by: "number", value: 0 })).toBe(undefined)
    for (const index of [7, 2, 9, 4]) catalog.add(entry(index))
    expect(catalog.entries.map((one) => one.index)).toEqual([2, 4, 7, 9])
    const replaced = entry(4)
    catalog.add(replaced)
    expect(catalog.entries.length).toBe(4)
    expect(catalog.get(4)).toBe(replaced)
    expect([catalog.get(5), catalog.atOrAbove(5)?.index, catalog.below(7)?.index, catalog.below(2)]).toEqual([
      undefined,
      7,
      4,
      undefined,
    ])
    const found = (key: Exclude<IndexKey, { by: "offset" }>): number => catalog.search(key)!.index
    expect([0, 20, 39, 40, 41, 1000].map((value) => found({ by: "number", value }))).toEqual([2, 2, 2, 4, 4, 9])
    expect([0, 200, 201, 401, 5000].map((value) => found({ by: "time", value }))).toEqual([2, 2, 2, 4, 9])
    expect([0n, 2001n, 9001n].map((value) => found({ by: "extId", value }))).toEqual([2, 2, 9])
    expect(catalog.removeBelow(7).map((one) => one.index)).toEqual([2, 4])
    catalog.remove(9)
    expect(catalog.entries.map((one) => one.index)).toEqual([7])
  })
})

describe("the sparse index", () => {
  test("while it grows and encoded it answers like a walk over all frames", () => {
    const random = makeRandom(11)
    const builder = new IndexBuilder()
    const frames: Array<{ offset: number; number: number; time: number; extId: bigint }> = []
    let offset = 1536
    let time = 0
    let extId = 0n
    for (let i = 0; i < 3000; i++) {
      builder.note(offset, i * 5, time, extId)
      frames.push({ offset, number: i * 5, time, extId })
      offset += 8 * (1 + random(4000))
      if (random(3) === 0) time += random(50)
      if (random(4) === 0) extId += BigInt(random(9))
    }
    const stretches = new Set(frames.map((frame) => Math.floor(frame.offset / indexStride)))
    expect(builder.count).toBe(stretches.size)
    const decoded = decodedIndex(builder.encode())
    expect(decoded.count).toBe(builder.count)
    const kept = frames.filter(
      (frame, i) =>
        i === 0 || Math.floor(frame.offset / indexStride) !== Math.floor(frames[i - 1]!.offset / indexStride),
    )
    const slow = (isBefore: (frame: (typeof frames)[number]) => boolean): number =>
      kept.filter(isBefore).at(-1)?.offset ?? 77
    for (let i = 0; i < 500; i++) {
      const value = random(20_000)
      const where = random(offset)
      const extIdValue = BigInt(random(7000))
      const cases: Array<readonly [IndexKey, number]> = [
        [{ by: "number", value }, slow((frame) => frame.number <= value)],
        [{ by: "offset", value: where }, slow((frame) => frame.offset <= where)],
        [{ by: "time", value }, slow((frame) => frame.time < value)],
        [{ by: "extId", value: extIdValue }, slow((frame) => frame.extId < extIdValue)],
      ]
      for (const [key, expected] of cases) {
        expect(searchIndex(builder, key, 77)).toBe(expected)
        expect(searchIndex(decoded, key, 77)).toBe(expected)
      }
    }
  })

  test("an empty one answers with the beginning", () => {
    expect(searchIndex(decodedIndex(new Uint8Array(0)), { by: "number", value: 5 }, 1536)).toBe(1536)
  })
})

describe("StagingTail", () => {
  test("finds each byte in its buffer, keeps what is not durable, and gives back only what nobody reads", () => {
    const pool = new BufferPool(100)
    const tail = new StagingTail(pool)
    const buffers = [0, 1, 2].map((i) => {
      const bytes = pool.take(100)
      tail.push(1536 + 80 * i, bytes)
      return bytes
    })
    expect(tail.find(1535)).toBe(undefined)
    expect(tail.find(1536)?.bytes).toBe(buffers[0]!)
    expect(tail.find(1615)?.bytes).toBe(buffers[0]!)
    expect(tail.find(1616)?.bytes).toBe(buffers[1]!)
    expect(tail.find(1696 + 99)?.bytes).toBe(buffers[2]!)
    expect(tail.find(1696 + 100)).toBe(undefined)
    tail.find(1620)!.pinned = true
    tail.release(1615, false)
    expect(tail.start).toBe(1536)
    tail.release(1696, false)
    expect(tail.start).toBe(1696)
    expect(pool.take(100)).toBe(buffers[0]!)
    expect(pool.take(100)).not.toBe(buffers[1]!)
    tail.release(1700, true)
    expect(tail.start).toBe(undefined)
    expect(pool.take(1000).length).toBe(1000)
  })
})

test("a pool keeps as many buffers as were in use at once lately, and none that a reader has", () => {
  const pool = new BufferPool(100)
  const many = Array.from({ length: 6 }, () => pool.take(100))
  for (const one of many) pool.give(one, false)
  const again = Array.from({ length: 7 }, () => pool.take(100))
  expect(again.filter((one) => many.includes(one)).length).toBe(6)
  for (const one of again.slice(1)) pool.give(one, one === again[1])
  expect(pool.heldBytes).toBe(600)
  // One is in use, and one was left to the collector.
  for (let i = 0; i < 3; i++) {
    pool.trim(200)
    expect([pool.heldBytes, pool.keepsMore(500), pool.keepsMore(499)]).toEqual([600, false, true])
  }
  pool.give(again[0]!, false)
  pool.trim(200)
  expect(pool.heldBytes).toBe(600)
  pool.give(pool.take(100), false)
  pool.trim(200)
  expect(pool.heldBytes).toBe(600)
  // None was in use between two trims.
  pool.trim(200)
  expect(pool.heldBytes).toBe(200)
})

test("what a stream that has ended held is no longer counted, nor used again", () => {
  const pool = new BufferPool(100)
  const tail = new StagingTail(pool)
  const [first, second] = [pool.take(100), pool.take(40, 10)]
  tail.push(1536, first)
  tail.push(1636, second)
  // The smaller one is a power of two, to be kept for use again.
  expect(pool.heldBytes).toBe(164)
  tail.abandon()
  tail.release(2000, true)
  expect(pool.heldBytes).toBe(0)
  expect(pool.take(100)).not.toBe(first)
  expect(pool.heldBytes).toBe(100)
})

test("verified frames are forgotten together, never wrong", () => {
  const frames = new VerifiedFrames()
  frames.add(1536)
  const facts = { frameOffset: 2048, firstRecordNumber: 1, timestampMs: 2, recordCount: 0, lengthBytes: 64 }
  frames.add(2048)
  frames.addStarts(facts, () => undefined)
  frames.addBatch(1536)
  expect([frames.has(1536), frames.has(2048), frames.has(8), frames.hasBatch(1536)]).toEqual([true, true, false, true])
  expect([frames.starts.find(2048), frames.starts.find(1536)]).toEqual([0, -1])
  frames.clear()
  expect([frames.has(1536), frames.hasBatch(1536), frames.starts.find(2048)]).toEqual([false, false, -1])
})
