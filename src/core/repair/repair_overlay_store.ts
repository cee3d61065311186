/** An object store that can be changed without changing anything: puts and removals stay in memory, everything else is asked of the store. */
import * as Effect from "effect/Effect"
import type { ObjectStore } from "../../port/object_store.ts"
import { type StoreError, storeError } from "../../port/store_error.ts"

/** How an object would be different. */
export interface StoreChange {
  readonly key: string
  readonly change: "put" | "removed"
}

/** The store as it would be, and what is different in it. Bytes of what would be put are not kept: nobody reads them back. */
export const overlayStore = (
  store: ObjectStore,
): { readonly store: ObjectStore; readonly changes: () => ReadonlyArray<StoreChange> } => {
  const changed = new Map<string, "put" | "removed">()
  const missing = (request: string, key: string): StoreError => storeError("NotFound", request, key, "NoSuchKey")
  const overlaid: ObjectStore = {
    kind: store.kind,
    place: store.place,
    put: (key, body, options) =>
      Effect.gen(function* () {
        const isThere =
          changed.get(key) === "put" || (changed.get(key) !== "removed" && (yield* store.head(key)) !== undefined)
        const isRefused = options?.condition !== undefined && "absent" in options.condition && isThere
        if (isRefused) return yield* Effect.fail(storeError("PreconditionFailed", "put", key, "EEXIST"))
        changed.set(key, "put")
        return { etag: `planned-${body.lengthBytes}` }
      }),
    get: (key, range) => (changed.has(key) ? Effect.fail(missing("get", key)) : store.get(key, range)),
    head: (key) => (changed.has(key) ? Effect.succeed(undefined) : store.head(key)),
    remove: (key) => Effect.sync(() => void changed.set(key, "removed")),
    list: (prefix, options) =>
      Effect.map(store.list(prefix, options), (page) => ({
        ...page,
        objects: page.objects.filter(({ key }) => changed.get(key) !== "removed"),
      })),
  }
  const changes = (): ReadonlyArray<StoreChange> => [...changed].map(([key, change]) => ({ key, change }))
  return { store: overlaid, changes }
}
