// Wherever the power is cut, an opening leaves nothing behind that a scrub would call damage.

import { expect, test } from "bun:test"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { cutChoices, isChange, operationText } from "../support/power_cut.ts"

const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, manifest: { chunkBytes: 16 * 1024 } }

test("after any power cut and an opening a scrub finds nothing", async () => {
  const disk = new MemoryDisk()
  const moments: Array<{ readonly disk: MemoryDisk; readonly operation: string }> = []
  await withStore(disk.layer, options, async (manager) => {
    const orders = await manager.stream("orders")
    await orders.append("first")
    disk.onOperation = (operation) => {
      if (isChange(operation)) moments.push({ disk: disk.fork(), operation: operationText(operation) })
      return undefined
    }
    for (let round = 0; round < 2; round++) {
      await orders.append(`round ${round}`)
      await orders.seal()
    }
    // Fills the chunk, so that the next one is begun.
    for (let event = 0; event < 6; event++) await manager.customEvent(event, new Uint8Array(4000))
    disk.onOperation = undefined
  })
  expect(moments.some(({ operation }) => operation.includes("current.sealed"))).toBe(true)
  expect(moments.some(({ operation }) => operation.startsWith("create /store/manifest/"))).toBe(true)
  const wrong: Array<string> = []
  for (const { disk: before, operation } of moments) {
    for (const [name, choose] of cutChoices(1)) {
      const cut = before.fork()
      cut.crash(choose)
      await withStore(cut.layer, options, async (manager) => {
        for (const stream of manager.streams()) await manager.stream(stream)
        await manager.settled()
        const { findings, skipped } = await manager.scrub()
        if (findings.length + skipped.length > 0) {
          wrong.push(`before ${operation}, ${name}: ${JSON.stringify(findings[0] ?? skipped[0])}`)
        }
      })
    }
  }
  expect(wrong).toEqual([])
}, 120_000)
