/** From what the options name as Tier 2 to the object store that the core works with. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { attempt } from "../core/flow/attempt.ts"
import type { AofManagerConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import { checkedStore } from "../object_store/checked_store.ts"
import { makeDirectoryStore } from "../object_store/directory.ts"
import { makeMemoryStore } from "../object_store/memory.ts"
import { absolutePath, Directory } from "../port/directory.ts"
import type { ObjectStore } from "../port/object_store.ts"
import { RootLock } from "../port/root_lock.ts"

/** The store of a manager, checked where it was given; undefined when it has no Tier 2. */
export const openStore = (
  config: AofManagerConfig,
): Effect.Effect<ObjectStore | undefined, AofError, Directory | RootLock | Scope.Scope> => {
  const { store } = config.tier2
  if (store === undefined) return Effect.succeed(undefined)
  // What has no path was checked to be a store.
  if (!("directory" in store)) return Effect.succeed(checkedStore(store as ObjectStore))
  return Effect.gen(function* () {
    const directory = yield* Directory
    const path = yield* attempt(() => absolutePath(directory, store.directory))
    return yield* makeDirectoryStore({ directory, lock: yield* RootLock, path, place: store.directory })
  })
}

/** An object store in memory, for tests: several managers, one after the other, may use it. */
export const memoryStore = (): ObjectStore => makeMemoryStore()
