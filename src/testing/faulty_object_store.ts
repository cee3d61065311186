/**
 * An object store around another one that goes wrong on purpose: by a script that sees each request, by a seeded chance, or because it
 * was told to be down. The same seed and the same requests give the same faults.
 *
 * It is as unkind as a network may be: an answer that is lost or late says nothing about whether the request was carried out, a put
 * may happen after its caller has given up, and an object that is there may not be found for a while.
 */
import * as Effect from "effect/Effect"
import type { InvalidArgument } from "../model/errors.ts"
import type { ObjectBody, ObjectPage, ObjectStore } from "../port/object_store.ts"
import { type StoreError, type StoreErrorKind, storeError } from "../port/store_error.ts"

/** What is asked of a store. */
export type StoreRequestKind = "put" | "get" | "head" | "remove" | "list"

/**
 * What goes wrong. A fault that a request cannot have (`partialBody` of a `head`) lets it pass.
 *
 * - `throttle`, `internal`, `denied`: refused, nothing happened.
 * - `timeoutBefore`, `timeoutAfter`: no answer in time, and the request was not or was carried out.
 * - `lostAnswer`: carried out, and the connection broke before the answer.
 * - `lateWrite`: a put or removal that times out and is carried out `lateRequests` requests later.
 * - `partialBody`: a get gives the first half; a put is cut off half-way and stores nothing.
 * - `damagedBody`: one bit of what a get gives is wrong.
 * - `notFound`: a get or head does not find the object.
 * - `staleList`: a listing gives what the same one gave before, or nothing when it is the first.
 * - `hang`: no answer at all; nothing happened.
 */
export type StoreFault =
  | "throttle"
  | "internal"
  | "denied"
  | "timeoutBefore"
  | "timeoutAfter"
  | "lostAnswer"
  | "lateWrite"
  | "partialBody"
  | "damagedBody"
  | "notFound"
  | "staleList"
  | "hang"

/** A request, told before it has any effect. */
export interface StoreRequest {
  /** Counts from 1 over the life of the store. */
  readonly sequence: number
  /** What is asked. */
  readonly kind: StoreRequestKind
  /** The key, or the prefix of a listing. */
  readonly key: string
}

/** Requests of one kind. */
export interface StoreRequestCount {
  /** How many came. */
  requests: number
  /** How many of them had a fault, those of a store that is down included. */
  faults: number
  /** Bytes of bodies pulled by puts or given by gets. */
  bytes: number
}

/** How a store goes wrong. */
export interface FaultyStoreOptions {
  /** Asked first, with each request. */
  readonly script?: ((request: StoreRequest) => StoreFault | undefined) | undefined
  /** Start of the chance; default 1. */
  readonly seed?: number | undefined
  /** How likely each fault is, 0 to 1; their sum is at most 1. Default none. */
  readonly rates?: Readonly<Partial<Record<StoreFault, number>>> | undefined
  /** Requests until a late write happens; default 3. */
  readonly lateRequests?: number | undefined
}

interface LateWrite {
  readonly dueAt: number
  readonly run: Effect.Effect<unknown, StoreError | InvalidArgument>
}

const refusals: Partial<Record<StoreFault, readonly [StoreErrorKind, string]>> = {
  throttle: ["Throttled", "SlowDown"],
  internal: ["Internal", "InternalError"],
  denied: ["Denied", "AccessDenied"],
  timeoutBefore: ["Timeout", "ETIMEDOUT"],
}

/** A store that goes wrong; it may be given wherever a store is taken. */
export class FaultyObjectStore implements ObjectStore {
  /** That of the store behind it. */
  readonly kind: string
  /** That of the store behind it. */
  readonly place: string
  /** Requests so far, by kind. */
  readonly counts: Readonly<Record<StoreRequestKind, StoreRequestCount>>
  /** While set, every request fails with this and does nothing. */
  down: StoreErrorKind | undefined
  /** Asked with each request, before the chance. */
  script: ((request: StoreRequest) => StoreFault | undefined) | undefined
  readonly #store: ObjectStore
  readonly #rates: ReadonlyArray<readonly [StoreFault, number]>
  readonly #lateRequests: number
  #late: ReadonlyArray<LateWrite> = []
  /** What listings have given, by what was asked. */
  readonly #lists: Map<string, ObjectPage> = new Map()
  #sequence = 0
  #random: number

  /** Wraps `store`, which stays usable without faults. */
  constructor(store: ObjectStore, options: FaultyStoreOptions = {}) {
    this.#store = store
    this.kind = store.kind
    this.place = store.place
    this.script = options.script
    this.#rates = Object.entries(options.rates ?? {}) as ReadonlyArray<[StoreFault, number]>
    this.#lateRequests = options.lateRequests ?? 3
    this.#random = (options.seed ?? 1) >>> 0
    const count = (): StoreRequestCount => ({ requests: 0, faults: 0, bytes: 0 })
    this.counts = { put: count(), get: count(), head: count(), remove: count(), list: count() }
  }

  /** As the store behind it, with faults. */
  put: ObjectStore["put"] = (key, body, options) =>
    this.#request("put", key, (fault) => {
      const counted = this.#counted(body)
      if (fault === "partialBody") return cutOff(key, counted)
      if (fault === "lateWrite") return this.#putLate(key, counted, options)
      return this.#store.put(key, counted, options)
    })

  /** As the store behind it, with faults. */
  get: ObjectStore["get"] = (key, range) =>
    this.#request("get", key, (fault) => {
      if (fault === "notFound") return Effect.fail(storeError("NotFound", "get", key, "NoSuchKey"))
      return Effect.map(this.#store.get(key, range), (bytes) => {
        const given = fault === "partialBody" ? bytes.slice(0, bytes.length >> 1) : bytes
        if (fault === "damagedBody" && given.length > 0) given[given.length >> 1]! ^= 1
        this.counts.get.bytes += given.length
        return given
      })
    })

  /** As the store behind it, with faults. */
  head: ObjectStore["head"] = (key) =>
    this.#request("head", key, (fault) => (fault === "notFound" ? Effect.succeed(undefined) : this.#store.head(key)))

  /** As the store behind it, with faults. */
  remove: ObjectStore["remove"] = (key) =>
    this.#request("remove", key, (fault) =>
      fault === "lateWrite" ? this.#later("remove", key, this.#store.remove(key)) : this.#store.remove(key),
    )

  /** As the store behind it, with faults. */
  list: ObjectStore["list"] = (prefix, options) =>
    this.#request("list", prefix, (fault) => {
      const key = JSON.stringify([prefix, options?.after, options?.limit])
      if (fault === "staleList") return Effect.succeed(this.#lists.get(key) ?? { objects: [], next: undefined })
      return Effect.tap(this.#store.list(prefix, options), (page) => Effect.sync(() => this.#lists.set(key, page)))
    })

  /** Carries out all late writes now, in the order of their requests; what fails is forgotten, as nobody waits for it. */
  readonly settle: Effect.Effect<void> = Effect.suspend(() => this.#runLate(Number.POSITIVE_INFINITY))

  #request<A>(
    kind: StoreRequestKind,
    key: string,
    run: (fault: StoreFault | undefined) => Effect.Effect<A, StoreError | InvalidArgument>,
  ): Effect.Effect<A, StoreError | InvalidArgument> {
    return Effect.suspend(() => {
      const sequence = ++this.#sequence
      const count = this.counts[kind]
      count.requests++
      const due = this.#runLate(sequence)
      if (this.down !== undefined) {
        count.faults++
        return Effect.andThen(due, Effect.fail(storeError(this.down, kind, key, "Down")))
      }
      const fault = this.script?.({ sequence, kind, key }) ?? this.#chance()
      if (fault !== undefined) count.faults++
      return Effect.andThen(due, answer({ kind, key, fault }, run))
    })
  }

  #putLate(
    key: string,
    body: ObjectBody,
    options: Parameters<ObjectStore["put"]>[2],
  ): Effect.Effect<never, StoreError | InvalidArgument> {
    // The body belongs to the caller and is there only during the call, so it is taken whole; this is a tool for tests.
    return Effect.flatMap(readFront(body, body.lengthBytes), (bytes) => {
      const copy = bytes.slice()
      const kept: ObjectBody = {
        lengthBytes: copy.length,
        read: (offset, length) => Effect.succeed(copy.subarray(offset, offset + length)),
      }
      return this.#later("put", key, this.#store.put(key, kept, options))
    })
  }

  #later(
    kind: StoreRequestKind,
    key: string,
    run: Effect.Effect<unknown, StoreError | InvalidArgument>,
  ): Effect.Effect<never, StoreError> {
    return Effect.suspend(() => {
      this.#late = [...this.#late, { dueAt: this.#sequence + this.#lateRequests, run }]
      return Effect.fail(storeError("Timeout", kind, key, "ETIMEDOUT"))
    })
  }

  #runLate(sequence: number): Effect.Effect<void> {
    const due = this.#late.filter(({ dueAt }) => dueAt <= sequence)
    if (due.length === 0) return Effect.void
    this.#late = this.#late.filter(({ dueAt }) => dueAt > sequence)
    return Effect.forEach(due, ({ run }) => Effect.ignore(run), { discard: true })
  }

  #counted(body: ObjectBody): ObjectBody {
    return {
      lengthBytes: body.lengthBytes,
      read: (offset, length) =>
        Effect.map(body.read(offset, length), (bytes) => {
          this.counts.put.bytes += bytes.length
          return bytes
        }),
    }
  }

  #chance(): StoreFault | undefined {
    if (this.#rates.length === 0) return undefined
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    // The low bits of such a generator repeat soon; scaling uses the high ones.
    let left = this.#random / 2 ** 32
    for (const [fault, rate] of this.#rates) {
      if (left < rate) return fault
      left -= rate
    }
    return undefined
  }
}

/** One request with its fault, as far as it is the same for all kinds. */
const answer = <A>(
  request: { readonly kind: StoreRequestKind; readonly key: string; readonly fault: StoreFault | undefined },
  run: (fault: StoreFault | undefined) => Effect.Effect<A, StoreError | InvalidArgument>,
): Effect.Effect<A, StoreError | InvalidArgument> => {
  const { kind, key, fault } = request
  const fail = (failed: StoreErrorKind, code: string): Effect.Effect<never, StoreError> =>
    Effect.fail(storeError(failed, kind, key, code))
  if (fault === undefined) return run(undefined)
  if (fault === "hang") return Effect.never
  const refusal = refusals[fault]
  if (refusal !== undefined) return fail(...refusal)
  if (fault === "timeoutAfter") return Effect.andThen(run(fault), fail("Timeout", "ETIMEDOUT"))
  return fault === "lostAnswer" ? Effect.andThen(run(fault), fail("Network", "ECONNRESET")) : run(fault)
}

/** Pulls half a body, as a connection that breaks does. */
const cutOff = (key: string, body: ObjectBody): Effect.Effect<never, StoreError> =>
  Effect.andThen(
    readFront(body, Math.floor(body.lengthBytes / 2)),
    Effect.fail(storeError("Network", "put", key, "ECONNRESET")),
  )

/** The first bytes of a body, which is never asked for none. */
const readFront = (body: ObjectBody, length: number): Effect.Effect<Uint8Array, StoreError> =>
  length >= 1 && length <= body.lengthBytes ? body.read(0, length) : Effect.succeed(new Uint8Array(0))
