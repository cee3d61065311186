// A replica reads from the bucket alone what its writer has put there, follows it, and costs little when nothing happens.

import { describe, expect, test } from "bun:test"
import { memoryStore, openReplica, Replica } from "bop-aof"
import { openReplica as openReplicaEffect } from "bop-aof/effect"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { runtimeLayer } from "../../src/api/manager.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, makeRoot, rejection, turns } from "../support/api.ts"
import { appendTexts, keysIn, numbersIn, openBucketStore, textOfNumber, until, upTo } from "../support/bucket.ts"

const requestsOf = ({ counts }: FaultyObjectStore): ReadonlyArray<number> =>
  [counts.head, counts.get, counts.put, counts.list, counts.remove].map(({ requests }) => requests)

describe("a replica", () => {
  test("reads every stream by id, number and from the start, and follows what is sealed", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    const ids = await appendTexts(stream, 0, 20)
    await stream.seal()
    await writer.settled()

    const replica = await openReplica({ store, pollMs: 10 })
    expect(replica).toBeInstanceOf(Replica)
    expect(replica.streams()).toEqual(["orders"])
    const view = await replica.stream("orders")
    expect(await numbersIn(view)).toEqual(upTo(20))
    for (const [number, id] of ids.entries()) expect((await view.get(id)).text()).toBe(textOfNumber(number))
    for await (const record of view.read({ number: 7, limit: 1 })) expect(record.text()).toBe(textOfNumber(7))

    const followed: Array<number> = []
    const following = (async () => {
      for await (const record of view.follow({ from: "start" })) {
        followed.push(Number.parseInt(record.text(), 10))
        if (followed.length === 40) break
      }
    })()
    await appendTexts(stream, 20, 40)
    await stream.seal()
    await writer.stream("later")
    await following
    expect(followed).toEqual(upTo(40))
    await until("the new stream is seen", () => replica.streams().includes("later"))
    expect(replica.info()).toMatchObject({ place: "memory", epoch: 1, failures: 0 })
    await replica.close()
    await replica.close()
    await writer.close()
  })

  test("changes nothing: what would is refused", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    const [first] = await appendTexts(stream, 0, 10)
    await stream.seal()
    await writer.settled()
    const faulty = new FaultyObjectStore(store)
    const replica = await openReplica({ store: faulty, pollMs: 3_600_000 })
    const view = await replica.stream("orders")
    for (const call of [
      () => view.append("x"),
      () => view.trim({ before: first! }),
      () => view.seal(),
      () => view.evict(),
    ])
      expect((await failure(call()))._tag).toBe("InvalidArgument")
    expect((await failure(replica.stream("none")))._tag).toBe("NotFound")
    expect(await numbersIn(view)).toEqual(upTo(10))
    const [, , puts, lists, removals] = requestsOf(faulty)
    expect([puts, lists, removals]).toEqual([0, 0, 0])
    await replica.close()
    expect((await failure(replica.poll()))._tag).toBe("Closed")
    expect((await failure(() => replica.streams()))._tag).toBe("Closed")
    await writer.close()
  })

  test("costs one request for each look when nothing has happened, and none when it is closed", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    await appendTexts(stream, 0, 10)
    await stream.seal()
    await writer.settled()
    const faulty = new FaultyObjectStore(store)
    const replica = await openReplica({ store: faulty, pollMs: 3_600_000 })
    const view = await replica.stream("orders")
    await numbersIn(view)
    const before = requestsOf(faulty)
    for (let polls = 1; polls <= 5; polls++) expect(await replica.poll()).toBe(false)
    // Who waits at the end asks nothing of the bucket.
    const abort = new AbortController()
    const waiting = failure(
      (async () => {
        for await (const _ of view.follow({ from: "end", signal: abort.signal })) break
      })(),
    )
    await turns(20)
    expect(requestsOf(faulty)).toEqual([before[0]! + 5, ...before.slice(1)])
    abort.abort(new Error("enough"))
    await waiting
    await replica.close()
    const closed = requestsOf(faulty)
    await turns(20)
    expect(requestsOf(faulty)).toEqual(closed)
    await writer.close()
  })

  test("ends polls that wait for its bucket when it is closed", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const writer = await openBucketStore(store)
    await appendTexts(await writer.stream("orders"), 0, 3)
    await writer.close()
    const replica = await openReplica({ store, pollMs: 3_600_000, requestTimeoutMs: 3_600_000 })
    store.script = ({ kind }) => (kind === "head" ? "hang" : undefined)
    const before = requestsOf(store)[0]!
    const ends: Array<string> = []
    for (const poll of [replica.poll(), replica.poll()]) poll.catch(({ _tag }) => ends.push(_tag))
    await until("one is under way", () => requestsOf(store)[0]! > before)
    await replica.close()
    await until("both have ended", () => ends.length === 2)
    expect(ends).toEqual(["Closed", "Closed"])
    store.script = undefined
    const requests = requestsOf(store)
    await turns(20)
    expect(requestsOf(store)).toEqual(requests)
  })

  test("reads a record again without a request, and a far one with two", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    const ids = await appendTexts(stream, 0, 30)
    await stream.seal()
    await writer.settled()
    const faulty = new FaultyObjectStore(store)
    const replica = await openReplica({ store: faulty, pollMs: 3_600_000 })
    const view = await replica.stream("orders")
    const before = faulty.counts.get.requests
    await view.get(ids[3]!)
    expect(faulty.counts.get.requests - before).toBeLessThanOrEqual(2)
    const once = faulty.counts.get.requests
    await view.get(ids[3]!)
    expect(faulty.counts.get.requests).toBe(once)
    expect(faulty.counts.list.requests).toBe(0)
    await replica.close()
    await writer.close()
  })

  test("ends at the first segment that is not there yet, although a later one is", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const writer = await openBucketStore(store, { retry: { maxAttempts: 1, baseDelayMs: 1, jitter: 0 } })
    const stream = await writer.stream("orders")
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await writer.settled()
    store.script = ({ kind, key }) => (kind === "put" && key.includes("/segments/1/0000000002-") ? "denied" : undefined)
    for (const from of [5, 10]) {
      await appendTexts(stream, from, from + 5)
      await stream.seal()
    }
    await until(
      "the third segment is there",
      async () =>
        stream.segments().some(({ index, tier }) => index === 3 && tier !== undefined) &&
        writer.observe().backlog.unuploadedSegments === 1,
    )
    await writer.settled()
    const replica = await openReplica({ store, pollMs: 10 })
    const view = await replica.stream("orders")
    expect(await numbersIn(view)).toEqual(upTo(5))
    store.script = undefined
    await stream.evict({ to: "tier2" })
    await writer.settled()
    await replica.poll()
    await until("all is seen", async () => (await numbersIn(view)).length === 15)
    expect(await numbersIn(view)).toEqual(upTo(15))
    await replica.close()
    await writer.close()
  })

  test("sees trims and deletions, and a stream that was made again under the same name", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store, { deleteGraceMs: 60_000 })
    const stream = await writer.stream("orders")
    const ids = await appendTexts(stream, 0, 30)
    await stream.seal()
    await (await writer.stream("gone")).append("x")
    await writer.settled()
    const replica = await openReplica({ store, pollMs: 3_600_000 })
    const view = await replica.stream("orders")
    const gone = await replica.stream("gone")
    expect(await numbersIn(view)).toEqual(upTo(30))
    await stream.trim({ before: ids[12]! })
    await writer.deleteStream("gone")
    await writer.settled()
    expect(await replica.poll()).toBe(true)
    expect((await numbersIn(view))[0]).toBe(12)
    expect((await failure(view.get(ids[0]!)))._tag).toBe("NotFound")
    expect(replica.streams()).toEqual(["orders"])
    expect((await failure(numbersIn(gone)))._tag).toBe("Closed")
    const anew = await writer.stream("gone")
    await appendTexts(anew, 7, 8)
    await anew.seal()
    await writer.settled()
    await replica.poll()
    expect(await numbersIn(await replica.stream("gone"))).toEqual([7])
    await replica.close()
    await writer.close()
  })

  test("goes on when another machine takes the root over, and while the bucket is away", async () => {
    const inner = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(inner, { disk })
    const stream = await first.stream("orders")
    await appendTexts(stream, 0, 10)
    await stream.seal()
    await first.settled()
    const store = new FaultyObjectStore(inner)
    const replica = await openReplica({ store, pollMs: 3_600_000, retry: { maxAttempts: 1 }, cacheBytes: 1024 * 1024 })
    const view = await replica.stream("orders")
    expect(await numbersIn(view)).toEqual(upTo(10))
    disk.kill()
    const second = await openBucketStore(inner)
    const back = await second.stream("orders")
    await appendTexts(back, 10, 20)
    await back.seal()
    await second.settled()
    store.down = "Network"
    expect((await failure(replica.poll()))._tag).toBe("Unavailable")
    expect(replica.info().failures).toBe(1)
    store.down = undefined
    expect(await replica.poll()).toBe(true)
    expect(await numbersIn(view)).toEqual(upTo(20))
    expect(replica.info().epoch).toBe(2)
    await replica.close()
    await second.close()
    await first.close().catch(() => {})
  })

  test("keeps up through many HEADs and snapshots", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    await writer.settled()
    const follower = await openReplica({ store, pollMs: 3_600_000 })
    for (let round = 0; round < 80; round++) {
      await appendTexts(stream, round, round + 1)
      await stream.seal()
      await writer.settled()
      if (round % 7 === 0) {
        await follower.poll()
        expect(await numbersIn(await follower.stream("orders"))).toEqual(upTo(round + 1))
      }
    }
    await follower.poll()
    expect(await numbersIn(await follower.stream("orders"))).toEqual(upTo(80))
    await follower.close()
    await writer.close()
  }, 120_000)

  test("of a directory, and of a bucket without a root", async () => {
    const directory = makeRoot()
    const missing = await rejection(() => openReplica({ store: { directory } }))
    expect([missing._tag, missing.what, missing.value]).toEqual(["NotFound", "HEAD", directory])
    expect(missing.message).toContain(`there is no root in ${JSON.stringify(directory)}: it has no object "HEAD"`)
    const { AofManager } = await import("bop-aof")
    const manager = await AofManager.open({
      root: makeRoot(),
      tier2: { store: { directory }, headIntervalMs: 0 },
      segmentBytes: 8192,
      sealAfterMs: 20,
    })
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 3)
    // Nobody seals: its age does.
    await until("the segment is sealed by its age", () => stream.segments().some(({ state }) => state === "sealed"))
    await manager.settled()
    const replica = await openReplica({ store: { directory }, pollMs: 10 })
    await until("the records are there", async () => (await numbersIn(await replica.stream("orders"))).length === 3)
    await replica.close()
    await manager.close()
    for (const options of [{ pollMs: 1 }, { cacheBytes: 1 }, { other: 1 }]) {
      const error = await rejection(() => openReplica({ store: { directory }, ...options } as never))
      expect(error._tag).toBe("InvalidArgument")
    }
  })
})

describe("polls at once", () => {
  test("do not take back what a newer one has shown", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(store, { disk, deleteGraceMs: 60_000 })
    const before = await first.stream("orders")
    await appendTexts(before, 0, 20)
    await before.seal()
    await first.settled()
    let hold: Promise<void> | undefined
    const { promise: asked, resolve: noteAsked } = Promise.withResolvers<void>()
    const get: ObjectStore["get"] = (key, range) => {
      const held = hold
      if (held === undefined || !key.includes("manifest")) return store.get(key, range)
      hold = undefined
      noteAsked()
      return Effect.flatMap(
        Effect.promise(() => held),
        () => store.get(key, range),
      )
    }
    const slow = new Proxy(store, {
      get: (target, name) => {
        const value = name === "get" ? get : Reflect.get(target, name)
        return typeof value === "function" ? value.bind(target) : value
      },
    })
    const replica = await openReplica({ store: slow, pollMs: 3_600_000 })
    await first.close()
    const writer = await openBucketStore(store, { disk, deleteGraceMs: 60_000 })
    const orders = await writer.stream("orders")
    await appendTexts(orders, 20, 25)
    await orders.seal()
    await writer.settled()
    const { promise, resolve: letGo } = Promise.withResolvers<void>()
    hold = promise
    const older = replica.poll()
    await asked
    const later = await writer.stream("later")
    await appendTexts(later, 0, 5)
    await later.seal()
    await writer.settled()
    const newer = replica.poll()
    letGo()
    expect(await Promise.all([older, newer])).toContain(true)
    expect(replica.streams()).toEqual(["later", "orders"])
    expect(await numbersIn(await replica.stream("later"))).toEqual(upTo(5))
    await replica.close()
    await writer.close()
  })
})

describe("a replica in Effects", () => {
  test("reads and follows until its scope ends", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    await appendTexts(stream, 0, 20)
    await stream.seal()
    await writer.settled()
    const reading = Effect.gen(function* () {
      const { manager, poll, info } = yield* openReplicaEffect({ store, pollMs: 3_600_000, leaseMs: 60_000 })
      const view = yield* manager.stream("orders")
      const read = Effect.map(Stream.runCollect(view.read({ from: "start" })), (all) =>
        Array.from(all, (record) => Number.parseInt(record.text(), 10)),
      )
      const first = yield* read
      yield* Effect.promise(async () => {
        await appendTexts(stream, 20, 30)
        await stream.seal()
        await writer.settled()
      })
      const isNew = yield* poll()
      return { first, isNew, second: yield* read, info: info(), keys: yield* Effect.promise(() => keysIn(store)) }
    })
    const { first, isNew, second, info, keys } = await Effect.runPromise(
      Effect.provide(Effect.scoped(reading), await runtimeLayer()),
    )
    expect([first, isNew, second]).toEqual([upTo(20), true, upTo(30)])
    expect(info).toMatchObject({ place: "memory", failures: 0, heads: 2 })
    expect(keys.filter((key) => key.includes("/replicas/")).length).toBe(1)
    expect((await keysIn(store)).filter((key) => key.includes("/replicas/"))).toEqual([])
    await writer.close()
  })

  test("fails when there is no root", async () => {
    const opened = Effect.scoped(openReplicaEffect({ store: memoryStore() }))
    const error = await failure(Effect.runPromise(Effect.provide(opened, await runtimeLayer())))
    expect(error._tag).toBe("NotFound")
  })
})
