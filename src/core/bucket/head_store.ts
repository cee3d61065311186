/**
 * HEAD and the files of the manifest in an object store: read, verified, and replaced on the condition that nobody else has. An answer that
 * was lost is asked for: what is there says whether the put was carried out.
 */
import * as Effect from "effect/Effect"
import { crc64 } from "../../format/checksum.ts"
import {
  type DecodedHead,
  decodeHead,
  encodeHead,
  type HeadFile,
  type HeadObject,
  headBytesMax,
  headFeatureMoved,
  headKey,
} from "../../format/head_object.ts"
import { formatVersion } from "../../format/root_file.ts"
import { type AofError, corrupt, type InvalidArgument, invalidArgument } from "../../model/errors.ts"
import type { Tier2RequestKind } from "../../model/tier_metrics.ts"
import type { Tier2Config } from "../../model/tier2_config.ts"
import type { ObjectBody, ObjectStore, PutOptions } from "../../port/object_store.ts"
import { StoreError, storeError } from "../../port/store_error.ts"
import { retried } from "../flow/retry.ts"
import { aofErrorOf, isRetried } from "../tier2/tier2_error.ts"

/** A HEAD as it was found. */
export interface FoundHead {
  readonly head: DecodedHead
  readonly etag: string
  /** Where the root has moved, for people; undefined when it has not, or the store does not keep it. */
  readonly movedTo?: string | undefined
}

/** How a replacement ended. */
export type Replaced =
  | { readonly isOurs: true; readonly etag: string }
  | { readonly isOurs: false; readonly found: FoundHead | undefined }

/** What a `HeadStore` is made of. */
export interface HeadStoreOptions {
  readonly store: ObjectStore
  readonly config: Tier2Config
  readonly random32: () => number
  /** Sends a request, and keeps it back while the store does not answer. */
  readonly send: <A, E>(
    kind: Tier2RequestKind,
    key: string,
    request: Effect.Effect<A, E>,
  ) => Effect.Effect<A, E | StoreError>
}

type Failure = StoreError | InvalidArgument | AofError

/** How often a HEAD is read that changes under the reader. */
const readsMax = 8
/** Longest try when an open waits for it and could go on without. */
const lookTimeoutMsMax = 5000

export class HeadStore {
  readonly #options: HeadStoreOptions

  constructor(options: HeadStoreOptions) {
    this.#options = options
  }

  /** Where the store is, for people. */
  get place(): string {
    return this.#options.store.place
  }

  /** HEAD; undefined when there is none. `Corrupt` when it does not check, `InvalidArgument` when its format is newer. */
  readonly read: Effect.Effect<FoundHead | undefined, AofError> = Effect.suspend(() =>
    Effect.mapError(
      this.#retried(() => this.#readOnce(this.#options.config.requestTimeoutMs)),
      aofErrorOf,
    ),
  )

  /** Fails when the bucket itself is not there, which the answer to HEAD cannot tell from a bucket without a root. One request. */
  readonly probe: Effect.Effect<void, AofError> = Effect.suspend(() => {
    const { store, config } = this.#options
    const got = this.#retried(() => this.#timed("get", headKey, store.get(headKey), config.requestTimeoutMs))
    return Effect.catch(Effect.asVoid(Effect.mapError(got, aofErrorOf)), (error: AofError) =>
      error._tag === "NotFound" ? Effect.void : Effect.fail(error),
    )
  })

  /** The same with one try and little patience. */
  readonly look: Effect.Effect<FoundHead | undefined, AofError> = Effect.suspend(() =>
    Effect.mapError(this.#readOnce(Math.min(lookTimeoutMsMax, this.#options.config.requestTimeoutMs)), aofErrorOf),
  )

  /** The etag of HEAD, with one request; undefined when there is none. */
  readonly etag: Effect.Effect<string | undefined, AofError> = Effect.suspend(() =>
    Effect.mapError(
      this.#retried(() =>
        this.#timed("head", headKey, this.#options.store.head(headKey), this.#options.config.requestTimeoutMs),
      ),
      aofErrorOf,
    ),
  ).pipe(Effect.map((info) => info?.etag))

  /**
   * Puts a HEAD in the place of the one with `etag`, or where there is none. When that did not work, what is there now is the answer. Fails
   * when nothing could be found out: then it may be there or not. `movedTo` is noted with it.
   */
  readonly replace = (
    head: HeadObject,
    etag: string | undefined,
    movedTo?: string,
  ): Effect.Effect<Replaced, AofError> => {
    const bytes = encodeHead(head)
    const condition: PutOptions["condition"] = etag === undefined ? { absent: true } : { etag }
    const once: Effect.Effect<Replaced, Failure> = Effect.matchEffect(
      this.#put(headKey, bytes, { condition, checksum64: crc64(bytes), metadata: metadataOf(movedTo) }),
      {
        onSuccess: (put): Effect.Effect<Replaced, Failure> => Effect.succeed({ isOurs: true, etag: put.etag }),
        onFailure: (error): Effect.Effect<Replaced, Failure> => {
          const isUnknown = error instanceof StoreError && (error.retryable || error.kind === "PreconditionFailed")
          if (!isUnknown) return Effect.fail(error)
          return Effect.flatMap(this.#readOnce(this.#options.config.requestTimeoutMs), (found) => {
            if (found !== undefined && isSameHead(found.head, head))
              return Effect.succeed<Replaced>({ isOurs: true, etag: found.etag })
            // It is as it was: the put has not come, or not yet, and comes to nothing when another one is there first.
            const isUnchanged = found?.etag === etag
            if (isUnchanged)
              return Effect.fail(error.retryable ? error : storeError("Internal", "put", headKey, error.code))
            return Effect.succeed<Replaced>({ isOurs: false, found })
          })
        },
      },
    )
    return Effect.mapError(
      this.#retried(() => once),
      aofErrorOf,
    )
  }

  /** Stores a file of the manifest under a key that names its content, or finds it there. */
  readonly putFile = (file: HeadFile, bytes: Uint8Array): Effect.Effect<void, AofError> => {
    const { key, checksum64 } = file
    const options = { condition: { absent: true } as const, isContentNamed: true, checksum64 }
    const once = Effect.catch(
      Effect.asVoid(this.#put(key, bytes, options)),
      (error: Failure): Effect.Effect<void, Failure> => {
        if (!(error instanceof StoreError) || error.kind !== "PreconditionFailed") return Effect.fail(error)
        return Effect.asVoid(this.#getOnce(file))
      },
    )
    return Effect.mapError(
      this.#retried(() => once),
      aofErrorOf,
    )
  }

  /** A file of the manifest, verified. `NotFound`, or `Corrupt` when it is not what HEAD says. */
  readonly getFile = (file: HeadFile): Effect.Effect<Uint8Array, AofError> =>
    Effect.mapError(
      this.#retried(() => this.#getOnce(file)),
      aofErrorOf,
    )

  /** Puts a small object in the place of any that is there. */
  readonly putSmall = (key: string, bytes: Uint8Array): Effect.Effect<void, AofError> =>
    Effect.mapError(
      this.#retried(() => Effect.asVoid(this.#put(key, bytes, {}))),
      aofErrorOf,
    )

  /** Removes a small object, with one try that takes `timeoutMs` at most. */
  readonly removeSmall = (key: string, timeoutMs: number): Effect.Effect<void, AofError> => {
    const { store, config } = this.#options
    const waitMs = Math.min(timeoutMs, config.requestTimeoutMs)
    return Effect.mapError(this.#timed("remove", key, store.remove(key), waitMs), aofErrorOf)
  }

  #getOnce(file: HeadFile): Effect.Effect<Uint8Array, Failure> {
    const { key, fileBytes, checksum64 } = file
    const { store, config } = this.#options
    return Effect.flatMap(
      this.#timed("get", key, store.get(key), config.requestTimeoutMs),
      (bytes): Effect.Effect<Uint8Array, Failure> => {
        if (bytes.length < fileBytes) return Effect.fail(storeError("Network", "get", key, "ShortBody"))
        return bytes.length === fileBytes && crc64(bytes) === checksum64
          ? Effect.succeed(bytes)
          : Effect.fail(corrupt(`object ${key}`, "it is not what HEAD says"))
      },
    )
  }

  /**
   * The etag first: then the content belongs to it or to a later one, and what is put on the condition of an older etag comes to nothing.
   * Here they are read until they belong together.
   */
  #readOnce(timeoutMs: number): Effect.Effect<FoundHead | undefined, Failure> {
    const { store } = this.#options
    const head = this.#timed("head", headKey, store.head(headKey), timeoutMs)
    const get = Effect.map(
      this.#timed("get", headKey, store.get(headKey, { offset: 0, length: headBytesMax }), timeoutMs),
      (bytes): Uint8Array | undefined => bytes,
    )
    const content = Effect.catch(get, (error: Failure) =>
      error instanceof StoreError && error.kind === "NotFound" ? Effect.succeed(undefined) : Effect.fail(error),
    )
    return Effect.gen(function* () {
      for (let reads = 1; ; reads++) {
        const info = yield* head
        if (info === undefined) return undefined
        const bytes = yield* content
        if (bytes !== undefined && bytes.length === info.lengthBytes) {
          const decoded = decodeHead(bytes)
          if (decoded !== undefined)
            return { head: yield* checked(decoded), etag: info.etag, movedTo: info.metadata[movedToName] }
        }
        // It was replaced in between, or it is damaged.
        if (reads === readsMax) return yield* Effect.fail(corrupt(`object ${headKey}`, "it does not check"))
      }
    })
  }

  #put(key: string, bytes: Uint8Array, options: PutOptions): Effect.Effect<{ readonly etag: string }, Failure> {
    const { store, config } = this.#options
    return this.#timed("put", key, store.put(key, bodyOf(bytes), options), config.requestTimeoutMs)
  }

  #timed<A, E>(
    kind: Tier2RequestKind,
    key: string,
    request: Effect.Effect<A, E>,
    timeoutMs: number,
  ): Effect.Effect<A, E | StoreError> {
    const timed = Effect.timeoutOrElse(request, {
      duration: timeoutMs,
      orElse: () => Effect.fail(storeError("Timeout", kind, key, "ETIMEDOUT")),
    })
    return this.#options.send(kind, key, timed)
  }

  #retried<A>(run: () => Effect.Effect<A, Failure>): Effect.Effect<A, Failure> {
    const { config, random32 } = this.#options
    return retried<A, Failure>(run, { policy: config.retry, random32, isRetried, onRetry: () => {} })
  }
}

/** True when two HEADs have one name. */
export const isSameHead = (one: HeadObject, other: HeadObject): boolean =>
  one.epoch === other.epoch && one.nonce.every((byte, at) => byte === other.nonce[at])

const checked = (head: DecodedHead): Effect.Effect<DecodedHead, InvalidArgument> => {
  if (head.formatVersion > formatVersion)
    return Effect.fail(invalidArgument("format version of the root in the bucket", head.formatVersion, formatVersion))
  if ((head.featuresIncompatible & ~headFeatureMoved) !== 0) {
    const what = "feature bits of the root in the bucket"
    return Effect.fail(invalidArgument(what, head.featuresIncompatible, headFeatureMoved))
  }
  return Effect.succeed(head)
}

const movedToName = "moved-to"

/** It travels as a header. */
const metadataOf = (movedTo: string | undefined): PutOptions["metadata"] =>
  movedTo === undefined ? undefined : { [movedToName]: movedTo.replace(/[^ -~]/g, "?").slice(0, 1024) }

/** Bytes in memory as the body of an object. */
const bodyOf = (bytes: Uint8Array): ObjectBody => ({
  lengthBytes: bytes.length,
  read: (offset, length) => Effect.succeed(bytes.subarray(offset, offset + length)),
})
