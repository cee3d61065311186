// Two writers and one bucket: one goes on, the other is told so before it can harm anything, in whatever order they come. What the loser
// had called uploaded is there for the winner; what it puts late counts for nothing.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { TierEvent } from "../../src/model/tier_event.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import {
  appendTexts,
  headIn,
  keysIn,
  numbersIn,
  numbersLeft,
  openBucketStore,
  segmentsIn,
  until,
  upTo,
} from "../support/bucket.ts"

/** A store whose requests may be held up: `before` is awaited with the number and the key of each. */
const heldUp = (
  inner: ObjectStore,
  before: (count: number, what: string) => Promise<void> | undefined,
): ObjectStore => {
  let count = 0
  const hold = <A, E>(what: string, request: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const held = before(++count, what)
      return held === undefined
        ? request
        : Effect.andThen(
            Effect.promise(() => held),
            request,
          )
    })
  return {
    kind: inner.kind,
    place: inner.place,
    put: (key, body, options) => hold(`put ${key}`, inner.put(key, body, options)),
    get: (key, range) => hold(`get ${key}`, inner.get(key, range)),
    head: (key) => hold(`head ${key}`, inner.head(key)),
    remove: (key) => hold(`remove ${key}`, inner.remove(key)),
    list: (prefix, options) => hold(`list ${prefix}`, inner.list(prefix, options)),
  }
}

/** Closes a manager that may have lost its root. */
const closeAnyhow = async (manager: AofManager): Promise<void> => {
  await manager.close().catch(() => {})
}

/** Makes a writer find out where it stands: something for the bucket happens. */
const stir = async (manager: AofManager, name: string): Promise<void> => {
  try {
    const stream = await manager.stream(name)
    await stream.append("stir")
    await stream.seal()
    await manager.settled()
  } catch (error) {
    if ((error as { _tag?: string })._tag !== "Fenced") throw error
  }
}

const isFenced = async (manager: AofManager, name: string): Promise<boolean> => {
  try {
    await (await manager.stream(name)).append("x", { level: "buffered" })
    return false
  } catch (error) {
    if ((error as { _tag?: string })._tag === "Fenced") return true
    throw error
  }
}

describe("a writer whose root another machine has taken over", () => {
  test("is told so by appends, flushes and all that changes something, and still reads", async () => {
    const store = memoryStore()
    const events: Array<TierEvent> = []
    const old = await openBucketStore(store, {}, { onEvent: (event) => events.push(event) })
    const stream = await old.stream("orders")
    const ids = await appendTexts(stream, 0, 20)
    await stream.seal()
    await old.settled()
    const mine = await headIn(store)
    const next = await openBucketStore(store)
    const theirs = await headIn(store)
    expect(theirs!.epoch).toBe(mine!.epoch + 1)

    const waiting = failure(
      (async () => {
        for await (const record of stream.follow({ after: ids.at(-1)! })) if (record.text() === "never") break
      })(),
    )
    await stir(old, "orders")
    await until("the old writer is fenced", () => isFenced(old, "orders"))
    const error = await failure(stream.append("late"))
    expect([error._tag, error.retryable, error.value, error.limit]).toEqual([
      "Fenced",
      false,
      mine!.epoch,
      theirs!.epoch,
    ])
    expect(error.message).toContain("takeOver")
    const calls = [
      () => stream.flush(),
      () => stream.append("late", { level: "buffered" }),
      () => stream.appendBatch(["late"]),
      () => stream.seal(),
      () => stream.trim({ before: ids[5]! }),
      () => stream.ready(),
      () => old.stream("another"),
      () => old.deleteStream("orders"),
      () => old.customEvent(1, new Uint8Array(1)),
    ]
    for (const call of calls) expect((await failure(call()))._tag).toBe("Fenced")
    expect((await failure(() => stream.tryAppend("late")))._tag).toBe("Fenced")
    expect((await waiting)._tag).toBe("Fenced")
    expect(await numbersIn(stream, { limit: 20 })).toEqual(upTo(20))
    expect((await stream.get(ids[3]!)).recordNumber).toBe(3)
    expect(events.filter(({ name }) => name === "fenced").length).toBe(1)
    expect(old.observe().bucket).toMatchObject({ epoch: mine!.epoch, isFenced: true })
    expect(next.observe().bucket).toMatchObject({ epoch: theirs!.epoch, isFenced: false })

    // The winner goes on with what it has found, and nothing of the loser comes in between.
    const back = await next.stream("orders")
    await appendTexts(back, 20, 40)
    await back.seal()
    await next.settled()
    expect(await numbersIn(back)).toEqual(upTo(40))
    const named = new Set((await headIn(store))!.files.map(({ key }) => key))
    expect((await headIn(store))!.epoch).toBe(theirs!.epoch)
    for (const key of named) expect(await keysIn(store)).toContain(key)
    await closeAnyhow(old)
    await next.close()
    const third = await openBucketStore(store)
    expect(await numbersIn(await third.stream("orders"))).toEqual(upTo(40))
    await third.close()
  })

  test("is refused when it opens its root again, until it is told to take it back", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const first = await openBucketStore(store, { disk })
    await appendTexts(await first.stream("orders"), 0, 10)
    await (await first.stream("orders")).seal()
    await first.settled()
    await appendTexts(await first.stream("orders"), 900, 905)
    await first.close()
    const second = await openBucketStore(store)
    await appendTexts(await second.stream("orders"), 10, 20)
    await (await second.stream("orders")).seal()
    await second.settled()

    const error = await failure(openBucketStore(store, { disk }))
    expect(error._tag).toBe("Fenced")
    expect(error.message).toContain("tier2.takeOver")
    const reader = await openBucketStore(store, { disk }, { readOnly: true })
    expect((await numbersIn(await reader.stream("orders"))).slice(-2)).toEqual([903, 904])
    await reader.close()

    const taken = await openBucketStore(store, { disk, takeOver: true })
    expect(await numbersIn(await taken.stream("orders"))).toEqual(upTo(20))
    // Nothing of its own suffix is merged, and nothing is thrown away.
    expect(disk.paths().some((path) => path.startsWith("/store/quarantine/fenced-streams/orders/segments/"))).toBe(true)
    await stir(second, "orders")
    await until("the second writer is fenced", () => isFenced(second, "orders"))
    await closeAnyhow(second)
    await taken.close()
    const again = await openBucketStore(store, { disk })
    expect(await numbersIn(await again.stream("orders"))).toEqual(upTo(20))
    await again.close()
  })

  test("loses at whatever request the other one comes in between, and what it called cold is not lost", async () => {
    const count = { requests: 0 }
    const work = async (store: ObjectStore): Promise<{ readonly old: AofManager; readonly cold: number }> => {
      const old = await openBucketStore(store)
      const stream = await old.stream("orders")
      let cold = 0
      try {
        for (let round = 0; round < 3; round++) {
          await appendTexts(stream, round * 10, round * 10 + 10)
          await stream.seal()
          await stream.evict({ to: "tier2" })
          const segments = stream.segments().filter(({ state, tier }) => state === "sealed" && tier === "tier2")
          cold = segments.reduce((sum, one) => sum + one.count, 0)
        }
        await old.settled()
      } catch (error) {
        if ((error as { _tag?: string })._tag !== "Fenced") throw error
      }
      return { old, cold }
    }
    const calm = await work(heldUp(memoryStore(), (number) => void (count.requests = number)))
    await calm.old.close()
    expect(calm.cold).toBe(30)
    // The first requests are those with which it looks for a root and takes its epoch.
    for (let at = 1; at <= count.requests; at++) {
      const inner = memoryStore()
      let before: AofManager | undefined
      let opening: Promise<AofManager> | undefined
      const store = heldUp(inner, (number) => {
        if (number !== at) return undefined
        opening = openBucketStore(inner)
        return opening.then(() => {})
      })
      let outcome: { readonly old: AofManager; readonly cold: number } | undefined
      try {
        outcome = await work(store)
        before = outcome.old
        await stir(before, "orders")
      } catch (error) {
        if ((error as { _tag?: string })._tag !== "Fenced")
          throw new Error(`request ${at}: ${(error as Error).message}`)
      }
      // The old one may be fenced before the new one is open.
      const next = await opening
      if (next === undefined) throw new Error(`request ${at} did not come`)
      await stir(next, "mine")
      const isNextFenced = await isFenced(next, "mine")
      const isOldFenced = before === undefined || (await isFenced(before, "orders"))
      if (isNextFenced === isOldFenced) throw new Error(`request ${at}: fenced are ${isOldFenced} and ${isNextFenced}`)
      if (isOldFenced && outcome !== undefined && outcome.cold > 0) {
        const numbers = await numbersLeft(await next.stream("orders"))
        const least = numbers.length
        if (least < outcome.cold) throw new Error(`request ${at}: ${outcome.cold} were cold, ${least} are there`)
        expect(numbers).toEqual(upTo(least))
      }
      if (before !== undefined) await closeAnyhow(before)
      await closeAnyhow(next)
    }
  }, 240_000)

  test("harms nothing when it was paused in the middle of an upload and goes on long after", async () => {
    const inner = memoryStore()
    let release = (): void => {}
    let isHeld = false
    const store = heldUp(inner, (_, what) => {
      if (isHeld || !what.startsWith("put ") || !what.includes("/segments/")) return undefined
      isHeld = true
      return new Promise((resolve) => {
        release = resolve
      })
    })
    const old = await openBucketStore(store)
    const stream = await old.stream("orders")
    await appendTexts(stream, 0, 10)
    await stream.seal()
    await until("an upload is under way", () => isHeld)
    const next = await openBucketStore(inner)
    // Another root's history now: the same stream may not even be known here.
    const mine = await next.stream("mine")
    await appendTexts(mine, 0, 10)
    await mine.seal()
    await next.settled()
    const before = await headIn(inner)
    release()
    await until("the old writer is fenced", () => isFenced(old, "orders"))
    expect(stream.segments().every(({ tier }) => tier !== "tier2")).toBe(true)
    await closeAnyhow(old)
    expect((await headIn(inner))?.nonce).toEqual(before?.nonce)
    expect(await numbersIn(await next.stream("mine"))).toEqual(upTo(10))
    await next.close()
  })

  test("nor does the object that it puts then come back with the machine that takes over after the next", async () => {
    const inner = memoryStore()
    const waiting: Array<() => void> = []
    let held = "nothing"
    const store = heldUp(inner, (_, what) => {
      if (!what.startsWith("put ") || !what.includes(held)) return undefined
      return new Promise((resolve) => {
        waiting.push(resolve)
      })
    })
    const old = await openBucketStore(store)
    const stream = await old.stream("orders")
    await appendTexts(stream, 0, 5)
    await stream.seal()
    await old.settled()
    // A segment that the bucket knows of and does not have.
    held = "/segments/"
    const first = await headIn(inner)
    await appendTexts(stream, 5, 10)
    await stream.seal()
    await old.stream("another")
    await until("the bucket knows", async () => (await headIn(inner))!.lastSequence > first!.lastSequence + 1)
    // And one that it does not even know of.
    held = ""
    await appendTexts(stream, 100, 105)
    await stream.seal()
    await until("both uploads are under way", () => waiting.length > 1)

    const next = await openBucketStore(inner)
    const back = await next.stream("orders")
    await appendTexts(back, 10, 15)
    await back.seal()
    await next.settled()
    expect((await failure(numbersIn(back)))._tag).toBe("Corrupt")
    const before = await segmentsIn(inner)
    held = "nothing"
    for (const release of waiting) release()
    await until("the old writer is fenced", () => isFenced(old, "orders"))
    await until("its objects are there", async () => (await segmentsIn(inner)).length >= before.length + 2)
    await closeAnyhow(old)
    await next.close()

    // What the next writer said is missing is the same as ever; what it never knew of is not there.
    const third = await openBucketStore(inner)
    expect(await numbersIn(await third.stream("orders"))).toEqual(upTo(15))
    await third.close()
  })
})

describe("two copies of one root", () => {
  test("such as a restored image: the one that comes first goes on, the other one is fenced, also one that has appended meanwhile", async () => {
    for (const isBehind of [false, true]) {
      const store = memoryStore()
      const disk = new MemoryDisk({ modelsCrashes: false })
      let original = await openBucketStore(store, { disk })
      const stream = await original.stream("orders")
      await appendTexts(stream, 0, 10)
      await stream.seal()
      await original.settled()
      await original.close()
      const image = disk.fork()
      original = await openBucketStore(store, { disk })
      const orders = await original.stream("orders")
      await appendTexts(orders, 10, 20)
      await orders.seal()
      await original.settled()
      const ahead = await headIn(store)
      if (isBehind) {
        const error = await failure(openBucketStore(store, { disk: image }))
        expect(error._tag).toBe("Fenced")
        expect((await headIn(store))?.nonce).toEqual(ahead?.nonce)
      } else {
        // The bucket is away when the image is opened: it appends, and finds out later.
        const faulty = new FaultyObjectStore(store)
        faulty.down = "Network"
        const copy = await openBucketStore(faulty, { disk: image })
        const other = await copy.stream("orders")
        await appendTexts(other, 500, 505)
        faulty.down = undefined
        await until("the image is fenced", () => isFenced(copy, "orders"))
        await closeAnyhow(copy)
        expect((await headIn(store))?.nonce).toEqual(ahead?.nonce)
      }
      expect(await isFenced(original, "orders")).toBe(false)
      expect(await numbersIn(orders, { limit: 20 })).toEqual(upTo(20))
      await original.close()
    }
  })

  test("that are both new and share a bucket by mistake: one has it, the other is told", async () => {
    const inner = memoryStore()
    let second: AofManager | undefined
    const store = heldUp(inner, (number) =>
      number === 2
        ? openBucketStore(inner).then(async (manager) => {
            second = manager
            await manager.settled()
          })
        : undefined,
    )
    const first = await openBucketStore(store)
    await stir(first, "orders")
    await until("the first one is fenced", () => isFenced(first, "orders"))
    expect(await isFenced(second!, "orders")).toBe(false)
    const error = await failure(first.customEvent(1, new Uint8Array(1)))
    expect(error.message).toContain("a prefix of its own")
    await closeAnyhow(first)
    await second!.close()
  })
})

describe("an answer that is lost", () => {
  const faults: ReadonlyArray<StoreFault> = ["lostAnswer", "timeoutAfter", "lateWrite", "timeoutBefore", "internal"]
  test.each(faults.map((fault) => ({ fault })))(
    "at each HEAD ($fault) fences nobody",
    async (one: { readonly fault: StoreFault }) => {
      for (let which = 1; which <= 4; which++) {
        let puts = 0
        const store = new FaultyObjectStore(memoryStore(), {
          script: ({ kind, key }) => (kind === "put" && key === "HEAD" && ++puts === which ? one.fault : undefined),
          lateRequests: 2,
        })
        const disk = new MemoryDisk({ modelsCrashes: false })
        let manager = await openBucketStore(store, { disk })
        for (let round = 0; round < 2; round++) {
          const stream = await manager.stream("orders")
          await appendTexts(stream, round * 5, round * 5 + 5)
          await stream.seal()
          await until("the segments are cold", async () => {
            await manager.settled()
            const { unuploadedSegments } = manager.observe().backlog
            return unuploadedSegments === 0
          })
          await stream.evict({ to: "tier2" })
          await manager.close()
          manager = await openBucketStore(store, { disk })
        }
        expect(await numbersIn(await manager.stream("orders"))).toEqual(upTo(10))
        expect(await isFenced(manager, "orders")).toBe(false)
        await manager.close()
      }
    },
    60_000,
  )
})
