// Calls that go through a whole root, and a store that does not answer: `close` ends them and waits for their ends, and nothing of them is left
// behind it. A move is not cut off where neither bucket would be the root's, unless there is no time left.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { ColdOptions } from "../../src/model/cold_config.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore, type StoreRequestKind } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import { appendTexts, headIn, numbersIn, openBucketStore, until, upTo } from "../support/bucket.ts"

/** Far more than any test waits. */
const requestTimeoutMs = 3_600_000

const namedStore = (place: string): FaultyObjectStore =>
  new FaultyObjectStore(Object.defineProperty(memoryStore(), "place", { value: place }))

const requestsOf = ({ counts }: FaultyObjectStore): number =>
  Object.values(counts).reduce((sum, { requests }) => sum + requests, 0)

interface Opened {
  readonly manager: AofManager
  readonly stream: Aof
  readonly disk: MemoryDisk
}

/** A root with 30 records in its bucket. */
const filledRoot = async (
  store: ObjectStore,
  cold: ColdOptions = {},
  options: Partial<AofManagerOptions> = {},
): Promise<Opened> => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openBucketStore(store, { disk, requestTimeoutMs, ...cold }, options)
  const stream = await manager.stream("orders")
  await appendTexts(stream, 0, 30)
  await stream.seal()
  await manager.settled()
  return { manager, stream, disk }
}

/** How a call has ended by now. */
const watched = (call: Promise<unknown>): { end: string | undefined } => {
  const seen: { end: string | undefined } = { end: undefined }
  call.then(
    () => (seen.end = "ok"),
    (error) => (seen.end = error._tag),
  )
  return seen
}

/** What a fiber that goes on would do, it does in some turns. */
const someTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** A store whose puts of HEAD wait until they are let go. */
const gatedStore = (inner: ObjectStore) => {
  const gate = { isClosed: true, waiting: 0 }
  const open = Effect.gen(function* () {
    gate.waiting++
    while (gate.isClosed) yield* Effect.sleep(1)
  })
  const store: ObjectStore = {
    kind: inner.kind,
    place: inner.place,
    put: (key, body, options) =>
      key === "HEAD" ? Effect.andThen(open, inner.put(key, body, options)) : inner.put(key, body, options),
    get: (key, range) => inner.get(key, range),
    head: (key) => inner.head(key),
    remove: (key) => inner.remove(key),
    list: (prefix, options) => inner.list(prefix, options),
  }
  return { store, gate }
}

describe("close", () => {
  const calls: ReadonlyArray<[string, StoreRequestKind, (manager: AofManager) => Promise<unknown>]> = [
    ["a scrub", "get", (manager) => manager.scrub({ tiers: ["tier2"] })],
    ["a reconciliation", "list", (manager) => manager.reconcile()],
    ["a reconciliation that only tells", "list", (manager) => manager.reconcile({ plan: true })],
    ["a move that copies", "put", (manager) => manager.moveBucket({ to: manyHangs() })],
    ["a move that looks at the new bucket", "head", (manager) => manager.moveBucket({ to: manyHangs("head") })],
  ]
  const manyHangs = (kind: StoreRequestKind = "put"): ObjectStore =>
    new FaultyObjectStore(memoryStore(), { script: (request) => (request.kind === kind ? "hang" : undefined) })

  test.each(calls)("ends %s, and the one that waits behind it", async (_, kind, call) => {
    const store = new FaultyObjectStore(memoryStore())
    const { manager, disk } = await filledRoot(store, {}, { closeTimeoutMs: 60_000 })
    let hanging = 0
    store.script = (request) => {
      if (request.kind !== kind) return undefined
      hanging++
      return "hang"
    }
    const first = watched(call(manager))
    const second = watched(call(manager))
    if (kind === "get" || kind === "list") await until("it is asked", () => hanging > 0)
    else await someTurns()
    await manager.close()
    await someTurns()
    expect([first.end, second.end]).toEqual(["Closed", "Closed"])
    store.script = undefined
    const requests = requestsOf(store)
    await someTurns()
    expect(requestsOf(store)).toBe(requests)
    expect((await failure(call(manager)))._tag).toBe("Closed")
    const next = await openBucketStore(store, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("ends the scrub in the background", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const scrub = { intervalMs: 1000, tiers: ["tier2" as const] }
    const { manager } = await filledRoot(store, {}, { scrub, closeTimeoutMs: 60_000 })
    let hanging = 0
    store.script = ({ kind }) => {
      if (kind !== "get" || hanging > 0) return undefined
      hanging++
      return "hang"
    }
    await until("it reads", () => hanging > 0)
    await manager.close()
    const requests = requestsOf(store)
    await someTurns()
    expect(requestsOf(store)).toBe(requests)
  })
})

describe("close while a bucket moves", () => {
  test("waits for HEAD of the new bucket when that of the old one says that the root has left", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, disk } = await filledRoot(before, {}, { closeTimeoutMs: 60_000 })
    const { store: slow, gate } = gatedStore(after)
    const moving = watched(manager.moveBucket({ to: slow }))
    await until("the new HEAD is on its way", () => gate.waiting > 0)
    expect((await headIn(before))?.isMoved).toBe(true)
    const closing = watched(manager.close())
    await someTurns()
    expect([moving.end, closing.end]).toEqual([undefined, undefined])
    gate.isClosed = false
    await until("it is closed", () => closing.end !== undefined)
    expect([moving.end, closing.end]).toEqual(["Closed", "ok"])
    expect((await headIn(before))?.isMoved).toBe(true)
    expect((await headIn(after))?.isMoved).toBe(undefined)
    const next = await openBucketStore(after, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("stays in the old bucket when that has not been told yet", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, disk } = await filledRoot(before, {}, { closeTimeoutMs: 60_000 })
    let hanging = 0
    after.script = ({ kind, key }) => {
      if (kind !== "put" || !key.includes("/manifest/")) return undefined
      hanging++
      return "hang"
    }
    const moving = watched(manager.moveBucket({ to: after }))
    await until("files of the manifest are brought up", () => hanging > 0)
    await manager.close()
    await someTurns()
    expect(moving.end).toBe("Closed")
    expect((await headIn(before))?.isMoved).toBe(undefined)
    expect(await headIn(after)).toBe(undefined)
    const next = await openBucketStore(before, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("cuts it off when there is no time left, and says nothing more to either bucket", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, disk } = await filledRoot(before, {}, { closeTimeoutMs: 1000 })
    const { store: slow, gate } = gatedStore(after)
    const moving = watched(manager.moveBucket({ to: slow }))
    await until("the new HEAD is on its way", () => gate.waiting > 0)
    const puts = before.counts.put.requests
    await manager.close()
    await someTurns()
    expect(moving.end).toBe("Closed")
    gate.isClosed = false
    await someTurns()
    // The new one may get its HEAD late: the old one must not say that the root is there.
    expect([before.counts.put.requests, (await headIn(before))?.isMoved]).toEqual([puts, true])
    expect(await headIn(after)).toBe(undefined)
    expect((await failure(openBucketStore(before, { disk })))._tag).toBe("Fenced")
    const next = await openBucketStore(after, { disk })
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("does not wait for a HEAD that the old bucket does not answer before the move has begun", async () => {
    const [before, after] = [namedStore("old"), namedStore("new")]
    const { manager, stream } = await filledRoot(before, {}, { closeTimeoutMs: 2000 })
    let hanging = 0
    before.script = ({ kind, key }) => {
      if (kind !== "put" || key !== "HEAD") return undefined
      hanging++
      return "hang"
    }
    await appendTexts(stream, 30, 40)
    await stream.seal()
    await until("a HEAD is put", () => hanging > 0)
    const moving = watched(manager.moveBucket({ to: after }))
    await someTurns()
    await manager.close()
    await someTurns()
    expect(moving.end).toBe("Closed")
    expect(await headIn(after)).toBe(undefined)
  })
})
