// Bugs that the simulator found and that a short program shows.

import { describe, expect, test } from "bun:test"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"

const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, flushIntervalMs: 5 }

describe("what is appended after retention has trimmed everything", () => {
  test("is there after the next opening, also when the store was not closed in order", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await (await manager.stream("orders")).append("old")
      disk.crash(() => false)
    }).catch(() => undefined)
    // Recovery seals the segment and goes on with an index far above it; retention trims up to there.
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders", { retention: { bytes: 1 } })
      while (orders.info().count > 0) await new Promise((resolve) => setImmediate(resolve))
      // Commits the manifest, and the trim with it.
      await manager.customEvent(1, new Uint8Array())
      disk.crash(() => true)
    }).catch(() => undefined)
    let recordId = 0
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      recordId = (await orders.append("new")).recordId
    })
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      expect((await orders.get(recordId)).text()).toBe("new")
      expect(orders.info().count).toBe(1)
    })
  })
})

describe("a stream whose budget is smaller than the staging buffers of its manager", () => {
  test("takes appends", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, { root: "/store" }, async (manager) => {
      const orders = await manager.stream("orders", { tier0BytesMax: 64 * 1024 })
      const ack = await orders.append("first", { signal: AbortSignal.timeout(20_000) })
      expect(ack.recordNumber).toBe(0)
    })
  })
})

describe("a trim whose record could not be written", () => {
  test("is not shown to readers, and is there when it is asked for again", async () => {
    const disk = new MemoryDisk()
    let isShown = false
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      const first = await orders.append("first")
      const second = await orders.append("second")
      disk.onOperation = ({ path }) => (path.includes("/manifest/") ? "EIO" : undefined)
      const failure = await orders.trim({ before: second.recordId }).then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(failure).toMatchObject({ _tag: "Unavailable", code: "EIO" })
      expect((await orders.get(first.recordId)).text()).toBe("first")
      expect(orders.info().firstId).toBe(first.recordId)
      disk.onOperation = undefined
      await orders.trim({ before: second.recordId })
      expect(orders.info().firstId).toBe(second.recordId)
      isShown = true
      disk.crash(() => false)
    }).catch(() => undefined)
    expect(isShown).toBe(true)
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      expect(orders.info().count).toBe(1)
      for await (const record of orders.read({ from: "start" })) expect(record.text()).toBe("second")
    })
  })

  test("takes its segments along once some commit has written it, and nothing waits for them for ever", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      await orders.seal()
      const second = await orders.append("second")
      await manager.settled()
      disk.onOperation = ({ path }) => (path.includes("/manifest/") ? "EIO" : undefined)
      await expect(orders.trim({ before: second.recordId })).rejects.toMatchObject({ _tag: "Unavailable" })
      disk.onOperation = undefined
      for (let tries = 0; orders.info().segments.length > 1 && tries < 400; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      expect(orders.info().segments.map(({ index }) => index)).toEqual([2])
      await manager.settled()
    })
  }, 20_000)
})

describe("a reader in another process that has not read yet", () => {
  test("does not take the file of a new stream of the same name for its own", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const fill = async (text: string) => {
        const orders = await manager.stream("orders")
        for (let i = 0; i < 30; i++) await orders.append(`${text} ${i}`.padEnd(900, "."))
        await orders.seal()
        await manager.settled()
      }
      await fill("old")
      await withStore(disk.layer, { ...options, readOnly: true }, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        await manager.deleteStream("orders")
        await fill("new")
        let error: { readonly _tag?: string } | undefined
        try {
          // A cursor does not look again before it reads.
          for (const cursor = seen.cursor({ from: "start" }); cursor.next(); ) {
            expect(new TextDecoder().decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadStart + 3))).toBe(
              "old",
            )
          }
        } catch (thrown) {
          error = thrown as typeof error
        }
        expect(["NotFound", "WouldBlock", "Closed", undefined]).toContain(error?._tag)
      })
    })
  })
})
