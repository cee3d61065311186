// When the process may open no more files, descriptors that are kept for reading go, and what needed one is done.

import { describe, expect, test } from "bun:test"
import type { TierEvent } from "../../src/model/tier_event.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"

const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096 }
const opening = /^(?:open|create)/

describe("a process that may open no more files", () => {
  test.each(["EMFILE", "ENFILE"])("gives back what it keeps for reading and goes on: %s", async (code: string) => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      for (let count = 0; count < 12; count++) await orders.append("x".repeat(3000))
      await orders.seal()
      const readAll = async (): Promise<number> => {
        let records = 0
        for await (const _ of orders.read({ from: "start" })) records++
        return records
      }
      expect(await readAll()).toBe(12)
      // Full until something was given back, which is before the second try.
      let refused = 0
      disk.onOperation = ({ kind }) => {
        if (!opening.test(kind) || refused > 0) return undefined
        refused++
        return code
      }
      await orders.append("after")
      expect(refused).toBe(1)
      expect(await readAll()).toBe(13)
      // Nothing is kept any more that could go: it is told.
      disk.onOperation = ({ kind }) => (opening.test(kind) ? code : undefined)
      const sealed = (): Promise<unknown> =>
        orders.seal().then(
          () => undefined,
          (error: unknown) => error,
        )
      expect(await sealed()).toMatchObject({ _tag: "Unavailable", code, retryable: true })
      disk.onOperation = undefined
      // It is tried again a few times a second.
      while ((await sealed()) !== undefined) await new Promise((resolve) => setImmediate(resolve))
      expect(await readAll()).toBe(13)
    })
  })

  test("leaves a segment in Tier 0 that cannot be looked at, and neither compresses it anew nor tries without a pause", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
    const events: Array<TierEvent> = []
    const told = (name: string): number => events.filter((event) => event.name === name).length
    const tiers = { tier1: { compress: "eager" as const }, onEvent: (event: TierEvent) => void events.push(event) }
    await withStore(disk.layer, { ...options, ...tiers }, async (manager) => {
      const orders = await manager.stream("orders")
      for (let count = 0; count < 6; count++) await orders.append("x".repeat(1000))
      await orders.seal()
      await manager.settled()
      const compressions = told("tier1_compression_success")
      disk.onOperation = ({ kind, path }) => (opening.test(kind) && path.endsWith(".zst") ? "EMFILE" : undefined)
      const evicted = orders.evict({ to: "tier1" })
      const startMs = performance.now()
      while (told("tier0_eviction_failed") === 0) await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setTimeout(resolve, 60))
      // Once a second, however long this took.
      const triesMax = orders.segments().length * (1 + Math.ceil((performance.now() - startMs) / 1000))
      expect(told("tier0_eviction_failed")).toBeLessThanOrEqual(triesMax)
      expect(orders.segments()[0]!.tier).toBe("tier0")
      disk.onOperation = undefined
      await evicted
      expect(orders.segments()[0]!.tier).toBe("tier1")
      expect([told("tier1_compression_success"), told("tier1_missing")]).toEqual([compressions, 0])
    })
  })
})
