// What an orderly close brings to the bucket: everything that is sealed, and a HEAD that names it, as long as the bucket answers. A bucket that
// does not answer is not waited for, and a kill in the middle costs nothing.

import { describe, expect, test } from "bun:test"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { ColdOptions } from "../../src/model/cold_config.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { CircuitBreaker } from "../../src/state/circuit_breaker.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendTexts, filled, headIn, numbersIn, openBucketStore, segmentsIn, until, upTo } from "../support/bucket.ts"

/** What a new machine has of the stream, and what it is told of the rest. */
const newMachine = async (store: ObjectStore) => {
  const manager = await openBucketStore(store)
  const numbers = manager.streams().includes("orders") ? await numbersIn(await manager.stream("orders")) : []
  const { lost } = manager.recovery
  await manager.close()
  return { numbers, lost }
}

/** A root whose tries of uploads fail for so long that none is due at its close. */
const openWithLongPauses = async (store: ObjectStore, cold: ColdOptions = {}) => {
  const events: Array<string> = []
  const options: Partial<AofManagerOptions> = {
    closeTimeoutMs: 6000,
    tier1: { frameBytes: 4096, residencyMsMin: 0, level: 1, retryBackoffMs: 10_000 },
    onEvent: ({ name, level, reason }) => events.push(`${level} ${name} ${reason ?? ""}`),
  }
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openBucketStore(store, { disk, retry: { maxAttempts: 1 }, ...cold }, options)
  const stream = await manager.stream("orders")
  return { manager, stream, disk, events }
}

const closedIn = async (manager: AofManager): Promise<number> => {
  const start = performance.now()
  await manager.close()
  return performance.now() - start
}

const leftBehind = (events: ReadonlyArray<string>): ReadonlyArray<string> =>
  events.filter((event) => event.includes("tier2_left_behind"))

describe("close brings to the bucket", () => {
  test("what was sealed just before, and leaves the active segment", async () => {
    const store = memoryStore()
    const { manager, stream, events } = await openWithLongPauses(store)
    await appendTexts(stream, 0, 60)
    await stream.seal()
    await manager.close()
    expect(await newMachine(store)).toEqual({ numbers: upTo(60), lost: [] })
    expect(leftBehind(events)).toEqual([])
  })

  test("what was sealed before the epoch of the writer was taken", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const { manager } = await filled(store, disk)
    await manager.close()
    const next = await openBucketStore(store, { disk, headIntervalMs: 60_000 })
    const stream = await next.stream("orders")
    await appendTexts(stream, 30, 31)
    await stream.seal()
    await next.close()
    expect(await newMachine(store)).toEqual({ numbers: upTo(31), lost: [] })
  })

  test.each([
    ["while the breaker is closed", 1000],
    ["while the breaker would let nobody ask", 1],
  ])("what waits for its next try, %s", async (_, failuresMax) => {
    const store = new FaultyObjectStore(memoryStore())
    const breaker = { failuresMax, openMs: 600_000, openMsMax: 600_000 }
    const { manager, stream, events } = await openWithLongPauses(store, { breaker })
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await manager.settled()
    store.down = "Network"
    await appendTexts(stream, 5, 20)
    await stream.seal()
    await until("an upload has failed", () => events.some((event) => event.includes("tier2_upload_failed")))
    await manager.settled()
    store.down = undefined
    expect(manager.observe().backlog.unuploadedSegments).toBeGreaterThan(0)
    expect(await closedIn(manager)).toBeLessThan(5000)
    expect(await newMachine(store)).toEqual({ numbers: upTo(20), lost: [] })
  })

  test("the word that records are missing from the active segment on", async () => {
    const store = memoryStore()
    const { manager, stream } = await filled(store)
    const [first] = await appendTexts(stream, 30, 31)
    await manager.close()
    const { numbers, lost } = await newMachine(store)
    expect(numbers).toEqual(upTo(30))
    expect(lost.map(({ stream: name, reason }) => [name, reason])).toEqual([
      [
        "orders",
        "the bucket knows of this segment that it was in use when its writer closed: records from number 30 on are missing",
      ],
    ])
    expect(lost[0]!.from <= first! && first! < lost[0]!.to).toBe(true)
  })

  test("nothing where nothing has happened", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const { manager } = await filled(store)
    await manager.settled()
    const before = JSON.stringify(store.counts)
    await manager.close()
    expect(JSON.stringify(store.counts)).toBe(before)
  })
})

describe("close does not wait for a bucket", () => {
  test.each([["put"], ["all"]] as const)("that fails (%s)", async (what: "put" | "all") => {
    const store = new FaultyObjectStore(memoryStore())
    const { manager, stream, events } = await openWithLongPauses(store)
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await manager.settled()
    store.script = ({ kind }) => (what === "all" || kind === "put" ? "internal" : undefined)
    await appendTexts(stream, 5, 60)
    await stream.seal()
    expect(await closedIn(manager)).toBeLessThan(3000)
    expect(leftBehind(events).length).toBe(1)
    store.script = undefined
    expect((await newMachine(store)).numbers).toEqual(upTo(5))
  })

  test.each([["head"], ["put"]] as const)(
    "that hangs (%s)",
    async (kind: "head" | "put") => {
      const store = new FaultyObjectStore(memoryStore())
      const { manager, stream, events, disk } = await openWithLongPauses(store, { requestTimeoutMs: 3_600_000 })
      await appendTexts(stream, 0, 5)
      await stream.seal()
      await manager.settled()
      store.script = (request) => (kind === "head" || request.kind === kind ? "hang" : undefined)
      await appendTexts(stream, 5, 20)
      await stream.seal()
      // Half of the time for an upload that runs, as ever; more only for a bucket that has answered.
      expect(await closedIn(manager)).toBeLessThan(kind === "head" ? 4500 : 7000)
      expect(leftBehind(events).length).toBe(1)
      store.script = undefined
      const next = await openBucketStore(store, { disk })
      expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(20))
      expect(next.recovery.isClean).toBe(true)
      await next.close()
      expect(await newMachine(store)).toEqual({ numbers: upTo(20), lost: [] })
    },
    30_000,
  )

  test("that another writer has, whether it has found out or not", async () => {
    for (const knows of [true, false]) {
      const inner = memoryStore()
      const store = new FaultyObjectStore(inner)
      const { manager, stream, events } = await openWithLongPauses(store, { headIntervalMs: 2000 })
      await appendTexts(stream, 0, 5)
      await stream.seal()
      await manager.settled()
      store.script = ({ kind }) => (kind === "put" ? "internal" : undefined)
      await appendTexts(stream, 5, 10)
      await stream.seal()
      await until("an upload has failed", () => events.some((event) => event.includes("tier2_upload_failed")))
      const other = await openBucketStore(inner)
      await appendTexts(await other.stream("orders"), 5, 6)
      await (await other.stream("orders")).seal()
      await other.settled()
      store.script = undefined
      if (knows) {
        await stream.trim({ before: (await stream.read({ number: 5 })[Symbol.asyncIterator]().next()).value!.recordId })
        await stream.evict({ to: "tier2" }).catch(() => {})
        await until("it is fenced", () => events.some((event) => event.includes("error fenced")))
      }
      const [objects, head] = [await segmentsIn(inner), await headIn(inner)]
      await manager.close()
      expect(await segmentsIn(inner)).toEqual(objects)
      expect(await headIn(inner)).toEqual(head)
      expect(events.some((event) => event.includes("error fenced"))).toBe(true)
      await other.close()
    }
  })
})

test("close can be killed at each of its requests: nothing is lost, and nothing is there twice", async () => {
  for (let killAt = 1; ; killAt++) {
    const inner = memoryStore()
    const store = new FaultyObjectStore(inner)
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(store, { disk, headIntervalMs: 2000, concurrency: 1 })
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await manager.settled()
    store.script = ({ kind }) => (kind === "put" ? "denied" : undefined)
    await appendTexts(stream, 5, 15)
    await stream.seal()
    let requests = 0
    store.script = () => {
      if (++requests === killAt) disk.kill()
      return requests >= killAt ? "timeoutAfter" : undefined
    }
    await manager.close().catch(() => {})
    store.script = undefined
    const next = await openBucketStore(inner, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(15))
    expect(next.recovery.quarantined).toEqual([])
    await appendTexts(await next.stream("orders"), 15, 16)
    await (await next.stream("orders")).seal()
    await next.close()
    expect(await newMachine(inner)).toEqual({ numbers: upTo(16), lost: [] })
    if (requests < killAt) break
  }
}, 60_000)

test("a breaker that is told that somebody cannot wait lets one ask, and no more", () => {
  const breaker = new CircuitBreaker({ failuresMax: 1, openMs: 1000, openMsMax: 8000 })
  breaker.hurry(0)
  breaker.fail(breaker.enter(0)!, 0)
  expect(breaker.mayPass(10)).toBe(false)
  breaker.hurry(10)
  const pass = breaker.enter(10)!
  expect([pass.isProbe, breaker.mayPass(10)]).toEqual([true, false])
  breaker.hurry(10)
  expect(breaker.mayPass(10)).toBe(false)
  breaker.fail(pass, 20)
  expect([breaker.mayPass(2019), breaker.mayPass(2020)]).toEqual([false, true])
})
