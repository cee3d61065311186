/**
 * A store that somebody else has made, with what it answers checked: whatever its methods do that the port does not allow (throw, die, answer with a promise or
 * with something else than was asked for) is a `StoreError` that names the method and what came, and is not tried again.
 */
import * as Effect from "effect/Effect"
import { InvalidArgument } from "../model/errors.ts"
import type { ObjectInfo, ObjectPage, ObjectStore } from "../port/object_store.ts"
import { StoreError } from "../port/store_error.ts"

type Failure = StoreError | InvalidArgument
type Method = "put" | "get" | "head" | "remove" | "removeMany" | "list"

/** Longest text of an answer that a message shows. */
const shownMax = 80

/** `store`, checked. */
export const checkedStore = (store: ObjectStore): ObjectStore => new CheckedStore(store)

class CheckedStore implements ObjectStore {
  readonly #store: ObjectStore

  constructor(store: ObjectStore) {
    this.#store = store
  }

  get kind(): string {
    return textOf(this.#store.kind, "user")
  }

  get place(): string {
    return textOf(this.#store.place, "a store without a place")
  }

  put: ObjectStore["put"] = (key, body, options) =>
    checked("put", key, () => this.#store.put(key, body, options), hasEtag, "an object with an etag")

  get: ObjectStore["get"] = (key, range) =>
    checked("get", key, () => this.#store.get(key, range), isBytes, "a Uint8Array")

  head: ObjectStore["head"] = (key) =>
    Effect.map(
      checked("head", key, () => this.#store.head(key), isInfoOrNone, "undefined, or etag and lengthBytes"),
      (info) => (info ? withMetadata(info) : undefined),
    )

  remove: ObjectStore["remove"] = (key) =>
    Effect.asVoid(checked("remove", key, () => this.#store.remove(key), isAny, ""))

  get removeMany(): ObjectStore["removeMany"] {
    const store = this.#store
    if (typeof store.removeMany !== "function") return undefined
    return (keys) => checked("removeMany", keys[0] ?? "", () => store.removeMany!(keys), isMap, "a Map")
  }

  list: ObjectStore["list"] = (prefix, options) => {
    const isPage = (page: unknown): boolean => isPageAfter(page, options?.after)
    const what = `objects with key and lengthBytes, and next undefined or another one than ${options?.after ?? "none"}`
    const listed = checked("list", prefix, () => this.#store.list(prefix, options), isPage, what)
    return Effect.map(listed, (page): ObjectPage => (page.next === null ? { ...page, next: undefined } : page))
  }
}

/** Runs what a method gives, and checks how it ends. */
const checked = <A>(
  method: Method,
  key: string,
  call: () => Effect.Effect<A, Failure>,
  isRight: (answer: unknown) => boolean,
  expected: string,
): Effect.Effect<A, Failure> => {
  const wrong = (what: string): Effect.Effect<never, StoreError> => Effect.fail(wrongAnswer(method, key, what))
  const begun = Effect.try({ try: call, catch: (thrown) => wrongAnswer(method, key, `it threw ${show(thrown)}`) })
  const ended = Effect.flatMap(begun, (effect: unknown): Effect.Effect<A, Failure> => {
    if (!Effect.isEffect(effect)) return wrong(`it gave ${show(effect)}, expected was an Effect`)
    return effect as Effect.Effect<A, Failure>
  })
  return ended.pipe(
    Effect.catchDefect((defect) => wrong(`it died of ${show(defect)}`)),
    Effect.catch((error: unknown): Effect.Effect<A, Failure> => {
      if (isFailure(error)) return Effect.fail(error)
      return wrong(`it failed with ${show(error)}, expected was a StoreError`)
    }),
    Effect.flatMap((answer) =>
      isRight(answer) ? Effect.succeed(answer) : wrong(`it answered ${show(answer)}, expected was ${expected}`),
    ),
  )
}

/** One of another copy of this package is as good. */
const isFailure = (error: unknown): error is Failure =>
  error instanceof StoreError ||
  error instanceof InvalidArgument ||
  (isObject(error) && error["_tag"] === "InvalidArgument") ||
  (isObject(error) && error["_tag"] === "StoreError" && typeof error["kind"] === "string")

const wrongAnswer = (method: Method, key: string, what: string): StoreError =>
  new StoreError({
    message: `${method} of object ${JSON.stringify(key)} failed: Invalid (BadStore), ${what}`,
    what: `${method} of object`,
    value: key,
    limit: "success",
    kind: "Invalid",
    code: "BadStore",
  })

const textOf = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise)

const show = (value: unknown): string => {
  if (value instanceof Error) return `${value.name}: ${value.message}`.slice(0, shownMax)
  if (typeof value === "string") return JSON.stringify(value.slice(0, shownMax))
  if (typeof value === "function") return "a function"
  if (typeof value !== "object" || value === null) return String(value)
  const name = Object.getPrototypeOf(value)?.constructor?.name
  const fields = Object.keys(value).slice(0, 5).join(", ")
  return `${typeof name === "string" ? name : "an object"}${fields === "" ? "" : ` { ${fields} }`}`.slice(0, shownMax)
}

const isAny = (): boolean => true

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

const hasEtag = (value: unknown): boolean =>
  isObject(value) && typeof value["etag"] === "string" && value["etag"] !== ""

const isBytes = (value: unknown): boolean => value instanceof Uint8Array

const isMap = (value: unknown): boolean => value instanceof Map

const isLength = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

const isInfoOrNone = (value: unknown): boolean =>
  value === undefined || value === null || (isObject(value) && hasEtag(value) && isLength(value["lengthBytes"]))

/** One who keeps no metadata may leave it out. */
const withMetadata = (info: ObjectInfo): ObjectInfo => (isObject(info.metadata) ? info : { ...info, metadata: {} })

/** A page that a listing can go on from: what comes next is not what was asked for. */
const isPageAfter = (page: unknown, after: string | undefined): boolean => {
  if (!isObject(page) || !Array.isArray(page["objects"])) return false
  const { next } = page
  const isEnd = next === undefined || next === null
  if (!isEnd && !(typeof next === "string" && next !== "" && next !== after)) return false
  return page["objects"].every((one) => isObject(one) && typeof one["key"] === "string" && isLength(one["lengthBytes"]))
}
