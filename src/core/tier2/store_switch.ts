/** The object store of a manager, which may become another one while the manager is open. A request goes on in the store that it was begun in. */
import type { ObjectStore } from "../../port/object_store.ts"

export class StoreSwitch implements ObjectStore {
  #store: ObjectStore

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** The store that requests go to now. */
  get current(): ObjectStore {
    return this.#store
  }

  /** Requests go to `store` from here on. */
  use(store: ObjectStore): void {
    this.#store = store
  }

  get kind(): string {
    return this.#store.kind
  }

  get place(): string {
    return this.#store.place
  }

  get removeMany(): ObjectStore["removeMany"] {
    const store = this.#store
    return store.removeMany === undefined ? undefined : (keys) => store.removeMany!(keys)
  }

  put: ObjectStore["put"] = (key, body, options) => this.#store.put(key, body, options)

  get: ObjectStore["get"] = (key, range) => this.#store.get(key, range)

  head: ObjectStore["head"] = (key) => this.#store.head(key)

  remove: ObjectStore["remove"] = (key) => this.#store.remove(key)

  list: ObjectStore["list"] = (prefix, options) => this.#store.list(prefix, options)
}
