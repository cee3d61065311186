// Where a small sync is made: on the main thread while that is quick and there is nothing else to do, and in the thread pool otherwise.
import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { openWith } from "../../src/api/manager.ts"
import { SyncGauge } from "../../src/core/append/sync_gauge.ts"
import { unavailable } from "../../src/model/errors.ts"
import type { SegmentFile } from "../../src/port/segment_file.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { rejection } from "../support/api.ts"

const limitMs = 0.4

/** A file whose syncs take as long as they are told to, and say where they were made. */
const makeSubject = (limit = limitMs) => {
  let nowMs = 1000
  let tookMs = 0.1
  let error: unknown
  const made: Array<"main" | "pool"> = []
  const sync = (where: "main" | "pool"): void => {
    made.push(where)
    nowMs += tookMs
    if (error !== undefined) throw error
  }
  const file = {
    syncData: Effect.sync(() => sync("pool")),
    syncDataUnsafe: () => sync("main"),
  } as unknown as SegmentFile
  const gauge = new SyncGauge(limit, { monotonicTimeNanosUnsafe: () => BigInt(Math.round(nowMs * 1e6)) } as never)
  return {
    gauge,
    made,
    file,
    pass: (ms: number) => (nowMs += ms),
    fail: (reason: unknown) => (error = reason),
    take: (ms: number) => (tookMs = ms),
    turn: (ms: number, times = 1) => {
      for (let one = 0; one < times; one++) {
        const askedMs = nowMs
        nowMs += ms
        gauge.noteTurn(askedMs)
      }
    },
    /** Syncs, and says where that was. */
    sync: (bytes = 100, mayWait = true, target = file) => {
      Effect.runSync(gauge.sync(target, bytes, mayWait))
      return made.at(-1)
    },
  }
}

/** One that has learned that syncs are short. */
const makeQuick = () => {
  const subject = makeSubject()
  for (let one = 0; one < 30; one++) subject.sync()
  expect(subject.made.at(-1)).toBe("main")
  return subject
}

describe("a small sync", () => {
  test("is made in the thread pool until it is known how long it takes, and then on the main thread", () => {
    const { made } = makeQuick()
    const first = made.indexOf("main")
    expect(first).toBeGreaterThan(1)
    expect(made.slice(first).every((where) => where === "main")).toBe(true)
  })

  test("never leaves the thread pool with a limit of 0, nor where syncs take longer than the limit", () => {
    const off = makeSubject(0)
    const slow = makeSubject()
    slow.take(0.5)
    for (let one = 0; one < 100; one++) expect([off.sync(), slow.sync()]).toEqual(["pool", "pool"])
  })

  test("goes to the thread pool when somebody is in the middle of something, the group is large, or the file cannot do otherwise", () => {
    const { sync, file } = makeQuick()
    expect(sync(100, false)).toBe("pool")
    expect(sync(1024 * 1024)).toBe("pool")
    expect(sync(100, true, { syncData: file.syncData } as SegmentFile)).toBe("pool")
    expect(sync()).toBe("main")
  })

  test("goes to the thread pool while turns of the event loop are long, and comes back", () => {
    const { sync, turn } = makeQuick()
    turn(0.2, 20)
    expect(sync()).toBe("main")
    turn(1, 20)
    expect(sync()).toBe("pool")
    turn(0.05, 40)
    expect(sync()).toBe("main")
  })

  test("goes to the thread pool for fifty times as long as one that was slow", () => {
    const { sync, take, pass } = makeQuick()
    take(20)
    expect(sync()).toBe("main")
    take(0.1)
    for (let one = 0; one < 40; one++) expect(sync()).toBe("pool")
    pass(980)
    expect(sync()).toBe("pool")
    pass(20)
    expect(sync()).toBe("main")
  })

  test("goes to the thread pool when several in a row became slower, and comes back", () => {
    const { sync, take, pass } = makeQuick()
    take(1)
    for (let one = 0; one < 5; one++) expect(sync()).toBe("main")
    for (let one = 0; one < 30; one++) sync()
    // Also after the rest, as the thread pool shows that it would be no better.
    pass(20)
    for (let one = 0; one < 10; one++) expect(sync()).toBe("pool")
    take(0.1)
    for (let one = 0; one < 30; one++) sync()
    for (let one = 0; one < 30; one++) expect(sync()).toBe("main")
  })

  test("that fails is the failure of the effect, and what it took does not count", () => {
    const { gauge, file, fail, made } = makeQuick()
    fail(unavailable("syncing data", "EIO", "/a"))
    const before = gauge.inlineSyncs
    const exit = Effect.runSyncExit(gauge.sync(file, 100, true))
    expect(made.at(-1)).toBe("main")
    expect(exit._tag).toBe("Failure")
    expect(gauge.inlineSyncs).toBe(before)
  })

  test("that fails after a while keeps the main thread from syncing as one that ends well does", () => {
    const { gauge, file, fail, take, pass, sync } = makeQuick()
    take(100)
    fail(unavailable("syncing data", "EIO", "/a"))
    Effect.runSyncExit(gauge.sync(file, 100, true))
    take(0.1)
    fail(undefined)
    expect(sync()).toBe("pool")
    pass(49 * 100)
    expect(sync()).toBe("pool")
    pass(100)
    expect(sync()).toBe("main")
  })

  test("of the main thread is remembered for a while", () => {
    const { gauge, pass } = makeQuick()
    expect(gauge.isFresh(5)).toBe(true)
    pass(5)
    expect(gauge.isFresh(5)).toBe(false)
  })
})

/** The disk on a machine where everything takes a microsecond, however busy this one is. */
const quickLayer = async (disk: MemoryDisk): Promise<MemoryDisk["layer"]> => {
  let nanos = 0n
  const real = await Effect.runPromise(Clock.Clock)
  const clock: Clock.Clock = Object.assign(Object.create(real), {
    monotonicTimeNanosUnsafe: () => {
      nanos += 1000n
      return nanos
    },
  })
  return Layer.merge(disk.layer, Layer.succeedContext(Context.make(Clock.Clock, clock))) as MemoryDisk["layer"]
}

describe("a store whose main thread syncs", () => {
  const open = async (streams: number) => {
    const disk = new MemoryDisk({ syncsAtOnce: true })
    const options = { root: "/store", segmentBytes: 65_536, tier2: false, inlineSyncMsMax: 1000 } as const
    const manager = await openWith(await quickLayer(disk), { ...options, flushIntervalMs: 3_600_000 })
    const all = await Promise.all(Array.from({ length: streams }, (_, one) => manager.stream(`s${one}`)))
    return { disk, options, manager, all }
  }

  test.each([1, 6])("keeps every durable record over power cuts and failed syncs: %d streams", async (count) => {
    const { disk, options, manager, all } = await open(count)
    const wanted = all.map((): Array<string> => [])
    for (let round = 0; round < 60; round++) {
      // From now and then a sync fails, wherever it is made.
      let left = round % 7 === 6 ? 1 : 0
      disk.onOperation = ({ kind }) => (kind === "syncData" && left-- > 0 ? "EIO" : undefined)
      await Promise.all(
        all.map(async (stream, one) => {
          const text = `${one} ${round} ${"x".repeat(round)}`
          // What was told of the disk is told; the record stays and is durable with the next flush.
          await stream.append(text).catch(() => stream.flush())
          wanted[one]!.push(text)
        }),
      )
    }
    disk.onOperation = undefined
    expect(manager.observe().flush.inlineSyncs).toBeGreaterThan(0)
    const cut = disk.fork()
    await manager.close()
    cut.crash(() => false)
    const again = await openWith(cut.layer, options)
    for (const [one, texts] of wanted.entries()) {
      const stream = await again.stream(`s${one}`)
      const cursor = stream.cursor({ from: "start" })
      const found: Array<string> = []
      while (cursor.next())
        found.push(new TextDecoder().decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd)))
      expect(found).toEqual(texts)
    }
    await again.close()
  })

  test("refuses with the code of the disk while syncs fail, and goes on afterwards", async () => {
    const { disk, manager, all } = await open(1)
    const stream = all[0]!
    for (let one = 0; one < 30; one++) await stream.append("a")
    const before = manager.observe().flush.inlineSyncs
    expect(before).toBeGreaterThan(0)
    disk.onOperation = ({ kind }) => (kind === "syncData" || kind === "create" ? "EIO" : undefined)
    expect(await rejection(() => stream.append("b"))).toMatchObject({ code: "EIO" })
    disk.onOperation = undefined
    await stream.flush()
    await stream.append("c")
    expect(stream.info().count).toBe(32)
    await manager.close()
  })
})

test("is in use while a sync is on its way, however long, and for a moment after the last one, by whatever thread", async () => {
  const { gauge, file, pass } = makeSubject()
  expect(gauge.isInUse).toBe(false)
  for (const bytes of [100, 1024 * 1024]) {
    let end = (): void => undefined
    const syncData = Effect.callback<void>((resume) => {
      end = () => resume(Effect.void)
    })
    const waiting = Effect.runPromise(gauge.sync({ ...file, syncData } as SegmentFile, bytes, false))
    await new Promise((resolve) => setTimeout(resolve, 0))
    pass(5000)
    expect(gauge.isInUse).toBe(true)
    end()
    await waiting
    expect(gauge.isInUse).toBe(true)
    pass(5000)
    expect(gauge.isInUse).toBe(false)
  }
  const quick = makeQuick()
  quick.pass(5000)
  expect([quick.gauge.isInUse, quick.sync(), quick.gauge.isInUse]).toEqual([false, "main", true])
})
