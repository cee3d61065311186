// What a user sees of the tiers: where segments are, what moves them, and that reading is the same wherever they are.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager, AofManagerOptions, ReadOptions, TierEvent } from "bop-aof"
import { APPEND_ADMISSION, memoryStore } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, failure, fill, makeRandom, openMemory, rejection, stores, texts } from "../support/api.ts"

const KiB = 1024

/** Segments of a few records, and budgets of a few segments. */
const tiny: Partial<AofManagerOptions> = {
  segmentBytes: 16 * KiB,
  stagingBytes: 4 * KiB,
  unflushedBytesMax: 64 * KiB,
  tier0: { bytesMax: 128 * KiB },
  tier1: { bytesMax: 256 * KiB, frameBytes: 4 * KiB, residencyMsMin: 0, retryBackoffMs: 1 },
}

const withStore = (options: Partial<AofManagerOptions> = {}): Partial<AofManagerOptions> => ({
  ...tiny,
  tier2: { store: memoryStore(), deleteGraceMs: 0, retry: { maxAttempts: 2, baseDelayMs: 1, jitter: 0 } },
  ...options,
})

/** Room for everything: what moves was asked to. */
const roomy: Partial<AofManagerOptions> = {
  tier0: { bytesMax: 64 * 1024 * KiB },
  tier1: { bytesMax: 64 * 1024 * KiB, frameBytes: 4 * KiB, compress: "pressure", residencyMsMin: 0 },
}

const tiersOf = (stream: Aof<any, any>): Array<string | undefined> => stream.segments().map(({ tier }) => tier)

const appendAll = async (stream: Aof, count: number, text: (i: number) => string): Promise<Array<number>> => {
  const ids: Array<number> = []
  for (let i = 0; i < count; i++) {
    let id = stream.tryAppend(text(i), i * 2, 1_000_000 + i * 10)
    while (id < 0) {
      await stream.ready()
      id = stream.tryAppend(text(i), i * 2, 1_000_000 + i * 10)
    }
    ids.push(id)
  }
  await stream.flush()
  return ids
}

/** A stream of three sealed segments in the three tiers, an active one behind them, and what it holds. */
const spread = async (manager: AofManager) => {
  const stream = await manager.stream("spread")
  const ids: Array<number> = []
  for (const to of ["tier2", "tier1", undefined] as const) {
    const first = ids.length
    ids.push(...(await appendAll2(stream, 100, first)))
    await stream.seal()
    if (to !== undefined) await stream.evict({ to })
    if (to === "tier1") await stream.prefetch({ from: 2, to: "tier1" })
  }
  ids.push(...(await appendAll2(stream, 20, ids.length)))
  return { stream, ids }
}

const appendAll2 = async (stream: Aof, count: number, from: number): Promise<Array<number>> => {
  const ids: Array<number> = []
  for (let i = from; i < from + count; i++) ids.push(stream.tryAppend(textOf(i), i * 2, 1_000_000 + i * 10))
  await stream.flush()
  return ids
}

const textOf = (i: number): string => `record ${i} `.padEnd(60 + (i % 37), String(i % 10))

describe.each(stores)("on %s", (_name, makeStore) => {
  test("history moves from Tier 0 to Tier 1 to Tier 2 by itself, and reads the same", async () => {
    const open = makeStore()
    const manager = await open(withStore())
    const stream = await manager.stream("history")
    // Random, so that Tier 1 fills as well.
    const random = makeRandom(9)
    const lines = Array.from({ length: 8000 }, () => Array.from({ length: 60 }, () => random(10)).join(""))
    await appendAll(stream, lines.length, (i) => lines[i]!)
    await manager.settled()
    expect(new Set(tiersOf(stream))).toEqual(new Set(["tier0", "tier1", "tier2"]))
    expect(await texts(stream)).toEqual(lines)
    const { tier0, tier1 } = manager.observe()
    expect(tier0.highestBytes).toBeLessThanOrEqual(tier0.bytesMax)
    expect(tier1.usedBytes).toBeLessThanOrEqual(tier1.bytesMax)
    await manager.close()
  })

  test("every start and direction gives what an array would, over all three tiers", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    expect(tiersOf(stream)).toEqual(["tier2", "tier1", "tier0", "tier0"])
    const all = ids.map((_, i) => textOf(i))
    const random = makeRandom(5)
    for (let round = 0; round < 60; round++) {
      const at = random(ids.length)
      const starts: ReadonlyArray<readonly [ReadOptions, number]> = [
        [{ from: ids[at]! }, at],
        [{ after: ids[at]! }, at + 1],
        [{ number: at }, at],
        [{ time: 1_000_000 + at * 10 - 5 }, at],
        [{ extId: at * 2 - 1 }, at],
        [{ last: ids.length - at }, at],
      ]
      const [start, index] = starts[random(starts.length)]!
      const limit = 1 + random(150)
      if (!(start.extId !== undefined && at === 0)) {
        expect(await texts(stream, { ...start, limit })).toEqual(all.slice(index, index + limit))
      }
      const back = await texts(stream, { from: ids[at]!, reverse: true, limit })
      expect(back).toEqual(all.slice(Math.max(0, at + 1 - limit), at + 1).reverse())
      await stream.evict({ to: "tier2" })
    }
    await manager.close()
  })

  test("a closed store opens with its segments where they were", async () => {
    const open = makeStore()
    const store = memoryStore()
    const options = { ...withStore(roomy), tier2: { store, deleteGraceMs: 0 } }
    let manager = await open(options)
    const before = tiersOf((await spread(manager)).stream)
    await manager.close()
    manager = await open(options)
    expect(manager.recovery.isClean).toBe(true)
    const stream = await manager.stream("spread")
    expect(tiersOf(stream)).toEqual(before)
    expect((await texts(stream)).every((text, i) => text === textOf(i))).toBe(true)
    await manager.close()
  })

  test("a point read of a cold record waits, and its synchronous twin says for what", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    await stream.evict({ to: "tier2" })
    const error = await failure(() => stream.tryGet(ids[3]!))
    expect([error._tag, error.reason._tag, error.retryable]).toEqual(["WouldBlock", "Hydration", true])
    expect(error.reason.retryDelayMs).toBeGreaterThanOrEqual(10)
    expect((await stream.get(ids[3]!)).text()).toBe(textOf(3))
    expect(stream.tryGet(ids[3]!).text()).toBe(textOf(3))
    expect(tiersOf(stream)[0]).toBe("tier2")
    await manager.close()
  })

  test("a cursor throws Hydration where the next record is cold, and ready() waits for it", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    await stream.evict({ to: "tier2" })
    const cursor = stream.cursor({ number: 5 })
    let blocked = 0
    const seen: Array<number> = []
    for (;;) {
      const error = await (async () => {
        while (cursor.next()) seen.push(cursor.recordId)
        return undefined
      })().catch((caught) => caught)
      if (error === undefined) break
      expect([error._tag, error.reason._tag]).toEqual(["WouldBlock", "Hydration"])
      blocked++
      await cursor.ready()
    }
    expect(seen).toEqual(ids.slice(5))
    expect(blocked).toBeGreaterThan(0)
    await manager.close()
  })

  test("tryOpenReader says Hydration, openReader waits, and the segment stays in Tier 0 while it is read", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    const index = stream.segments()[0]!.index
    const error = await failure(() => stream.tryOpenReader(index))
    expect([error._tag, error.reason?._tag]).toEqual(["WouldBlock", "Hydration"])
    const readers = await Promise.all(Array.from({ length: 8 }, () => stream.openReader(index)))
    expect(tiersOf(stream)[0]).toBe("tier0")
    expect(manager.observe().tier1.hydrations).toBeGreaterThan(0)
    expect(manager.observe().tier0.promotions).toBe(1)
    expect(manager.observe().tier0.pinnedSegments).toBe(1)
    const leaving = stream.evict({ to: "tier1" })
    for (const reader of readers) {
      const seen: Array<number> = []
      while (reader.next()) seen.push(reader.recordId)
      expect(seen).toEqual(ids.slice(0, 100))
    }
    await leaving
    expect(tiersOf(stream)[0]).toBe("tier1")
    expect(manager.observe().tier0.pinnedSegments).toBe(0)
    await manager.close()
  })

  test("a follower that starts at the first cold record reaches the live tail", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    await stream.evict({ to: "tier2" })
    const seen: Array<string> = []
    const later = (async () => {
      for (let i = 0; i < 30; i++) await stream.append(textOf(ids.length + i), { extId: (ids.length + i) * 2 })
    })()
    for await (const record of stream.follow({ from: "start" })) {
      seen.push(record.text())
      if (seen.length === ids.length + 30) break
    }
    await later
    expect(seen.every((text, i) => text === textOf(i))).toBe(true)
    await manager.close()
  })

  test("sealedSegments() hands out each sealed segment, and brings the next one meanwhile", async () => {
    const open = makeStore()
    const manager = await open(withStore(roomy))
    const { stream, ids } = await spread(manager)
    await stream.evict({ to: "tier2" })
    const walk = stream.sealedSegments()
    let count = 0
    const first = await walk.nextSegment()
    while (first!.next()) expect(first!.recordId).toBe(ids[count++]!)
    expect(manager.observe().tier0.activationQueueDepth + manager.observe().tier0.promotions).toBeGreaterThan(1)
    for await (const segment of walk) while (segment.next()) expect(segment.recordId).toBe(ids[count++]!)
    expect(count).toBe(300)
    expect(await walk.nextSegment()).toBeUndefined()
    await manager.close()
  })

  test("trim, retention and deletion reach Tier 2, and nothing is left there", async () => {
    const open = makeStore()
    const store = memoryStore()
    const manager = await open({ ...withStore(roomy), tier2: { store, deleteGraceMs: 0 } })
    const { stream, ids } = await spread(manager)
    const countObjects = async (): Promise<number> =>
      (await listAll(store)).filter((key) => key.includes("/segments/")).length
    await stream.evict({ to: "tier2" })
    expect(await countObjects()).toBe(3)
    await stream.trim({ before: ids[150]! })
    await manager.settled()
    expect(await countObjects()).toBe(2)
    expect((await rejection(() => stream.get(ids[0]!)))._tag).toBe("NotFound")
    expect((await texts(stream)).length).toBe(ids.length - 150)
    await manager.stream("spread", { retention: { bytes: 1 } })
    await manager.settled()
    await stream.seal()
    await manager.settled()
    expect(await countObjects()).toBe(0)
    await manager.deleteStream("spread")
    await manager.settled()
    expect(manager.observe().backlog).toEqual({
      uncompressedSegments: 0,
      unuploadedSegments: 0,
      unuploadedBytes: 0,
      deletes: 0,
    })
    expect([manager.observe().tier0.usedBytes, manager.observe().tier1.usedBytes]).toEqual([0, 0])
    await manager.close()
  })

  test("a read-only manager reads every tier, also while the writer moves segments under it", async () => {
    const open = makeStore()
    const store = memoryStore()
    const options = { ...withStore(roomy), tier2: { store, deleteGraceMs: 0 } }
    const manager = await open(options)
    const { stream, ids } = await spread(manager)
    await stream.seal()
    const reader = await open({ ...options, readOnly: true })
    const view = await reader.stream("spread")
    expect((await texts(view)).length).toBe(ids.length)
    const cursor = view.cursor()
    for (let i = 0; i < 50; i++) {
      if (cursor.next()) continue
      await cursor.ready()
    }
    await stream.evict({ to: "tier2" })
    expect((await texts(view)).every((text, i) => text === textOf(i))).toBe(true)
    expect((await view.get(ids[250]!)).text()).toBe(textOf(250))
    expect((await rejection(() => view.prefetch()))._tag).toBe("InvalidArgument")
    await reader.settled()
    await reader.close()
    await manager.close()
  })
})

const listAll = async (store: ReturnType<typeof memoryStore>): Promise<ReadonlyArray<string>> => {
  const { runPromise } = await import("effect/Effect")
  const { objects } = await runPromise(store.list(""))
  return objects.map(({ key }) => key)
}

describe("Admission", () => {
  test("is what tryAppend gets when Tier 0 is full, and ready() ends when there is room", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const events: Array<TierEvent> = []
    const manager = await openMemory({ ...withStore(), onEvent: (event) => events.push(event) }, disk)
    const stream = await manager.stream("full")
    let refused = 0
    for (let i = 0; i < 6000; i++) {
      for (let id = stream.tryAppend(textOf(i)); id < 0; id = stream.tryAppend(textOf(i))) {
        if (id === APPEND_ADMISSION) refused++
        await stream.ready()
      }
    }
    await stream.flush()
    const { admission, tier0 } = manager.observe()
    expect(refused).toBeGreaterThan(0)
    expect(admission.wouldBlock.Admission).toBeGreaterThanOrEqual(refused)
    expect(admission.waits).toBeGreaterThan(0)
    expect(tier0.highestBytes).toBeLessThanOrEqual(tier0.bytesMax)
    const tierEvents = events.map(({ name }) => name).filter((name) => name.startsWith("tier"))
    expect(new Set(tierEvents)).toEqual(
      new Set([
        "tier1_compression_success",
        "tier0_eviction",
        "tier2_upload_success",
        ...events.filter(({ name }) => name === "tier1_eviction").map(({ name }) => name),
      ]),
    )
    await manager.close()
  })

  test("with active segments only, the largest is sealed and leaves", async () => {
    const manager = await openMemory({ ...withStore(), segmentBytes: 100 * KiB })
    const streams = await Promise.all(Array.from({ length: 6 }, (_, i) => manager.stream(`s${i}`)))
    await Promise.all(
      streams.map(async (stream) => {
        for (let i = 0; i < 600; i++) await stream.append(textOf(i), { level: "written" })
      }),
    )
    const { tier0 } = manager.observe()
    expect(tier0.pressureSeals).toBeGreaterThan(0)
    expect(tier0.highestBytes).toBeLessThanOrEqual(tier0.bytesMax)
    for (const stream of streams) {
      await stream.flush()
      expect(await texts(stream)).toEqual(Array.from({ length: 600 }, (_, i) => textOf(i)))
    }
    await manager.close()
  })

  test("of a stream's own budget leaves the others alone", async () => {
    const manager = await openMemory(withStore(roomy))
    const small = await manager.stream("small", { tier0BytesMax: 64 * KiB })
    const large = await manager.stream("large")
    await fill(small, 3000)
    await fill(large, 3000)
    await manager.settled()
    expect(tiersOf(large).every((tier) => tier === "tier0")).toBe(true)
    expect(tiersOf(small).filter((tier) => tier !== "tier0").length).toBeGreaterThan(5)
    await manager.close()
  })

  test("lasts while nothing can leave, can be aborted, and ends by itself when the store is back", async () => {
    const { makeFaultyStore } = await import("../support/down_store.ts")
    const store = makeFaultyStore()
    const manager = await openMemory({
      ...tiny,
      tier1: { ...tiny.tier1, bytesMax: 64 * KiB, retriesMax: 100 },
      tier2: { store, retry: { maxAttempts: 1, baseDelayMs: 1, jitter: 0 } },
    })
    store.isDown = true
    const stream = await manager.stream("down")
    const random = makeRandom(3)
    const noise = (): string => Array.from({ length: 200 }, () => String.fromCharCode(33 + random(90))).join("")
    const lines: Array<string> = []
    for (;;) {
      const line = noise()
      const id = stream.tryAppend(line)
      if (id > 0) lines.push(line)
      else if (id === APPEND_ADMISSION) {
        const abort = new AbortController()
        const waiting = stream.ready({ signal: abort.signal })
        setTimeout(() => abort.abort(new Error("enough")), 100)
        if (
          (await waiting.then(
            () => "room",
            (error) => error.message,
          )) === "enough"
        )
          break
      } else await stream.ready()
    }
    const error = await failure(() => {
      throw manager.observe()
    })
    expect(error.tier0.waitingStreams + error.backlog.unuploadedSegments).toBeGreaterThan(0)
    const pending = stream.append("the last", { level: "written" })
    store.isDown = false
    await pending
    await stream.flush()
    expect(await texts(stream)).toEqual([...lines, "the last"])
    await manager.close()
  })

  test("refuses what half of Tier 0 could never hold, with the numbers", async () => {
    const manager = await openMemory(withStore({ segmentBytes: 1024 * KiB }))
    const stream = await manager.stream("large")
    const error = await rejection(() => stream.append("x".repeat(100 * KiB)))
    expect([error._tag, error.value]).toEqual(["InvalidArgument", 100 * KiB])
    expect(error.limit).toBeLessThanOrEqual(64 * KiB)
    const batch = await rejection(() => stream.appendBatch(Array.from({ length: 9 }, () => "y".repeat(10 * KiB))))
    expect([batch._tag, batch.limit]).toEqual(["InvalidArgument", 64 * KiB])
    expect((await stream.append("z".repeat(50 * KiB))).level).toBe("durable")
    await manager.close()
  })
})

describe("residency", () => {
  test("of a hot set outlives a scan of everything", async () => {
    const manager = await openMemory(withStore({ tier0: { bytesMax: 256 * KiB } }))
    const stream = await manager.stream("hot")
    const ids = await appendAll(stream, 6000, textOf)
    await stream.seal()
    await manager.settled()
    const hot = stream.segments().filter(({ tier }) => tier === "tier0")
    const favourites = ids.filter((id) => hot.some(({ index }) => Math.floor(id / 2 ** 28) === index))
    for (const id of favourites) stream.tryGet(id)
    for (let i = 0; i < 3; i++) expect((await collect(stream.read())).length).toBe(6000)
    await manager.settled()
    const after = stream.segments().filter(({ tier }) => tier === "tier0")
    expect(after.map(({ index }) => index)).toEqual(hot.map(({ index }) => index))
    await manager.close()
  })

  test("comes back by itself to a segment that is read often", async () => {
    const manager = await openMemory(withStore({ ...roomy, tier0: { bytesMax: 1024 * KiB, promoteReads: 20 } }))
    const { stream, ids } = await spread(manager)
    await stream.evict({ to: "tier1" })
    await stream.prefetch({ to: "tier1" })
    for (let i = 0; i < 50; i++) {
      const at = (i % 2) * 90
      expect((await stream.get(ids[at]!)).text()).toBe(textOf(at))
    }
    await manager.settled()
    expect(tiersOf(stream)[0]).toBe("tier0")
    await manager.close()
  })

  test("without Tier 2 ends at warm files, which stay", async () => {
    const manager = await openMemory({ ...tiny, tier2: false, tier1: { ...tiny.tier1, bytesMax: 1024 * KiB } })
    const stream = await manager.stream("warm")
    await appendAll(stream, 4000, textOf)
    await manager.settled()
    expect(new Set(tiersOf(stream))).toEqual(new Set(["tier0", "tier1"]))
    const error = await rejection(() => stream.evict({ to: "tier2" }))
    expect([error._tag, error.value]).toEqual(["InvalidArgument", "tier2"])
    expect((await texts(stream)).length).toBe(4000)
    await manager.close()
  })

  test("stays in Tier 0 as long as no budget asks and no store was given", async () => {
    const manager = await openWith(new MemoryDisk({ modelsCrashes: false }).layer, {
      root: "/root",
      segmentBytes: 16 * KiB,
    })
    const stream = await manager.stream("lazy")
    await fill(stream, 1000)
    await stream.seal()
    await manager.settled()
    expect(new Set(tiersOf(stream))).toEqual(new Set(["tier0"]))
    expect(manager.observe().tier1.compressions).toBe(0)
    await manager.close()
  })
})

describe("arguments", () => {
  const bad: ReadonlyArray<readonly [string, unknown]> = [
    ["tier0.bytesMax", { tier0: { bytesMax: 1 } }],
    ["tier0.policy", { tier0: { policy: "lenient" } }],
    ["tier0 option", { tier0: { budget: 1 } }],
    ["tier0.activationQueueWarnThreshold", { tier0: { activationQueueWarnThreshold: 0 } }],
    ["tier1.level", { tier1: { level: 20 } }],
    ["tier1.frameBytes", { tier1: { frameBytes: 100 } }],
    ["tier1.compress", { tier1: { compress: "never" } }],
    ["tier1.retriesMax", { tier1: { retriesMax: -1 } }],
    ["tier2.store", { tier2: { store: {} } }],
    ["tier2.store", { tier2: { store: { directory: "" } } }],
    ["tier2.upload", { tier2: { upload: "later" } }],
    ["tier2.deleteGraceMs", { tier2: { deleteGraceMs: -1 } }],
    ["tier2.retry.jitter", { tier2: { retry: { jitter: 2 } } }],
    ["tier2.concurrency", { tier2: { concurrency: 0 } }],
    ["tier2 option", { tier2: { bucket: "b" } }],
    ["manifest.chunkBytes", { manifest: { chunkBytes: 1 } }],
    ["onEvent", { onEvent: "log" }],
  ]

  test.each(bad)("a bad %s is named", async (what: string, options: unknown) => {
    const error = await rejection(() => openMemory(options as Partial<AofManagerOptions>))
    expect([error._tag, error.what]).toEqual(["InvalidArgument", what])
    expect(error.message).toContain("allowed is")
  })

  test("of prefetch, evict, sealedSegments and customEvent are checked", async () => {
    const manager = await openMemory(withStore())
    const stream = await manager.stream("checked")
    const calls: ReadonlyArray<() => unknown> = [
      () => stream.prefetch({ to: "tier9" as "tier0" }),
      () => stream.prefetch({ count: 0 }),
      () => stream.prefetch({ from: -1 }),
      () => stream.evict({ to: "tier0" as "tier1" }),
      () => stream.evict({ where: 1 } as object),
      () => stream.sealedSegments({ from: 0.5 }),
      () => manager.customEvent(-1, new Uint8Array(1)),
      () => manager.customEvent(1, new Uint8Array(5000)),
    ]
    for (const call of calls) expect((await failure(async () => call()))._tag).toBe("InvalidArgument")
    await manager.customEvent(7, new Uint8Array([1, 2, 3]))
    await manager.close()
    expect((await rejection(() => stream.prefetch()))._tag).toBe("Closed")
    expect((await failure(() => manager.observe()))._tag).toBe("Closed")
  })

  test("a listener that throws harms nothing", async () => {
    const manager = await openMemory({
      ...withStore(),
      onEvent: () => {
        throw new Error("listener")
      },
    })
    const stream = await manager.stream("events")
    await appendAll(stream, 2000, textOf)
    expect((await texts(stream)).length).toBe(2000)
    await manager.close()
  })
})
