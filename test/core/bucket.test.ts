// What a root keeps in its bucket: HEAD names the manifest there, and that names the segments. Whatever ends the writer, at any step of seal, upload,
// HEAD and delete, both its own disk and another machine with nothing but the bucket go on with all that was called cold.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import { CommitTimes } from "../../src/core/bucket/bucket_times.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, turns } from "../support/api.ts"
import {
  appendTexts,
  bucketOptions,
  headIn,
  keysIn,
  numbersIn,
  numbersLeft,
  openBucketStore,
  until,
  upTo,
} from "../support/bucket.ts"

const allRequests = ({ counts }: FaultyObjectStore): number =>
  Object.values(counts).reduce((sum, { requests }) => sum + requests, 0)

/** Compares what lies in a bucket with what HEAD and its manifest name, by opening it elsewhere. */
const expectExact = async (store: ObjectStore): Promise<void> => {
  const head = await headIn(store)
  const manifest = (await keysIn(store)).filter((key) => key.includes("/manifest/"))
  expect(manifest).toEqual(head!.files.map(({ key }) => key).sort())
}

const coldCount = (stream: Aof): number =>
  stream
    .segments()
    .filter(({ state, tier }) => state === "sealed" && tier === "tier2")
    .reduce((sum, { count }) => sum + count, 0)

describe("a bucket", () => {
  test("holds exactly what HEAD names, over many HEADs and snapshots", async () => {
    const store = memoryStore()
    const manager = await openBucketStore(store)
    const stream = await manager.stream("orders")
    for (let round = 0; round < 70; round++) {
      await appendTexts(stream, round, round + 1)
      await stream.seal()
      await manager.settled()
    }
    await until("what no HEAD names is gone", async () => {
      await manager.settled()
      return (
        (await keysIn(store)).filter((key) => key.includes("/manifest/")).length === (await headIn(store))!.files.length
      )
    })
    await expectExact(store)
    expect((await headIn(store))!.files.some(({ kind }) => kind === 1)).toBe(true)
    expect((await keysIn(store)).filter((key) => key.includes("/segments/")).length).toBe(70)
    await manager.close()
    const back = await openBucketStore(store)
    expect(await numbersIn(await back.stream("orders"))).toEqual(upTo(70))
    await back.close()
  }, 60_000)

  test("holds exactly what HEAD names also after outages in which files were put and HEAD was not", async () => {
    const inner = memoryStore()
    const store = new FaultyObjectStore(inner)
    const disk = new MemoryDisk({ modelsCrashes: false })
    // So many that a snapshot takes the place of files that no HEAD has ever named.
    const rounds = 70
    for (let round = 0; round < rounds; round++) {
      const manager = await openBucketStore(store, { disk })
      const stream = await manager.stream("orders")
      await until("it has its epoch", () => manager.observe().bucket!.epoch > 0)
      store.script = ({ kind, key }) => (kind === "put" && key === "HEAD" ? "denied" : undefined)
      await appendTexts(stream, round, round + 1)
      await stream.seal()
      await until("it has tried", () => manager.observe().bucket!.failures > 0)
      await manager.close()
      store.script = undefined
    }
    const manager = await openBucketStore(store, { disk })
    const files = (await headIn(inner))!.files.map(({ key }) => key)
    await until("what no HEAD names is gone, and nothing else", async () => {
      await manager.settled()
      const keys = await keysIn(inner)
      const head = await headIn(inner)
      expect(head!.files.every(({ key }) => keys.includes(key))).toBe(true)
      return keys.filter((key) => key.includes("/manifest/")).length === head!.files.length
    })
    expect(files.length).toBeGreaterThan(0)
    await expectExact(inner)
    await manager.close()
    const back = await openBucketStore(inner)
    expect((await numbersIn(await back.stream("orders"))).length).toBe(rounds)
    await back.close()
  }, 60_000)

  test("keeps a file whose HEAD had no answer, also when it was given up meanwhile", async () => {
    const inner = memoryStore()
    const store = new FaultyObjectStore(inner)
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(store, { disk })
    const stream = await first.stream("orders")
    await first.settled()
    await appendTexts(stream, 0, 3)
    // HEAD is there, and from then on nothing is answered.
    const named = (await headIn(inner))!.nonce
    store.script = ({ kind, key }) => {
      if (kind !== "put" || key !== "HEAD") return undefined
      store.down = "Network"
      return "timeoutAfter"
    }
    await stream.seal()
    await until("it has tried", () => first.observe().bucket!.failures > 0)
    await first.close()
    const head = (await headIn(inner))!
    expect(head.nonce).not.toEqual(named)
    store.script = undefined
    store.down = undefined
    const second = await openBucketStore(store, { disk })
    await turns(20)
    await second.settled()
    const keys = await keysIn(inner)
    expect((await headIn(inner))!.files.every(({ key }) => keys.includes(key))).toBe(true)
    await second.close()
    const back = await openBucketStore(inner)
    expect(await numbersIn(await back.stream("orders"))).toEqual(upTo(3))
    await back.close()
  })

  test("is asked nothing while nothing happens", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const manager = await openBucketStore(store)
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 10)
    await stream.seal()
    await manager.settled()
    const before = allRequests(store)
    await turns(50)
    // Records that stay in an active segment are nothing to tell.
    await appendTexts(stream, 10, 12)
    await manager.settled()
    expect(allRequests(store)).toBe(before)
    await manager.close()
    const closed = allRequests(store)
    await turns(50)
    expect(allRequests(store)).toBe(closed)
  })

  test("has to know of an object before the warm file leaves, and before an object is deleted", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(store, { disk, retry: { maxAttempts: 1, baseDelayMs: 1, jitter: 0 } })
    const stream = await manager.stream("orders")
    const ids = await appendTexts(stream, 0, 14)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    expect(coldCount(stream)).toBe(14)
    const segments = async (): Promise<number> =>
      (await keysIn(store)).filter((key) => key.includes("/segments/")).length
    const warm = (): number => disk.paths().filter((path) => path.endsWith(".seg.zst")).length
    const count = await segments()

    store.script = ({ kind, key }) => (kind === "put" && key === "HEAD" ? "denied" : undefined)
    await appendTexts(stream, 14, 28)
    await stream.seal()
    const error = await failure(stream.evict({ to: "tier2" }))
    expect(error._tag).toBe("Unavailable")
    expect(await segments()).toBeGreaterThan(count)
    expect(warm()).toBeGreaterThan(0)
    expect(coldCount(stream)).toBe(14)
    await stream.trim({ before: ids[13]! })
    await manager.settled()
    const all = await segments()
    expect(all).toBeGreaterThan(count)
    expect(await numbersIn(stream)).toEqual(upTo(28).slice(13))

    store.script = undefined
    await until("HEAD is put again and all drains", async () => {
      await manager.settled()
      return (await segments()) < all && manager.observe().backlog.deletes === 0
    })
    await stream.evict({ to: "tier2" })
    expect(warm()).toBe(0)
    expect(await numbersIn(stream)).toEqual(upTo(28).slice(13))
    await manager.close()
  })

  test("is made only where a store is given", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const { tier2: _, ...plain } = bucketOptions(memoryStore())
    const manager = await openWith(disk.layer, plain)
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 10)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    await manager.close()
    const objects = disk.paths().filter((path) => path.startsWith("/store/tier2/objects/"))
    expect(objects.length).toBeGreaterThan(0)
    expect(objects.every((path) => path.includes("/segments/"))).toBe(true)
  })

  test("of another root is refused", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    await (await openBucketStore(memoryStore(), { disk })).close()
    const other = await openBucketStore(store)
    await other.stream("theirs")
    await other.settled()
    await other.close()
    const error = await failure(openBucketStore(store, { disk }))
    expect([error._tag, error.what]).toEqual(["InvalidArgument", "tier2.store"])
    // Nor is it put aside for the other one: what to do is for people to say.
    const taken = await failure(openBucketStore(store, { disk, takeOver: true }))
    expect(taken.message).toBe(error.message)
    expect(error.message).toContain("move the local directory away")
    expect(disk.paths().some((path) => path.includes("quarantine"))).toBe(false)
  })

  test("that was emptied is filled again with what the disk has", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(store, { disk })
    await manager.stream("orders")
    await manager.settled()
    await Effect.runPromise(store.remove("HEAD"))
    const stream = await manager.stream("orders")
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await until("HEAD is there again", async () => (await headIn(store)) !== undefined)
    await manager.close()
    const back = await openBucketStore(store)
    expect(back.streams()).toEqual(["orders"])
    await back.close()
  })
})

describe("the time of an object's end", () => {
  test("comes a grace after the first HEAD that knows the record", () => {
    const times = new CommitTimes(100)
    expect(times.deleteAtMs(5, 1000)).toBe(Number.POSITIVE_INFINITY)
    times.note(4, 1000)
    expect(times.deleteAtMs(5, 1000)).toBe(Number.POSITIVE_INFINITY)
    times.note(7, 1010)
    times.note(9, 1050)
    expect([4, 5, 7, 8, 9].map((sequence) => times.deleteAtMs(sequence, 1060))).toEqual([1100, 1110, 1110, 1150, 1150])
    expect([4, 5, 7, 8].map((sequence) => times.deleteAtMs(sequence, 1120))).toEqual([0, 0, 0, 1150])
    expect(times.sequence).toBe(9)
  })
})

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  /** Records that were called cold, those that were durable, and how many the stream had in all. */
  readonly cold: number
  readonly durable: number
  readonly appended: number
  readonly trimmed: number
}

const passive = ["read", "list", "open", "readFile", "sizeOf"]
const onDisk = { store: { directory: "/cold" }, headIntervalMs: 0, deleteGraceMs: 0, retry: { maxAttempts: 1 } }

/** A run with seals, uploads, HEADs, a trim and deletions; the bucket is a directory of the same disk. */
const record = async (stride: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const moments: Array<Moment> = []
  const noted = { cold: 0, durable: 0, appended: 0, trimmed: 0 }
  let count = 0
  disk.onOperation = ({ kind, path }) => {
    if (passive.includes(kind) || count++ % stride !== 0) return
    moments.push({ disk: disk.fork(), operation: `${kind} ${path}`, ...noted })
  }
  const run = async (manager: AofManager, from: number): Promise<void> => {
    const stream = await manager.stream("orders")
    for (let round = 0; round < 3; round++) {
      noted.appended = from + round * 9 + 9
      const ids = await appendTexts(stream, from + round * 9, from + round * 9 + 9)
      noted.durable = noted.appended
      await stream.seal()
      await stream.evict({ to: "tier2" })
      noted.cold = coldCount(stream) + noted.trimmed
      if (round === 1) {
        noted.trimmed = from + 9
        await stream.trim({ before: ids[0]! })
        await manager.settled()
      }
    }
  }
  const options = { ...bucketOptions(memoryStore()), tier2: onDisk }
  for (const from of [0, 27]) {
    const manager = await openWith(disk.layer, options)
    await run(manager, from)
    await manager.close()
  }
  disk.onOperation = undefined
  return moments
}

/** Checks that a stream is a beginning of what was appended, with at least `least` records. */
const expectPrefix = async (manager: AofManager, moment: Moment, isOwn: boolean): Promise<void> => {
  const { appended, trimmed } = moment
  const least = isOwn ? moment.durable : moment.cold
  if (least === 0 && !manager.streams().includes("orders")) return
  const stream = await manager.stream("orders")
  const numbers = isOwn ? await numbersIn(stream) : await numbersLeft(stream)
  const first = numbers[0] ?? 0
  const end = first + numbers.length
  if (numbers.some((number, at) => number !== first + at)) throw new Error(`there are ${numbers.join(" ")}`)
  if (first > trimmed) throw new Error(`it begins at ${first}, trimmed were ${trimmed}`)
  if (numbers.length > 0 && (end < least || end > appended))
    throw new Error(`it ends at ${end}, not ${least} to ${appended}`)
  if (numbers.length === 0 && least > trimmed) throw new Error(`nothing is there of ${least}`)
}

describe("after a power cut at any step", () => {
  test("the own disk has all that was durable, and another machine all that was cold", async () => {
    const failures: Array<string> = []
    const moments = await record(5)
    expect(moments.length).toBeGreaterThan(80)
    for (const [index, moment] of moments.entries()) {
      const options = { ...bucketOptions(memoryStore()), tier2: onDisk }
      for (const machine of ["own", "other"]) {
        const disk = moment.disk.fork()
        disk.crash(() => index % 2 === 0)
        try {
          const root = machine === "own" ? "/store" : "/elsewhere"
          const manager = await openWith(disk.layer, { ...options, root })
          await expectPrefix(manager, moment, machine === "own")
          const stream = await manager.stream("orders")
          await stream.append("more")
          await stream.seal()
          await stream.evict({ to: "tier2" })
          await manager.settled()
          await manager.close()
          if (machine === "own") expect(manager.recovery.lost).toEqual([])
        } catch (error) {
          failures.push(`${machine}, cut before ${moment.operation}: ${(error as Error).message}`)
        }
        if (failures.length > 3) break
      }
    }
    expect(failures).toEqual([])
  }, 240_000)
})
