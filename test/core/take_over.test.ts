// A root that has data is taken back with `takeOver`: it stays as it was until the epoch is surely its own, also when the power goes meanwhile, and
// nobody takes a root over who was not told to.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { storeError } from "../../src/port/store_error.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import { appendTexts, headIn, numbersIn, openBucketStore, upTo } from "../support/bucket.ts"

/** The disk of a machine that is fenced: 10 records that the bucket has, and 5 that only it has. The one that has the root now has closed it. */
const fencedDisk = async (store: ObjectStore, disk = new MemoryDisk()): Promise<MemoryDisk> => {
  const first = await openBucketStore(store, { disk })
  const stream = await first.stream("orders")
  await appendTexts(stream, 0, 10)
  await stream.seal()
  await first.settled()
  await appendTexts(stream, 900, 905)
  await first.close()
  await takenOver(store, 10)
  return disk
}

/** Another machine takes the root over, and adds 10 records. */
const takenOver = async (store: ObjectStore, from: number): Promise<void> => {
  const manager = await openBucketStore(store, { disk: new MemoryDisk({ modelsCrashes: false }) })
  const stream = await manager.stream("orders")
  await appendTexts(stream, from, from + 10)
  await stream.seal()
  await manager.settled()
  await manager.close()
}

const numbersOf = async (manager: AofManager): Promise<ReadonlyArray<number>> => {
  const numbers = await numbersIn(await manager.stream("orders"))
  await manager.close()
  return numbers
}

const own = [...upTo(10), 900, 901, 902, 903, 904]

describe("taking a root back", () => {
  const faults: ReadonlyArray<StoreFault> = ["denied", "timeoutBefore"]
  test("leaves it as it was when the claim fails: it is fenced again, and opens without the bucket", async () => {
    for (const fault of faults) {
      const inner = memoryStore()
      const disk = await fencedDisk(inner)
      const before = await headIn(inner)
      const store = new FaultyObjectStore(inner, {
        script: ({ kind, key }) => (kind === "put" && key === "HEAD" ? fault : undefined),
      })
      expect((await failure(openBucketStore(store, { disk, takeOver: true })))._tag).toBe("Unavailable")
      store.script = undefined
      expect((await failure(openBucketStore(store, { disk })))._tag).toBe("Fenced")
      expect((await headIn(inner))?.nonce).toEqual(before?.nonce)
      expect(disk.paths().some((path) => path.includes("RESTORE") || path.includes("quarantine"))).toBe(false)
      expect(await numbersOf(await openBucketStore(inner, { disk }, { readOnly: true }))).toEqual(own)
      store.down = "Network"
      expect(await numbersOf(await openBucketStore(store, { disk }, { closeTimeoutMs: 100 }))).toEqual(own)
    }
  })

  test("by two at once: one has it, the other is as it was and is fenced again", async () => {
    const inner = memoryStore()
    const disk = await fencedDisk(inner)
    // The other one comes between the look at HEAD and the claim.
    const other = new FaultyObjectStore(inner)
    let comes: Promise<void> | undefined
    const store: ObjectStore = Object.assign(Object.create(other), other, {
      put: (...given: Parameters<ObjectStore["put"]>) => {
        comes ??= takenOver(inner, 20)
        return Effect.andThen(
          Effect.promise(() => comes!),
          other.put(...given),
        )
      },
    })
    expect((await failure(openBucketStore(store, { disk, takeOver: true })))._tag).toBe("Fenced")
    const winner = await headIn(inner)
    expect((await failure(openBucketStore(inner, { disk })))._tag).toBe("Fenced")
    expect((await headIn(inner))?.nonce).toEqual(winner?.nonce)
    expect(await numbersOf(await openBucketStore(inner, { disk }, { readOnly: true }))).toEqual(own)
    expect(await numbersOf(await openBucketStore(inner, { disk, takeOver: true }))).toEqual(upTo(30))
  })

  test("with a claim whose answer was lost says so, and can be told again", async () => {
    const inner = memoryStore()
    const disk = await fencedDisk(inner)
    const store = new FaultyObjectStore(inner)
    store.script = ({ kind, key }) => {
      if (kind !== "put" || key !== "HEAD") return undefined
      store.down = "Network"
      return undefined
    }
    const lost: ObjectStore = Object.assign(Object.create(store), store, {
      put: (...given: Parameters<ObjectStore["put"]>) =>
        Effect.andThen(store.put(...given), Effect.fail(storeError("Network", "put", "HEAD", "ECONNRESET"))),
    })
    const before = await headIn(inner)
    expect((await failure(openBucketStore(lost, { disk, takeOver: true })))._tag).toBe("Unavailable")
    expect((await headIn(inner))?.epoch).toBe(before!.epoch + 1)
    expect((await failure(openBucketStore(inner, { disk })))._tag).toBe("Fenced")
    expect(await numbersOf(await openBucketStore(inner, { disk }, { readOnly: true }))).toEqual(own)
    expect(await numbersOf(await openBucketStore(inner, { disk, takeOver: true }))).toEqual(upTo(20))
  })

  test("goes on after the power went at any step where it has the epoch, and never where another one has it", async () => {
    let isDone = false
    const ends = { fenced: 0, open: 0 }
    for (let steps = 1; !isDone; steps++) {
      const isOvertaken = steps % 3 === 0
      const inner = memoryStore()
      const disk = await fencedDisk(inner)
      const before = await headIn(inner)
      const store = new FaultyObjectStore(inner)
      let cut: MemoryDisk | undefined
      let left = steps
      disk.onOperation = () => {
        if (--left !== 0) return
        cut = disk.fork()
        store.down = "Network"
      }
      await openBucketStore(store, { disk, takeOver: true }, { closeTimeoutMs: 100 }).then(
        (manager) => manager.close(),
        () => {},
      )
      if (cut === undefined) {
        isDone = true
        break
      }
      cut.crash(() => steps % 2 === 0)
      const isClaimed = (await headIn(inner))!.epoch > before!.epoch
      if (isOvertaken) await takenOver(inner, 20)
      const head = await headIn(inner)
      const reopened = await openBucketStore(inner, { disk: cut }).catch((error) => {
        expect(error._tag).toBe("Fenced")
        return undefined
      })
      if (reopened === undefined) {
        ends.fenced++
        expect((await headIn(inner))?.nonce).toEqual(head?.nonce)
        const taken = await openBucketStore(inner, { disk: cut, takeOver: true })
        expect(await numbersOf(taken)).toEqual(upTo(isOvertaken ? 30 : 20))
      } else {
        ends.open++
        expect([isClaimed, isOvertaken, steps]).toEqual([true, false, steps])
        expect(await numbersOf(reopened)).toEqual(upTo(20))
      }
    }
    expect(ends.fenced).toBeGreaterThan(10)
    expect(ends.open).toBeGreaterThan(10)
  }, 120_000)

  test("that was cut off goes on also when it is cut off again", async () => {
    const inner = memoryStore()
    const disk = await fencedDisk(inner)
    for (let puts = 1; puts < 4; puts++) {
      let left = puts
      const store = new FaultyObjectStore(inner, {
        script: ({ kind }) => (kind === "put" && left-- <= 0 ? "denied" : undefined),
      })
      const options = { disk, takeOver: puts === 1 }
      if (puts < 3) expect((await failure(openBucketStore(store, options)))._tag).toBe("Unavailable")
      else expect(await numbersOf(await openBucketStore(store, options, { closeTimeoutMs: 100 }))).toEqual(upTo(20))
    }
    expect(disk.paths().some((path) => path.includes("RESTORE"))).toBe(false)
  })
})

describe("an empty root whose restore was cut off", () => {
  test("goes on though another machine has taken the root over meanwhile", async () => {
    const inner = memoryStore()
    await fencedDisk(inner)
    const store = new FaultyObjectStore(inner, {
      script: ({ kind, key }) => (kind === "get" && key !== "HEAD" ? "denied" : undefined),
    })
    const disk = new MemoryDisk()
    expect((await failure(openBucketStore(store, { disk })))._tag).toBe("Unavailable")
    await takenOver(inner, 20)
    expect(await numbersOf(await openBucketStore(inner, { disk }))).toEqual(upTo(30))
  })
})

test("taking a root back does not mix in what the journal of the killed writer has: that stays in the quarantine", async () => {
  const store = memoryStore()
  const disk = new MemoryDisk()
  const names = ["a", "b", "c"]
  const options = { journalStreamsMin: 1 }
  const first = await openBucketStore(store, { disk }, options)
  const streams = await Promise.all(names.map((name) => first.stream(name)))
  const appendAll = (from: number, to: number) => Promise.all(streams.map((stream) => appendTexts(stream, from, to)))
  await appendAll(0, 3)
  for (const stream of streams) await stream.seal()
  await first.settled()
  await appendAll(900, 903)
  expect(disk.paths().some((path) => path.endsWith(".jnl"))).toBe(true)
  disk.kill()
  const second = await openBucketStore(store, {}, options)
  for (const name of names) {
    const stream = await second.stream(name)
    await appendTexts(stream, 3, 6)
    await stream.seal()
  }
  await second.settled()
  await second.close()
  const back = await openBucketStore(store, { disk, takeOver: true }, options)
  for (const name of names) expect(await numbersIn(await back.stream(name))).toEqual(upTo(6))
  expect(back.recovery.lost).toEqual([])
  expect(disk.paths().some((path) => path.startsWith("/store/quarantine/fenced-journal"))).toBe(true)
  await back.close()
  await first.close().catch(() => {})
})
