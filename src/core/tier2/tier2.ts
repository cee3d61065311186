/**
 * The client of an object store that the rest of the log uses: whole objects up and down, verified, and small things beside them.
 *
 * Invariants: what `upload` calls stored is what the caller has, also when an answer was lost and the object found there had to be
 * compared; what `fetch` hands on is only good when it has succeeded. Two lanes bound what runs at once: transfers of segments, and
 * everything else request by request, so that a read never waits behind a transfer or behind the pause of somebody's retry.
 * Everything can be interrupted, and then leaves no permit, no timer and no request behind.
 */
import * as Effect from "effect/Effect"
import { crc64Start } from "../../format/checksum.ts"
import { type AofError, corrupt, type InvalidArgument, invalidArgument } from "../../model/errors.ts"
import type { Tier2ClientSnapshot, Tier2Operation } from "../../model/tier_metrics.ts"
import type { ObjectBody, ObjectInfo, ObjectPage, ObjectStore } from "../../port/object_store.ts"
import { StoreError, storeError } from "../../port/store_error.ts"
import { SpareBuffers } from "../flow/spare_buffers.ts"
import { aofErrorOf } from "./tier2_error.ts"
import type { Tier2Gate } from "./tier2_gate.ts"
import { Lane, Tier2Metrics } from "./tier2_metrics.ts"
import { getBytesMax, Tier2Requests, type Tier2Settings, type Tier2Subject } from "./tier2_requests.ts"

export type { Tier2Settings, Tier2Subject } from "./tier2_requests.ts"

/** An object to store. */
export interface Tier2Upload extends Tier2Subject {
  /** Read again from the start by each try, and only while the upload runs. */
  readonly body: ObjectBody
  /** CRC-64/NVME of the body. */
  readonly checksum64: bigint
  /** Etag of an object under the key whose place it takes; undefined when there is to be none. */
  readonly replaces?: string | undefined
}

/** Where fetched bytes go, in order and without gaps. */
export interface Tier2Sink {
  /** Takes bytes, which are its own only until the effect ends. */
  readonly write: (bytes: Uint8Array, position: number) => Effect.Effect<void, AofError>
}

/** An object to bring here. */
export interface Tier2Fetch extends Tier2Subject {
  readonly lengthBytes: number
  /** CRC-64/NVME that all of it has to have. */
  readonly checksum64: bigint
  readonly sink: Tier2Sink
}

/** How a range is read. */
export interface Tier2ReadOptions {
  /** True for a scan, which waits among the transfers of segments and keeps to the limit of bytes, unlike a point read. */
  readonly isBulk?: boolean | undefined
  /** Gives memory of at least so many bytes when the turn has come; the answer is a view of it then. */
  readonly into?: (() => Uint8Array) | undefined
}

/** What was stored. */
export interface Tier2Uploaded {
  readonly etag: string
  readonly lengthBytes: number
}

/** The client. What fails for good is `Unavailable` with the store's code, `NotFound`, `Corrupt` or `InvalidArgument`. */
export interface Tier2 {
  /** `memory`, `directory` or `s3`. */
  readonly kind: string
  /** Where the objects are, for people. */
  readonly place: string
  /** Stores an object under a key that has none, or in the place of `replaces`, or finds the same one there. `Corrupt` when another one is there. */
  readonly upload: (upload: Tier2Upload) => Effect.Effect<Tier2Uploaded, AofError>
  /** Brings an object to `sink` and verifies it. `Corrupt` when length or checksum are wrong, and then the sink holds rubbish. */
  readonly fetch: (fetch: Tier2Fetch) => Effect.Effect<void, AofError>
  /** Exactly the bytes `[offset, offset + length)`, at most 1 GiB, in a buffer of the caller's own. Not verified. */
  readonly readRange: (
    key: string,
    offset: number,
    length: number,
    options?: Tier2ReadOptions,
  ) => Effect.Effect<Uint8Array, AofError>
  /** Removes an object; one that is not there counts as removed. `about` is for events. */
  readonly remove: (key: string, about?: Omit<Tier2Subject, "key">) => Effect.Effect<void, AofError>
  /** Removes up to `removesAtOnce` objects with one request; gives those that are gone. The others may be tried again. */
  readonly removeMany: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>>
  /** What is known of an object; undefined when there is none. */
  readonly head: (key: string) => Effect.Effect<ObjectInfo | undefined, AofError>
  /** One page of keys, as the port lists them. */
  readonly list: (
    prefix: string,
    options?: { readonly after?: string | undefined; readonly limit?: number | undefined },
  ) => Effect.Effect<ObjectPage, AofError>
  /** Objects that one request can remove. */
  readonly removesAtOnce: number
  /** Numbers since the client was made. */
  readonly snapshot: () => Tier2ClientSnapshot
  /** Whether requests are sent, or the store is left alone for a while. */
  readonly gate: Tier2Gate
}

/** Makes the client of a store. Pauses and timeouts are those of the clock that its effects run with. */
export const makeTier2 = (settings: Tier2Settings): Tier2 => new Tier2Client(settings)

/** Bytes that are checksummed in one turn of the event loop. */
const sliceBytes = 256 * 1024
const removesMax = 1000
const readBytesMax = 1024 * 1024 * 1024

type Failure = StoreError | InvalidArgument | AofError

class Tier2Client implements Tier2 {
  readonly #store: ObjectStore
  /** False once the store has refused a request for many. */
  #removesMany = true
  readonly #metrics: Tier2Metrics = new Tier2Metrics()
  readonly #requests: Tier2Requests
  readonly #bulk: Lane
  readonly #small: Lane
  readonly #spare: SpareBuffers = new SpareBuffers(getBytesMax)
  #delivering = 0

  constructor(settings: Tier2Settings) {
    this.#store = settings.store
    this.#requests = new Tier2Requests(settings, this.#metrics)
    this.#bulk = new Lane(settings.config.concurrency)
    this.#small = new Lane(settings.config.concurrency)
  }

  get kind(): string {
    return this.#store.kind
  }

  get place(): string {
    return this.#store.place
  }

  upload: Tier2["upload"] = (upload) => {
    const tried = this.#requests.retried("upload", subjectOf(upload), () => this.#put(upload))
    return this.#bulk.run(
      this.#requests.operation("upload", subjectOf(upload), tried, ({ lengthBytes }) => {
        this.#metrics.bytesUploaded += lengthBytes
        return lengthBytes
      }),
    )
  }

  fetch: Tier2["fetch"] = (fetch) =>
    this.#bulk.run(this.#requests.operation("fetch", subjectOf(fetch), this.#fetch(fetch), () => fetch.lengthBytes))

  readRange: Tier2["readRange"] = (key, offset, length, { isBulk = false, into } = {}) => {
    const read = Effect.suspend(() => {
      const refused = refuseRead(offset, length)
      if (refused !== undefined) return Effect.fail(refused)
      let bytes = into?.().subarray(0, length)
      const sink = (piece: Uint8Array, position: number): Effect.Effect<void> =>
        Effect.sync(() => {
          this.#metrics.bytesRead += piece.length
          if (bytes === undefined && piece.length === length) bytes = piece
          bytes ??= new Uint8Array(length)
          const isThere = piece.buffer === bytes.buffer && piece.byteOffset === bytes.byteOffset + position - offset
          if (!isThere) bytes.set(piece, position - offset)
        })
      const wanted = { subject: { key }, offset, length, lane: isBulk ? undefined : this.#small, into: bytes }
      return Effect.map(this.#requests.deliver("read", wanted, sink), () => bytes ?? new Uint8Array(length))
    })
    const operation = this.#requests.operation("read", { key }, read, () => length)
    return isBulk ? this.#bulk.run(operation) : operation
  }

  remove: Tier2["remove"] = (key, about = {}) =>
    this.#smallOperation("delete", { key, ...about }, this.#requests.remove(key))

  removeMany: Tier2["removeMany"] = (keys) => {
    const [key] = keys
    if (key === undefined) return Effect.succeed(keys)
    return Effect.catch(keys.length === 1 ? Effect.as(this.remove(key), keys) : this.#removeAll(keys), (error) =>
      Effect.sync((): ReadonlyArray<string> => {
        // Some servers take no request for many, and say so in different ways.
        if (!error.retryable) this.#removesMany = false
        return []
      }),
    )
  }

  get removesAtOnce(): number {
    return this.#removesMany && this.#store.removeMany !== undefined ? removesMax : 1
  }

  #removeAll(keys: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, AofError> {
    const request = this.#requests.removeMany(keys)
    const subject = { key: `${keys[0]} and ${keys.length - 1} more` }
    return Effect.map(this.#smallOperation("delete", subject, request), (failed) =>
      keys.filter((key) => !failed.has(key)),
    )
  }

  head: Tier2["head"] = (key) => this.#smallOperation("head", { key }, this.#requests.head(key))

  list: Tier2["list"] = (prefix, options) =>
    this.#smallOperation("list", { key: prefix }, this.#requests.list(prefix, options))

  get gate(): Tier2Gate {
    return this.#requests.gate
  }

  snapshot: Tier2["snapshot"] = () =>
    this.#metrics.snapshot({ bulk: this.#bulk, small: this.#small }, this.gate.breaker)

  /** One request with its retries; a pause between them holds no permit. */
  #smallOperation<A>(
    operation: Tier2Operation,
    subject: Tier2Subject,
    request: Effect.Effect<A, Failure>,
  ): Effect.Effect<A, AofError> {
    const tried = this.#requests.retried(operation, subject, () => this.#small.run(request))
    return this.#requests.operation(operation, subject, tried, () => undefined)
  }

  /** One try of an upload. An object that is there already may be one's own of an earlier try, or of an earlier process. */
  #put(upload: Tier2Upload): Effect.Effect<Tier2Uploaded, Failure> {
    const { key, body, checksum64, replaces } = upload
    const condition = replaces === undefined ? ({ absent: true } as const) : { etag: replaces }
    const put = this.#requests.put(key, body, { condition, isContentNamed: true, checksum64 })
    return Effect.matchEffect(put, {
      onSuccess: ({ etag }) => Effect.succeed({ etag, lengthBytes: body.lengthBytes }),
      onFailure: (error): Effect.Effect<Tier2Uploaded, Failure> =>
        error instanceof StoreError && error.kind === "PreconditionFailed"
          ? Effect.mapError(this.#compare(upload), (failed) => afterCompare(key, failed))
          : Effect.fail(error),
    })
  }

  /** Reads back what is there: it is what was to be stored, or the key is lost to it. */
  #compare = Effect.fnUntraced(function* (
    this: Tier2Client,
    upload: Tier2Upload,
  ): Effect.fn.Return<Tier2Uploaded, Failure> {
    const { key, body, checksum64 } = upload
    const { lengthBytes } = body
    const subject = subjectOf(upload)
    const info = yield* this.#requests.retried("upload", subject, () => this.#requests.head(key))
    if (info === undefined) return yield* Effect.fail(storeError("NotFound", "head", key, "NoSuchKey"))
    if (info.lengthBytes !== lengthBytes) {
      return yield* Effect.fail(
        corrupt(`object ${key}`, `it is there with ${info.lengthBytes} bytes, to be stored are ${lengthBytes}`),
      )
    }
    const found = yield* this.#checksum("upload", { subject, lengthBytes }, () => Effect.void)
    if (found === checksum64) return { etag: info.etag, lengthBytes }
    return yield* Effect.fail(corrupt(`object ${key}`, "it is there with other content than is to be stored"))
  })

  #fetch = Effect.fnUntraced(function* (this: Tier2Client, fetch: Tier2Fetch): Effect.fn.Return<void, Failure> {
    const { key, lengthBytes, checksum64, sink } = fetch
    const subject = subjectOf(fetch)
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
      return yield* Effect.fail(invalidArgument("length of an object", lengthBytes, "0 or more"))
    }
    // No range of an empty object can be asked for, and it has to be there all the same.
    if (lengthBytes === 0) {
      const info = yield* this.#requests.retried("fetch", subject, () => this.#requests.head(key))
      if (info === undefined) return yield* Effect.fail(storeError("NotFound", "get", key, "NoSuchKey"))
      if (info.lengthBytes !== 0)
        return yield* Effect.fail(corrupt(`object ${key}`, `it has ${info.lengthBytes} bytes, expected were 0`))
    }
    const found = yield* this.#checksum("fetch", { subject, lengthBytes }, (bytes, position) => {
      this.#metrics.bytesFetched += bytes.length
      return sink.write(bytes, position)
    })
    if (found !== checksum64) return yield* Effect.fail(corrupt(`object ${key}`, "its checksum does not match"))
  })

  /** Hands on the bytes of an object from its start, slice by slice, and returns their checksum. */
  #checksum = Effect.fnUntraced(function* (
    this: Tier2Client,
    operation: Tier2Operation,
    { subject, lengthBytes }: { readonly subject: Tier2Subject; readonly lengthBytes: number },
    sink: Tier2Sink["write"],
  ): Effect.fn.Return<bigint, Failure> {
    const checksum = crc64Start()
    const takeSlices = (bytes: Uint8Array, position: number): Effect.Effect<void, AofError> => {
      const take = (at: number): Effect.Effect<void, AofError> =>
        Effect.suspend(() => {
          if (at >= bytes.length) return Effect.void
          const slice = bytes.subarray(at, at + sliceBytes)
          checksum.update(slice)
          return Effect.andThen(Effect.andThen(sink(slice, position + at), Effect.yieldNow), take(at + slice.length))
        })
      return take(0)
    }
    this.#delivering++
    const wanted = { subject, offset: 0, length: lengthBytes, spare: this.#spare }
    const delivered = this.#requests.deliver(operation, wanted, takeSlices)
    yield* Effect.ensuring(
      delivered,
      Effect.sync(() => {
        if (--this.#delivering === 0) this.#spare.rest()
      }),
    )
    return checksum.digest()
  })
}

/**
 * How a comparison fails the try that it is part of. An object that has gone again, or is not yet to be seen, is found out about by
 * the next try; anything else was tried often enough.
 */
const afterCompare = (key: string, error: Failure): Failure =>
  error instanceof StoreError && error.kind === "NotFound"
    ? storeError("Internal", "put", key, "NoSuchKey")
    : aofErrorOf(error)

/** What events say about an operation. */
const subjectOf = ({ key, stream, segmentIndex }: Tier2Subject): Tier2Subject => ({ key, stream, segmentIndex })

const refuseRead = (offset: number, length: number): InvalidArgument | undefined => {
  if (!Number.isSafeInteger(offset) || offset < 0) return invalidArgument("range offset", offset, "0 or more")
  if (Number.isSafeInteger(length) && length >= 0 && length <= readBytesMax) return undefined
  return invalidArgument("range length", length, `0 to ${readBytesMax}`)
}
