// The bucket of a real server as the place that outlives machines: restored from it alone, followed by replicas, fenced between two
// writers, and a writer that dies after each of its requests.

import { afterAll, describe, expect, test } from "bun:test"
import { type AofManager, openReplica } from "bop-aof"
import * as Effect from "effect/Effect"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import {
  appendTexts,
  headIn,
  keysIn,
  numbersIn,
  openBucketStore,
  textOfNumber,
  until,
  upTo,
} from "../support/bucket.ts"
import { type FaultProxy, startProxy } from "./fault_proxy.ts"
import { endpoint, hasServer, makeBucket, makePrefix, openStore, serverName } from "./settings.ts"

const retry = { maxAttempts: 4, baseDelayMs: 5, jitter: 0 }

/** Appends, seals, trims and deletes; each step may fail once the disk is gone. Gives the ids of what was acknowledged. */
const work = async (manager: AofManager, acknowledged: Array<number>): Promise<void> => {
  const stream = await manager.stream("orders")
  for (const [from, to] of [
    [0, 4],
    [4, 8],
    [8, 12],
  ] as const) {
    acknowledged.push(...(await appendTexts(stream, from, to)))
    await stream.seal()
    await manager.settled()
  }
  const scratch = await manager.stream("scratch")
  await appendTexts(scratch, 0, 2)
  await scratch.seal()
  await manager.settled()
  await manager.deleteStream("scratch")
  await manager.settled()
  await manager.close()
}

/** A store that calls `after` when a request that changes the bucket was carried out. */
const noting = (inner: ObjectStore, after: (what: string) => void): ObjectStore => ({
  kind: inner.kind,
  place: inner.place,
  put: (key, body, options) => Effect.tap(inner.put(key, body, options), () => Effect.sync(() => after(`put ${key}`))),
  remove: (key) => Effect.tap(inner.remove(key), () => Effect.sync(() => after(`remove ${key}`))),
  get: (key, range) => inner.get(key, range),
  head: (key) => inner.head(key),
  list: (prefix, options) => inner.list(prefix, options),
})

describe.skipIf(!hasServer)(serverName, () => {
  const proxies: Array<FaultProxy> = []
  afterAll(async () => {
    for (const proxy of proxies) await proxy.close()
  })

  test("a root comes back from the bucket alone, without a listing", async () => {
    const prefix = makePrefix()
    const first = await openBucketStore(openStore({ prefix }), { retry })
    const orders = await first.stream("orders")
    const ids = await appendTexts(orders, 0, 60)
    await orders.seal()
    await first.stream("empty")
    await first.settled()
    await first.close()

    const proxy = await startProxy({ target: endpoint })
    proxies.push(proxy)
    const second = await openBucketStore(openStore({ prefix, endpoint: proxy.endpoint }), { retry })
    const back = await second.stream("orders")
    expect((await back.get(ids[0]!)).text()).toBe(textOfNumber(0))
    expect(proxy.requests.filter(({ path }) => path.includes("list-type"))).toEqual([])
    // HEAD, once more for the epoch, and two ranges for the first record.
    const gets = proxy.requests.filter(({ method, path }) => method === "GET" && !path.includes("/manifest/"))
    expect(gets.length).toBeLessThanOrEqual(4)
    expect(second.streams()).toEqual(["empty", "orders"])
    expect(await numbersIn(back)).toEqual(upTo(60))
    const [next] = await appendTexts(back, 60, 61)
    expect(next).toBeGreaterThan(ids.at(-1)!)
    await second.settled()
    await second.close()
  }, 60_000)

  test("of two writers the later goes on, and the other changes nothing more", async () => {
    const store = openStore({ prefix: makePrefix() })
    const first = await openBucketStore(store, { retry })
    const orders = await first.stream("orders")
    await appendTexts(orders, 0, 10)
    await orders.seal()
    await first.settled()
    const second = await openBucketStore(store, { retry })
    const back = await second.stream("orders")
    await appendTexts(back, 10, 20)
    await back.seal()
    await second.settled()
    const before = [await keysIn(store), await headIn(store)]
    let error: { readonly _tag?: string } | undefined
    try {
      for (let number = 100; error === undefined && number < 200; number += 10) {
        await appendTexts(orders, number, number + 10)
        await orders.seal()
        await first.settled()
      }
    } catch (thrown) {
      error = thrown as typeof error
    }
    expect(error?._tag).toBe("Fenced")
    await first.close().catch(() => {})
    // What it had sent by then lies under its own epoch, where nobody looks.
    const ofSecond = (keys: unknown): ReadonlyArray<string> =>
      (keys as ReadonlyArray<string>).filter((key) => /-e2-[^/]*$/.test(key))
    expect(ofSecond(await keysIn(store))).toEqual(ofSecond(before[0]))
    expect(ofSecond(before[0]).length).toBeGreaterThan(0)
    expect(await headIn(store)).toEqual(before[1])
    expect(await numbersIn(back)).toEqual(upTo(20))
    await second.close()
  }, 60_000)

  test("a replica follows, by range and from the start", async () => {
    const store = openStore({ prefix: makePrefix() })
    const writer = await openBucketStore(store, { retry })
    const stream = await writer.stream("orders")
    const ids = await appendTexts(stream, 0, 30)
    await stream.seal()
    await writer.settled()
    const replica = await openReplica({ store, pollMs: 50, retry })
    const view = await replica.stream("orders")
    expect((await view.get(ids[17]!)).text()).toBe(textOfNumber(17))
    const followed: Array<number> = []
    const following = (async () => {
      for await (const record of view.follow({ from: "start" })) {
        followed.push(Number.parseInt(record.text(), 10))
        if (followed.length === 60) break
      }
    })()
    await appendTexts(stream, 30, 60)
    await stream.seal()
    await following
    expect(followed).toEqual(upTo(60))
    await replica.close()
    await writer.close()
  }, 60_000)

  test("a root moves to another bucket while it is open, and the old one says where", async () => {
    const [before, after] = [makePrefix(), makePrefix()]
    const writer = await openBucketStore(openStore({ prefix: before }), { retry })
    const stream = await writer.stream("orders")
    await appendTexts(stream, 0, 40)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    const to = openStore({ prefix: after, bucket: await makeBucket() })
    const moving = writer.moveBucket({ to })
    await appendTexts(stream, 40, 60)
    const { copied, missing } = await moving
    expect([copied > 2, missing]).toEqual([true, []])
    expect(await numbersIn(stream)).toEqual(upTo(60))
    await stream.seal()
    await stream.evict({ to: "tier2" })
    expect(await numbersIn(stream)).toEqual(upTo(60))
    await writer.close()
    const late = await failure(openBucketStore(openStore({ prefix: before }), { retry }))
    expect([late._tag, (late as { limit?: unknown }).limit]).toEqual(["Fenced", to.place])
    const restored = await openBucketStore(to, { retry })
    expect(await numbersIn(await restored.stream("orders"))).toEqual(upTo(60))
    await restored.close()
  }, 60_000)

  test("a writer that dies after any of its requests loses nothing, on its disk or without it", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const steps: Array<string> = []
    const all = await openBucketStore(
      noting(openStore({ prefix: makePrefix() }), (what) => steps.push(what)),
      { disk, retry },
    )
    await work(all, [])
    expect(steps.some((what) => what.startsWith("put HEAD"))).toBe(true)
    expect(steps.some((what) => what.startsWith("remove"))).toBe(true)
    for (let dies = 1; dies <= steps.length; dies++) {
      const store = openStore({ prefix: makePrefix() })
      const own = new MemoryDisk({ modelsCrashes: false })
      let count = 0
      const acknowledged: Array<number> = []
      const dying = noting(store, () => {
        if (++count === dies) own.kill()
      })
      const manager = await openBucketStore(dying, { disk: own, retry }).catch(() => undefined)
      if (manager !== undefined) await work(manager, acknowledged).catch(() => manager.close().catch(() => {}))
      const head = await headIn(store)
      // On its own disk everything acknowledged is there; what the bucket has is there without it.
      const again = await openBucketStore(store, { disk: own, retry })
      const stream = await again.stream("orders")
      for (const [number, id] of acknowledged.entries())
        expect((await stream.get(id)).text()).toBe(textOfNumber(number))
      await stream.seal()
      await again.settled()
      const count1 = stream.info().count
      await again.close()
      const restored = await openBucketStore(store, { retry })
      expect(await numbersIn(await restored.stream("orders"))).toEqual(upTo(count1))
      await restored.settled()
      expect((await headIn(store))!.epoch).toBeGreaterThan(head?.epoch ?? 0)
      await until("what was deleted is gone", async () => {
        await restored.settled()
        return restored.observe().backlog.deletes === 0
      })
      await restored.close()
    }
  }, 240_000)
})
