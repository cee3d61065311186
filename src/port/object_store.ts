/**
 * Tier 2: whole objects under keys. An object appears whole or not at all and does not change under its key but by a `put`. Keys
 * are `/`-separated parts of `A-Z a-z 0-9 . _ -`, no part empty or starting with a dot, at most 1 024 bytes in all; anything else is
 * `InvalidArgument`. Calls are single tries: who calls retries. Interrupting a call may leave its effect done or not done, never half done.
 */
import type * as Effect from "effect/Effect"
import type { InvalidArgument } from "../model/errors.ts"
import type { StoreError } from "./store_error.ts"

/** What is to be stored, pulled piece by piece, so that a large object never lies in memory whole. */
export interface ObjectBody {
  /** Length of the object. */
  readonly lengthBytes: number
  /**
   * The bytes `[offset, offset + length)`; the store only reads them, and does not keep them after the put. `into` is memory of at least `length`
   * bytes that the store lends: the bytes may be put at its start and answered as a view of it, which saves new memory for each piece.
   */
  readonly read: (offset: number, length: number, into?: Uint8Array) => Effect.Effect<Uint8Array, StoreError>
}

/** How an object is put. */
export interface PutOptions {
  /** `absent`: only when no object is there. An etag: only when the object there has it. */
  readonly condition?: { readonly absent: true } | { readonly etag: string } | undefined
  /**
   * The key names the content, so that whoever puts under it puts the same bytes. A store that cannot put a large object on a condition
   * in one step may then look first whether it is there, and put it after.
   */
  readonly isContentNamed?: boolean | undefined
  /** CRC-64/NVME of the object, sent along where the store takes it. */
  readonly checksum64?: bigint | undefined
  /** Small text values kept with the object; keys of `a-z 0-9 -`. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

/** What a store says about an object. */
export interface ObjectInfo {
  /** Its key. */
  readonly key: string
  /** Changes whenever the content does; opaque. */
  readonly etag: string
  /** Its length. */
  readonly lengthBytes: number
  /** As it was put. */
  readonly metadata: Readonly<Record<string, string>>
}

/** One page of a listing. */
export interface ObjectPage {
  /** In order of key. */
  readonly objects: ReadonlyArray<Pick<ObjectInfo, "key" | "lengthBytes">>
  /** Give it as `after` to get the next page: never the same twice; undefined on the last one. */
  readonly next: string | undefined
}

/** A range of an object. */
export interface ObjectRange {
  /** At least 0. */
  readonly offset: number
  /** At least 1; what lies behind the end is left out. */
  readonly length: number
  /**
   * Memory of at least `length` bytes that the caller lends: a store may put the bytes at its start and answer with a view of it, which
   * saves new memory for each of many large answers. Nothing is written to it once the request has ended, however it ended.
   */
  readonly into?: Uint8Array | undefined
}

/** An object store. */
export interface ObjectStore {
  /** `memory`, `directory` or `s3`. */
  readonly kind: string
  /** Where the objects are, for people: no secrets. */
  readonly place: string
  /** Stores an object. `PreconditionFailed` when the condition does not hold; nothing changed then. */
  readonly put: (
    key: string,
    body: ObjectBody,
    options?: PutOptions,
  ) => Effect.Effect<{ readonly etag: string }, StoreError | InvalidArgument>
  /** Bytes of an object, all of it or a range; at most what `length` says, in a buffer of the caller's own, or in `into`. `NotFound` when there is none. */
  readonly get: (key: string, range?: ObjectRange) => Effect.Effect<Uint8Array, StoreError | InvalidArgument>
  /** What is known of an object; undefined when there is none. */
  readonly head: (key: string) => Effect.Effect<ObjectInfo | undefined, StoreError | InvalidArgument>
  /** Removes an object; nothing happens when there is none. */
  readonly remove: (key: string) => Effect.Effect<void, StoreError | InvalidArgument>
  /**
   * Removes up to 1 000 objects with one request, where a store can do so; gives those that are still there, with why. Fails when nothing is known.
   */
  readonly removeMany?:
    | ((keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, StoreError>, StoreError | InvalidArgument>)
    | undefined
  /** Objects whose keys start with `prefix`, in order of key, after the key `after`, at most `limit` (1 to 1 000, default 1 000). */
  readonly list: (
    prefix: string,
    options?: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ) => Effect.Effect<ObjectPage, StoreError | InvalidArgument>
}
