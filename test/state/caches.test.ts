// Bounded memory: what is kept, and what is forgotten.

import { describe, expect, test } from "bun:test"
import { ByteCache } from "../../src/state/byte_cache.ts"
import { LatencyWindow } from "../../src/state/latency_window.ts"

describe("ByteCache", () => {
  test("forgets what was used longest ago, and counts bytes", () => {
    const cache = new ByteCache<string>(100)
    cache.set(1, "a", 40)
    cache.set(2, "b", 40)
    expect(cache.get(1)).toBe("a")
    cache.set(3, "c", 40)
    expect([cache.get(1), cache.get(2), cache.get(3)]).toEqual(["a", undefined, "c"])
    expect(cache.usedBytes).toBe(80)
  })

  test("keeps the newest entry however large it is, and nothing else then", () => {
    const cache = new ByteCache<string>(100)
    cache.set(1, "a", 40)
    cache.set(2, "b", 400)
    expect([cache.get(1), cache.get(2), cache.usedBytes]).toEqual([undefined, "b", 400])
    cache.set(2, "c", 10)
    expect([cache.get(2), cache.usedBytes]).toEqual(["c", 10])
    cache.clear()
    expect([cache.get(2), cache.usedBytes]).toEqual([undefined, 0])
  })
})

describe("LatencyWindow", () => {
  test("gives percentiles of the latest durations by nearest rank", () => {
    const window = new LatencyWindow()
    expect(window.percentile(0.5)).toBe(0)
    for (let i = 100; i >= 1; i--) window.note(i)
    expect([0.5, 0.9, 0.99, 1].map((share) => window.percentile(share))).toEqual([50, 90, 99, 100])
    for (let i = 0; i < 1024; i++) window.note(7)
    expect([window.percentile(0.01), window.percentile(1), window.count]).toEqual([7, 7, 1124])
  })
})
