// What a store of somebody's own may answer, and what becomes of anything else.

import { describe, expect, test } from "bun:test"
import { AofManager, memoryStore } from "bop-aof/memory"
import * as Effect from "effect/Effect"
import { checkedStore } from "../../src/object_store/checked_store.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { StoreError, storeError } from "../../src/port/store_error.ts"
import { failure } from "../support/api.ts"
import { bodyOf, describeObjectStore } from "../support/object_store_conformance.ts"

describeObjectStore("a checked store", () => ({ store: checkedStore(makeMemoryStore()) }))

const methods = ["put", "get", "head", "remove", "removeMany", "list"] as const
type Method = (typeof methods)[number]

/** A store one method of which gives `answer()` as it is. */
const storeWith = (method: Method, answer: () => unknown): ObjectStore => {
  const inner = makeMemoryStore()
  const store: Record<string, unknown> = {
    kind: "own",
    place: "own store",
    removeMany: () => Effect.succeed(new Map()),
  }
  for (const name of ["put", "get", "head", "remove", "list"] as const) store[name] = inner[name]
  return checkedStore({ ...store, [method]: answer } as unknown as ObjectStore)
}

const ask = (store: ObjectStore, method: Method): Effect.Effect<unknown, unknown> => {
  if (method === "put") return store.put("a", bodyOf(Uint8Array.of(1)))
  if (method === "removeMany") return store.removeMany!(["a", "b"])
  return (store[method] as (key: string) => Effect.Effect<unknown, unknown>)("a")
}

const errorOf = (method: Method, answer: () => unknown): Promise<unknown> =>
  Effect.runPromise(Effect.flip(ask(storeWith(method, answer), method)))

const throwing = (error: unknown) => (): never => {
  throw error
}

const wrongs: ReadonlyArray<readonly [string, () => unknown, string]> = [
  ["throws", throwing(new TypeError("boom")), "it threw TypeError: boom"],
  ["throws a text", throwing("boom"), 'it threw "boom"'],
  ["dies", () => Effect.die(new Error("dead")), "it died of Error: dead"],
  ["gives undefined", () => undefined, "it gave undefined, expected was an Effect"],
  ["gives null", () => null, "it gave null, expected was an Effect"],
  ["gives a promise", () => Promise.resolve({ etag: "x" }), "it gave Promise, expected was an Effect"],
  ["fails with something else", () => Effect.fail(new Error("plain")), "it failed with Error: plain"],
  ["fails with nothing", () => Effect.fail(undefined), "it failed with undefined"],
]

describe.each(methods.map((method) => [method] as const))("%s of a store", (method: Method) => {
  test.each(wrongs)("that %s is Invalid, and says so", async (_: string, answer: () => unknown, what: string) => {
    const error = await errorOf(method, answer)
    expect(error).toBeInstanceOf(StoreError)
    expect(error).toMatchObject({ kind: "Invalid", code: "BadStore", retryable: false })
    expect((error as StoreError).message).toContain(`${method} of object "a" failed: Invalid (BadStore), ${what}`)
  })

  test("hands on the errors of the port", async () => {
    const denied = storeError("Denied", method, "a", "AccessDenied")
    expect(await errorOf(method, () => Effect.fail(denied))).toBe(denied)
  })

  test("that answers with something else is Invalid", async () => {
    const answers: ReadonlyArray<unknown> = method === "remove" ? [] : ["a text", 7, [], {}, { etag: "", objects: 1 }]
    for (const answer of answers) {
      expect(await errorOf(method, () => Effect.succeed(answer))).toMatchObject({ kind: "Invalid", code: "BadStore" })
    }
  })
})

describe("what an answer may leave out", () => {
  test("metadata of head; null there is no object, and null is no next page", async () => {
    const info = { key: "a", etag: "x", lengthBytes: 1 }
    const headOf = (answer: unknown) => Effect.runPromise(storeWith("head", () => Effect.succeed(answer)).head("a"))
    expect([await headOf(info), await headOf(null), await headOf(undefined)]).toEqual([
      { ...info, metadata: {} },
      undefined,
      undefined,
    ])
    const page = await Effect.runPromise(
      storeWith("list", () => Effect.succeed({ objects: [{ key: "a", lengthBytes: 1 }], next: null })).list(""),
    )
    expect(page).toEqual({ objects: [{ key: "a", lengthBytes: 1 }], next: undefined })
  })
})

test.each([["b"], [""], [7]])("a next page %p is none: Invalid, and no listing without end", async (next: unknown) => {
  const store = storeWith("list", () => Effect.succeed({ objects: [], next }))
  const error = await Effect.runPromise(Effect.flip(store.list("", { after: "b" })))
  expect(error).toMatchObject({ kind: "Invalid", code: "BadStore" })
})

test("a manager says what its store did wrong", async () => {
  const inner = memoryStore()
  const store = { kind: "own", place: "own store" } as Record<string, unknown>
  for (const name of ["put", "get", "head", "remove", "list"] as const) store[name] = inner[name]
  store["list"] = () => Promise.resolve([])
  const manager = await AofManager.open({ tier2: { store: store as unknown as ObjectStore, headIntervalMs: 0 } })
  await manager.settled()
  const error = await failure(manager.reconcile({ plan: true }))
  expect(error._tag).toBe("Unavailable")
  expect(error.message).toContain("it gave Promise, expected was an Effect")
  await manager.close()
})
