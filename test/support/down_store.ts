// An object store in memory that is not to be had while it is down.

import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { storeError } from "../../src/port/store_error.ts"

export const makeFaultyStore = (): ObjectStore & { isDown: boolean } => {
  const inner = memoryStore()
  const gate = <A, E>(what: string, key: string, run: () => Effect.Effect<A, E>) =>
    Effect.suspend(
      (): Effect.Effect<A, E | ReturnType<typeof storeError>> =>
        store.isDown ? Effect.fail(storeError("Network", what, key, "ECONNREFUSED")) : run(),
    )
  const store = {
    isDown: false,
    kind: "memory",
    place: "memory",
    put: (key, body, options) => gate("put", key, () => inner.put(key, body, options)),
    get: (key, range) => gate("get", key, () => inner.get(key, range)),
    head: (key) => gate("head", key, () => inner.head(key)),
    remove: (key) => gate("remove", key, () => inner.remove(key)),
    list: (prefix, options) => gate("list", prefix, () => inner.list(prefix, options)),
  } as ObjectStore & { isDown: boolean }
  return store
}
