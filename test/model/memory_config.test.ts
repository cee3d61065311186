// One budget for all memory: its shares come to no more than it, and what was asked for by name is kept or refused.

import { expect, test } from "bun:test"
import { makeConfig } from "../../src/model/config.ts"

const MiB = 1024 * 1024
const root = "/data"

test.each([32, 33, 64, 100, 128, 500, 512, 4096])("the shares of %i MiB are all of it", (size: number) => {
  const { memory, tier0, tier2 } = makeConfig({ root, memoryBytesMax: size * MiB })
  expect(memory.bytesMax).toBe(size * MiB)
  expect(memory.stagingBytes).toBeGreaterThanOrEqual(memory.bytesMax / 3)
  const sum = memory.stagingBytes + memory.frameCacheBytes + memory.tableBytes
  expect(sum).toBeLessThan(memory.bytesMax)
  expect(tier0.frameCacheBytes).toBe(memory.frameCacheBytes)
  expect([tier2.client.concurrency, memory.transfers >= 1]).toEqual([memory.transfers, true])
})

test("few objects are on their way at once where memory is small, and none without a Tier 2", () => {
  const transfers = (memoryBytesMax: number, concurrency: number): number =>
    makeConfig({ root, memoryBytesMax, tier2: { concurrency } }).tier2.client.concurrency
  expect([transfers(32 * MiB, 8), transfers(256 * MiB, 8), transfers(1024 * MiB, 8)]).toEqual([1, 4, 8])
  const without = makeConfig({ root, memoryBytesMax: 64 * MiB, tier2: false }).memory
  expect([without.transfers, without.stagingBytes]).toEqual([0, 38 * MiB])
})

test("a budget that nobody has set fits what was asked for by name", () => {
  const { memory } = makeConfig({ root, unflushedBytesMax: 1024 * MiB, tier0: { frameCacheBytes: 1024 * MiB } })
  expect([memory.bytesMax, memory.frameCacheBytes]).toEqual([4096 * MiB, 1024 * MiB])
  expect(memory.stagingBytes).toBeGreaterThanOrEqual(1024 * MiB)
  const many = makeConfig({ root, tier2: { concurrency: 64 } })
  expect([many.tier2.client.concurrency, many.memory.bytesMax]).toEqual([64, 4096 * MiB])
})

test.each([0, 31 * MiB, 1.5, -1, Number.NaN, "64", 2 ** 41])("a budget of %p is refused", (memoryBytesMax) => {
  const open = (): unknown => makeConfig({ root, memoryBytesMax: memoryBytesMax as number })
  expect(open).toThrow(
    `memoryBytesMax is ${JSON.stringify(memoryBytesMax) === "null" ? "NaN" : JSON.stringify(memoryBytesMax)}`,
  )
})

test("a cache of more than half of it is refused with both", () => {
  const open = (): unknown => makeConfig({ root, memoryBytesMax: 64 * MiB, tier0: { frameCacheBytes: 33 * MiB } })
  expect(open).toThrow("tier0.frameCacheBytes is 34603008, allowed is at most half of memoryBytesMax, 33554432")
})
