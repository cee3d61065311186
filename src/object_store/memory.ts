/**
 * An object store in memory: for tests, and for stores that need not outlive the process. An object is put in place in one step,
 * after its whole body was taken in.
 */
import * as Effect from "effect/Effect"
import { crc64Start } from "../format/checksum.ts"
import type { InvalidArgument } from "../model/errors.ts"
import type { ObjectBody, ObjectPage, ObjectStore, PutOptions } from "../port/object_store.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import {
  compareChecksum,
  etagOf,
  listLimitMax,
  pullPiece,
  refuseKey,
  refuseList,
  refusePut,
  refuseRange,
} from "./object_checks.ts"

interface StoredObject {
  readonly bytes: Uint8Array
  readonly etag: string
  readonly metadata: Readonly<Record<string, string>>
}

/** Makes an empty store that lives as long as it is held. */
export const makeMemoryStore = (): ObjectStore => new MemoryStore()

class MemoryStore implements ObjectStore {
  readonly kind = "memory"
  readonly place = "memory"
  readonly #objects: Map<string, StoredObject> = new Map()

  put(
    key: string,
    body: ObjectBody,
    options: PutOptions = {},
  ): Effect.Effect<{ readonly etag: string }, StoreError | InvalidArgument> {
    return Effect.suspend((): Effect.Effect<{ readonly etag: string }, StoreError | InvalidArgument> => {
      const refused = refusePut(key, body, options)
      if (refused !== undefined) return Effect.fail(refused)
      return Effect.flatMap(takeIn(key, body, options), (object) =>
        Effect.suspend(() => {
          if (!this.#holds(key, options.condition))
            return Effect.fail(storeError("PreconditionFailed", "put", key, "412"))
          this.#objects.set(key, object)
          return Effect.succeed({ etag: object.etag })
        }),
      )
    })
  }

  get: ObjectStore["get"] = (key, range) =>
    Effect.suspend((): Effect.Effect<Uint8Array, StoreError | InvalidArgument> => {
      const refused = refuseKey(key) ?? refuseRange(range)
      if (refused !== undefined) return Effect.fail(refused)
      const object = this.#objects.get(key)
      if (object === undefined) return Effect.fail(storeError("NotFound", "get", key, "404"))
      const { offset, length } = range ?? { offset: 0, length: object.bytes.length }
      return Effect.succeed(object.bytes.slice(offset, offset + length))
    })

  head: ObjectStore["head"] = (key) =>
    Effect.suspend(() => {
      const refused = refuseKey(key)
      if (refused !== undefined) return Effect.fail(refused)
      const object = this.#objects.get(key)
      if (object === undefined) return Effect.succeed(undefined)
      const { bytes, etag, metadata } = object
      return Effect.succeed({ key, etag, lengthBytes: bytes.length, metadata: { ...metadata } })
    })

  remove: ObjectStore["remove"] = (key) =>
    Effect.suspend(() => {
      const refused = refuseKey(key)
      if (refused !== undefined) return Effect.fail(refused)
      this.#objects.delete(key)
      return Effect.void
    })

  list: ObjectStore["list"] = (prefix, { after, limit = listLimitMax } = {}) =>
    Effect.suspend((): Effect.Effect<ObjectPage, InvalidArgument> => {
      const refused = refuseList(prefix, after, limit)
      if (refused !== undefined) return Effect.fail(refused)
      const keys = [...this.#objects.keys()].filter(
        (key) => key.startsWith(prefix) && (after === undefined || key > after),
      )
      // Keys are ASCII, so that the order of UTF-16 units is that of bytes.
      const page = keys.sort().slice(0, limit)
      return Effect.succeed({
        objects: page.map((key) => ({ key, lengthBytes: this.#objects.get(key)?.bytes.length ?? 0 })),
        next: keys.length > limit ? page.at(-1) : undefined,
      })
    })

  #holds(key: string, condition: PutOptions["condition"]): boolean {
    if (condition === undefined) return true
    const found = this.#objects.get(key)
    return "absent" in condition ? found === undefined : found?.etag === condition.etag
  }
}

/** The whole body, piece by piece with a turn of the event loop between two. */
const takeIn = Effect.fnUntraced(function* (
  key: string,
  body: ObjectBody,
  options: PutOptions,
): Effect.fn.Return<StoredObject, StoreError> {
  const { lengthBytes } = body
  const checksum = crc64Start()
  let bytes = new Uint8Array(0)
  for (let offset = 0; offset < lengthBytes; ) {
    const piece = yield* pullPiece(key, body, offset)
    if (offset + piece.length > bytes.length)
      bytes = grown(bytes, { used: offset, needed: offset + piece.length, lengthBytes })
    bytes.set(piece, offset)
    checksum.update(piece)
    offset += piece.length
    yield* Effect.yieldNow
  }
  const checksum64 = checksum.digest()
  yield* compareChecksum(key, options.checksum64, checksum64)
  return { bytes, etag: etagOf(lengthBytes, checksum64), metadata: { ...options.metadata } }
})

/** Room that grows with what has come, so that a length that was only claimed takes no memory. */
const grown = (
  bytes: Uint8Array<ArrayBuffer>,
  size: { readonly used: number; readonly needed: number; readonly lengthBytes: number },
): Uint8Array<ArrayBuffer> => {
  const next = new Uint8Array(Math.min(size.lengthBytes, Math.max(size.needed, bytes.length * 2)))
  next.set(bytes.subarray(0, size.used))
  return next
}
