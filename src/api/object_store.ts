/** From what the options name as Tier 2 to the object store that the core works with. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AofManagerConfig } from "../model/config.ts"
import { makeDirectoryStore } from "../object_store/directory.ts"
import { makeMemoryStore } from "../object_store/memory.ts"
import { Directory } from "../port/directory.ts"
import type { ObjectStore } from "../port/object_store.ts"
import { RootLock } from "../port/root_lock.ts"

/** The store of a manager; undefined when it has no Tier 2. */
export const openStore = (
  config: AofManagerConfig,
): Effect.Effect<ObjectStore | undefined, never, Directory | RootLock | Scope.Scope> => {
  const { store } = config.tier2
  if (store === undefined) return Effect.succeed(undefined)
  // What has no path was checked to be a store.
  if (!("directory" in store)) return Effect.succeed(store as ObjectStore)
  const path = store.directory
  return Effect.gen(function* () {
    return yield* makeDirectoryStore({ directory: yield* Directory, lock: yield* RootLock, path })
  })
}

/** An object store in memory, for tests: several managers, one after the other, may use it. */
export const memoryStore = (): ObjectStore => makeMemoryStore()
