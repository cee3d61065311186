// A root that is made from its bucket alone: every stream comes back without a listing, what never got there is named, and appends go on above
// every id that was ever given out.

import { describe, expect, test } from "bun:test"
import { memoryStore } from "../../src/api/object_store.ts"
import { openReplica } from "../../src/api/replica.ts"
import { FaultyObjectStore, type StoreFault, type StoreRequest } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import {
  appendTexts,
  bucketOptions,
  headIn,
  keysIn,
  numbersIn,
  openBucketStore,
  textOfNumber,
  until,
  upTo,
} from "../support/bucket.ts"

describe("an empty root with a bucket that holds one", () => {
  test("has every stream, cold, with the same records under the same ids", async () => {
    const store = memoryStore()
    const first = await openBucketStore(store)
    const orders = await first.stream("orders")
    const ids = await appendTexts(orders, 0, 30)
    await orders.seal()
    const empty = await first.stream("empty")
    expect(empty.info().count).toBe(0)
    await first.settled()
    const before = await headIn(store)
    await first.close()

    const second = await openBucketStore(store)
    expect(second.streams()).toEqual(["empty", "orders"])
    expect(second.recovery.lost).toEqual([])
    expect(second.recovery.isClean).toBe(true)
    const back = await second.stream("orders")
    expect(new Set(back.segments().map(({ tier }) => tier))).toEqual(new Set(["tier2"]))
    expect(await numbersIn(back)).toEqual(upTo(30))
    for (const [number, id] of ids.entries()) expect((await back.get(id)).text()).toBe(textOfNumber(number))
    const [next] = await appendTexts(back, 30, 31)
    expect(next).toBeGreaterThan(ids.at(-1)!)
    expect(await numbersIn(back)).toEqual(upTo(31))
    await second.settled()
    const after = await headIn(store)
    expect(after?.rootId).toEqual(before?.rootId)
    expect(after!.epoch).toBeGreaterThan(before!.epoch)
    await second.close()
  })

  test("says what the other machine had and the bucket never got, and leaves ids for it", async () => {
    const inner = memoryStore()
    const store = new FaultyObjectStore(inner)
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(store, { disk })
    const stream = await first.stream("orders")
    await appendTexts(stream, 0, 20)
    await stream.seal()
    await first.settled()
    // From now on no segment gets there, but the manifest does.
    store.script = ({ kind, key }) => (kind === "put" && key.includes("/segments/") ? "denied" : undefined)
    const lost = await appendTexts(stream, 20, 24)
    await stream.seal()
    await stream.trim({ before: (await stream.read({ number: 1 })[Symbol.asyncIterator]().next()).value!.recordId })
    const active = await appendTexts(stream, 24, 26)
    await first.settled()
    disk.kill()

    const second = await openBucketStore(inner)
    const back = await second.stream("orders")
    const entries = second.recovery.lost.filter((one) => one.bytes > 0)
    expect(entries.length).toBeGreaterThan(0)
    for (const id of lost) expect(entries.some(({ from, to }) => from <= id && id < to)).toBe(true)
    expect(second.recovery.isClean).toBe(false)
    expect(second.recovery.quarantined).toEqual([])
    const [next] = await appendTexts(back, 100, 101)
    expect(next).toBeGreaterThan(active.at(-1)! + 1024 * 2 ** 28)
    expect((await failure(back.get(lost[0]!)))._tag).toMatch(/NotFound|Corrupt/)
    await second.close()
    await first.close().catch(() => {})
  })

  test("says where something is missing in the middle, reads what lies around it, and so does a replica", async () => {
    const inner = memoryStore()
    const store = new FaultyObjectStore(inner, {
      script: ({ kind, key }) => (kind === "put" && key.includes("/segments/1/0000000002-") ? "denied" : undefined),
    })
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(store, { disk, retry: { maxAttempts: 1 } })
    const stream = await first.stream("orders")
    const ids: Array<number> = []
    for (let round = 0; round < 4; round++) {
      ids.push(...(await appendTexts(stream, round * 5, round * 5 + 5)))
      await stream.seal()
    }
    await until("the others are there", async () => {
      await first.settled()
      return first.observe().backlog.unuploadedSegments === 1 && (await headIn(inner))!.lastSequence > 20
    })
    disk.kill()
    const second = await openBucketStore(inner)
    expect(second.recovery.lost.filter(({ bytes }) => bytes > 0).map(({ from, reason }) => [from, reason])).toEqual([
      [2 * 2 ** 28, "the bucket never got this sealed segment: records 5 to 9 are missing"],
    ])
    const back = await second.stream("orders")
    await appendTexts(back, 20, 25)
    await back.seal()
    await second.settled()
    const replica = await openReplica({ store: inner })
    for (const view of [back, await replica.stream("orders")]) {
      const error = await failure(numbersIn(view))
      expect([error._tag, error.message]).toEqual(["Corrupt", "stream orders: records 5 to 9 are missing"])
      expect(await numbersIn(view, { from: ids[10]! })).toEqual(upTo(25).slice(10))
      expect((await view.get(ids[4]!)).text()).toBe(textOfNumber(4))
    }
    await replica.close()
    await second.close()
    await first.close().catch(() => {})
  })

  test("comes back from a thousand segments with a few requests and no listing", async () => {
    const inner = memoryStore()
    const options = { segmentBytes: 4096, tier1: { frameBytes: 4096, residencyMsMin: 0, level: 1 } }
    const first = await openBucketStore(inner, { headIntervalMs: 5000 }, options)
    const stream = await first.stream("many")
    for (let number = 0; number < 1000; number++) {
      await stream.append(`record ${number}`)
      await stream.seal()
    }
    await first.settled()
    await first.close()
    const objects = await keysIn(inner)
    expect(objects.filter((key) => key.includes("/segments/")).length).toBe(1000)

    const store = new FaultyObjectStore(inner)
    const second = await openBucketStore(store, {}, options)
    const manifestFiles = (await headIn(inner))!.files.length
    const opening = store.counts.get.requests
    expect(opening).toBeLessThanOrEqual(manifestFiles + 3)
    const back = await second.stream("many")
    for await (const record of back.read({ from: "start" })) {
      expect(record.text()).toBe("record 0")
      break
    }
    expect(store.counts.get.requests - opening).toBeLessThanOrEqual(4)
    expect(store.counts.list.requests).toBe(0)
    expect(back.info().nextRecordNumber).toBe(1000)
    await second.close()
  }, 120_000)

  test("gives no id that a machine gave out before whose records nobody ever heard of, whenever the bucket was lost to that one", async () => {
    const inner = memoryStore()
    const first = await openBucketStore(inner)
    const stream = await first.stream("orders")
    const given = new Set(await appendTexts(stream, 0, 3))
    await stream.seal()
    await first.settled()
    await first.close()
    let acknowledged = 0
    for (let puts = 0; puts < 6; puts++) {
      let left = puts
      const script = ({ kind }: StoreRequest): StoreFault | undefined =>
        kind === "put" && left-- <= 0 ? "timeoutBefore" : undefined
      const store = new FaultyObjectStore(inner, { script })
      const opened = openBucketStore(store, { retry: { maxAttempts: 1 } }, { closeTimeoutMs: 100 })
      const manager = await opened.catch((error) => {
        expect(error._tag).toBe("Unavailable")
        return undefined
      })
      if (manager === undefined) continue
      for (const id of await appendTexts(await manager.stream("orders"), 100, 103)) {
        expect(given.has(id)).toBe(false)
        given.add(id)
        acknowledged++
      }
      await manager.close()
    }
    expect(acknowledged).toBeGreaterThan(3)
  })

  test("goes on where it was when the bucket is lost before the first HEAD of its own", async () => {
    const inner = memoryStore()
    const first = await openBucketStore(inner)
    const ids = await appendTexts(await first.stream("orders"), 0, 3)
    await first.close()
    const heads: Array<string> = []
    const store = new FaultyObjectStore(inner, {
      script: ({ kind, key }) => (kind === "put" && key === "HEAD" && heads.push(key) > 1 ? "denied" : undefined),
    })
    const disk = new MemoryDisk({ modelsCrashes: false })
    expect((await failure(openBucketStore(store, { disk })))._tag).toBe("Unavailable")
    store.script = undefined
    const manager = await openBucketStore(store, { disk })
    const [next] = await appendTexts(await manager.stream("orders"), 3, 4)
    expect(next).toBeGreaterThan(ids.at(-1)! + 1024 * 2 ** 28)
    await manager.close()
  })

  test("is not made anew when the bucket does not answer and is required", async () => {
    const inner = memoryStore()
    const first = await openBucketStore(inner)
    await appendTexts(await first.stream("orders"), 0, 3)
    await first.close()
    const store = new FaultyObjectStore(inner)
    store.down = "Network"
    const disk = new MemoryDisk({ modelsCrashes: false })
    const error = await failure(openBucketStore(store, { disk, requireBucket: true }))
    expect([error._tag, error.code]).toEqual(["Unavailable", "Down"])
    store.down = undefined
    const manager = await openBucketStore(store, { disk })
    expect(manager.streams()).toEqual(["orders"])
    await manager.close()
  })

  test("is made anew when nobody requires the bucket, and is fenced when that turns out to hold another one", async () => {
    const inner = memoryStore()
    const first = await openBucketStore(inner)
    await appendTexts(await first.stream("orders"), 0, 3)
    await first.settled()
    await first.close()
    const before = await headIn(inner)
    const store = new FaultyObjectStore(inner)
    store.down = "Network"
    const manager = await openBucketStore(store)
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 3)
    store.down = undefined
    await until("it is fenced", () => {
      try {
        stream.tryAppend("x")
        return false
      } catch (error) {
        return (error as { _tag?: string })._tag === "Fenced"
      }
    })
    expect((await headIn(inner))?.nonce).toEqual(before?.nonce)
    await manager.close()
  })

  test("comes back whole when the power goes at any step of the restore", async () => {
    const store = memoryStore()
    const first = await openBucketStore(store)
    const orders = await first.stream("orders")
    await appendTexts(orders, 0, 10)
    await orders.seal()
    await first.settled()
    await first.close()
    const moments: Array<MemoryDisk> = []
    const disk = new MemoryDisk()
    disk.onOperation = ({ kind }) => {
      if (!["read", "list", "open", "readFile", "sizeOf"].includes(kind)) moments.push(disk.fork())
    }
    const whole = await openBucketStore(store, { disk })
    disk.onOperation = undefined
    await whole.close()
    expect(moments.length).toBeGreaterThan(15)
    for (const [index, moment] of moments.entries()) {
      for (const keeps of [true, false]) {
        const cut = moment.fork()
        cut.crash(() => keeps)
        const options = { ...bucketOptions(store, { takeOver: true }) }
        const { openWith } = await import("../../src/api/manager.ts")
        const manager = await openWith(cut.layer, options)
        const back = await manager.stream("orders")
        if ((await numbersIn(back)).length !== 10) throw new Error(`cut before operation ${index}, kept: ${keeps}`)
        await manager.close()
      }
    }
  }, 120_000)
})
