// Object stores behind faults, with a caller that tries again; and the faults themselves.

import { expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { InvalidArgument } from "../../src/model/errors.ts"
import { makeDirectoryStore } from "../../src/object_store/directory.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import type { StoreError } from "../../src/port/store_error.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { bodyOf, describeObjectStore, outcomeOf, textOf } from "../support/object_store_conformance.ts"

const run = Effect.runPromise

/** Faults that leave nothing behind, so that trying again gives what one try would have given. */
const rates: Partial<Record<StoreFault, number>> = { throttle: 0.1, internal: 0.1, timeoutBefore: 0.1 }

const persistent = (store: ObjectStore): ObjectStore => {
  const again = <A>(request: Effect.Effect<A, StoreError | InvalidArgument>): typeof request =>
    Effect.retry(request, { times: 100, while: (error) => error.retryable })
  return {
    kind: store.kind,
    place: store.place,
    put: (...request) => again(store.put(...request)),
    get: (...request) => again(store.get(...request)),
    head: (...request) => again(store.head(...request)),
    remove: (...request) => again(store.remove(...request)),
    list: (...request) => again(store.list(...request)),
  }
}

describeObjectStore("a memory store behind faults", () => ({
  store: persistent(new FaultyObjectStore(makeMemoryStore(), { rates, seed: 3 })),
}))

describeObjectStore("a directory store behind faults", async () => {
  const scope = Scope.makeUnsafe()
  const disk = new MemoryDisk()
  const services = disk.services()
  const [directory, lock] = [Context.get(services, Directory), Context.get(services, RootLock)]
  const store = await run(Scope.provide(makeDirectoryStore({ directory, lock, path: "/store" }), scope))
  const faulty = new FaultyObjectStore(store, { rates, seed: 4 })
  return { store: persistent(faulty), close: () => run(Scope.close(scope, Exit.void)) }
})

const make = (...faults: ReadonlyArray<StoreFault | undefined>): FaultyObjectStore =>
  new FaultyObjectStore(makeMemoryStore(), { script: ({ sequence }) => faults[sequence - 1], lateRequests: 2 })

const seenAfter = async (fault: StoreFault): Promise<readonly [string, boolean]> => {
  const store = make(fault)
  const outcome = await outcomeOf(store.put("a", bodyOf("hello")))
  return [outcome, (await run(store.head("a"))) !== undefined]
}

test.each([
  ["throttle", "Throttled", false],
  ["internal", "Internal", false],
  ["denied", "Denied", false],
  ["timeoutBefore", "Timeout", false],
  ["timeoutAfter", "Timeout", true],
  ["lostAnswer", "Network", true],
  ["lateWrite", "Timeout", false],
  ["partialBody", "Network", false],
  ["damagedBody", "ok", true],
] as const)(
  "a put with %s ends as %s, and that it is there is %s",
  async (fault: StoreFault, outcome: string, isThere: boolean) => {
    expect(await seenAfter(fault)).toEqual([outcome, isThere])
  },
)

test("a late write happens some requests later, or when it is asked for", async () => {
  const store = make("lateWrite", undefined, undefined, "lateWrite")
  await outcomeOf(store.put("a", bodyOf("hello")))
  expect(await run(store.head("a"))).toBe(undefined)
  expect(textOf(await run(store.get("a")))).toBe("hello")
  await outcomeOf(store.remove("a"))
  expect((await run(store.head("a")))?.lengthBytes).toBe(5)
  await run(store.settle)
  expect(await run(store.head("a"))).toBe(undefined)
})

test("bodies of gets are cut, damaged and not found, each only once", async () => {
  const store = make(undefined, "partialBody", "damagedBody", "notFound", "notFound")
  await run(store.put("a", bodyOf("hello")))
  expect(textOf(await run(store.get("a")))).toBe("he")
  expect(textOf(await run(store.get("a")))).toBe("hemlo")
  expect(await outcomeOf(store.get("a"))).toBe("NotFound")
  expect(await run(store.head("a"))).toBe(undefined)
  expect(textOf(await run(store.get("a")))).toBe("hello")
  expect(store.counts.get).toEqual({ requests: 4, faults: 3, bytes: 12 })
  expect(store.counts.put).toEqual({ requests: 1, faults: 0, bytes: 5 })
})

test("a store that is down does nothing until told otherwise", async () => {
  const store = make()
  store.down = "Network"
  for (const request of [
    store.put("a", bodyOf("x")),
    store.get("a"),
    store.head("a"),
    store.remove("a"),
    store.list(""),
  ]) {
    expect(await outcomeOf(request)).toBe("Network")
  }
  store.down = undefined
  expect(await run(store.head("a"))).toBe(undefined)
})

test("the same seed gives the same faults, about as often as the rates say", async () => {
  const outcomes = async (seed: number): Promise<string> => {
    const store = new FaultyObjectStore(makeMemoryStore(), { seed, rates: { throttle: 0.2, denied: 0.1 } })
    const found: Array<string> = []
    for (let index = 0; index < 500; index++) found.push(await outcomeOf(store.head("a")))
    return found.join()
  }
  const first = await outcomes(1)
  expect(await outcomes(1)).toBe(first)
  expect(await outcomes(2)).not.toBe(first)
  const count = (name: string): number => first.split(",").filter((each) => each === name).length
  expect(Math.abs(count("Throttled") - 100)).toBeLessThan(40)
  expect(Math.abs(count("Denied") - 50)).toBeLessThan(30)
})

test("a stale listing gives what the same one gave before, at first nothing", async () => {
  const store = make()
  await run(store.put("a", bodyOf("x")))
  let isStale = true
  store.script = () => (isStale ? "staleList" : undefined)
  const keys = async (): Promise<ReadonlyArray<string>> => (await run(store.list(""))).objects.map(({ key }) => key)
  expect(await keys()).toEqual([])
  isStale = false
  expect(await keys()).toEqual(["a"])
  await run(store.put("b", bodyOf("y")))
  isStale = true
  expect(await keys()).toEqual(["a"])
  isStale = false
  expect(await keys()).toEqual(["a", "b"])
})
