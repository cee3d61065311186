/**
 * Single requests to an object store: bounded in time, counted, and repeated while that may help. A get that was answered with less
 * than there is goes on where it ended.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type AofError, corrupt, type InvalidArgument, notFound } from "../../model/errors.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Tier2Operation, Tier2RequestKind } from "../../model/tier_metrics.ts"
import type { Tier2Config } from "../../model/tier2_config.ts"
import type {
  ObjectBody,
  ObjectInfo,
  ObjectPage,
  ObjectRange,
  ObjectStore,
  PutOptions,
} from "../../port/object_store.ts"
import { StoreError, storeError } from "../../port/store_error.ts"
import type { ByteRate } from "../../state/byte_rate.ts"
import { retried } from "../flow/retry.ts"
import type { SpareBuffers } from "../flow/spare_buffers.ts"
import { aofErrorOf, isRetried } from "./tier2_error.ts"
import { Tier2Gate } from "./tier2_gate.ts"
import type { Lane, Tier2Metrics } from "./tier2_metrics.ts"

/** Bytes that one get asks for at most. */
export const getBytesMax: number = 4 * 1024 * 1024

/** What the client of Tier 2 is made of. */
export interface Tier2Settings {
  readonly store: ObjectStore
  readonly config: Tier2Config
  readonly emit: (event: TierEventInput) => void
  readonly clock: Clock.Clock
  /** An unsigned 32-bit number by chance. */
  readonly random32: () => number
  /** The limit of another client, which this one keeps together with it. */
  readonly rate?: ByteRate | undefined
}

/** What an operation is about, for events. */
export interface Tier2Subject {
  readonly key: string
  readonly stream?: string | undefined
  readonly segmentIndex?: number | undefined
}

type Failure = StoreError | InvalidArgument | AofError

/** Bytes of an object that have come, and where they belong. */
interface Piece {
  readonly bytes: Uint8Array
  readonly position: number
  /** What it came in, to be used again once it was handed on. */
  readonly lent: Uint8Array | undefined
}

/** What is to be delivered. */
interface Delivery {
  readonly subject: Tier2Subject
  readonly offset: number
  readonly length: number
  /** Where each request waits for its turn; undefined when the whole operation has one. */
  readonly lane?: Lane | undefined
  /** Memory for all of it, which pieces may come in. */
  readonly into?: Uint8Array | undefined
  /** Memory for one piece after the other; the sink must not keep them. */
  readonly spare?: SpareBuffers | undefined
}

const eventOperations: ReadonlyArray<Tier2Operation> = ["upload", "fetch", "delete"]

/** Bytes that a get asks for at least, however slow the store is. */
const getBytesMin = 64 * 1024

export class Tier2Requests {
  readonly gate: Tier2Gate
  readonly #settings: Tier2Settings
  readonly #metrics: Tier2Metrics

  constructor(settings: Tier2Settings, metrics: Tier2Metrics) {
    this.#settings = settings
    this.#metrics = metrics
    this.gate = new Tier2Gate({ ...settings, metrics })
  }

  /** Runs a whole operation: tells and counts how it ended, and gives its error as callers see it. `bytesOf` is what it moved. */
  operation<A>(
    operation: Tier2Operation,
    subject: Tier2Subject,
    run: Effect.Effect<A, Failure>,
    bytesOf: (value: A) => number | undefined,
  ): Effect.Effect<A, AofError> {
    return Effect.suspend(() => {
      const startMs = this.#settings.clock.currentTimeMillisUnsafe()
      const end = (outcome: "success" | "failed", rest: Partial<TierEventInput>): void => {
        const durationMs = this.#settings.clock.currentTimeMillisUnsafe() - startMs
        this.#emit(operation, outcome, { ...subject, durationMs, ...rest })
      }
      return Effect.mapError(run, aofErrorOf).pipe(
        Effect.tap((value) =>
          Effect.sync(() => {
            this.#metrics.successes[operation]++
            end("success", { bytes: bytesOf(value) })
          }),
        ),
        Effect.tapError((error) =>
          Effect.sync(() => {
            this.#metrics.failures[operation]++
            end("failed", { reason: error.message })
          }),
        ),
      )
    })
  }

  /** Repeats part of an operation while that may help. */
  retried<A>(
    operation: Tier2Operation,
    subject: Tier2Subject,
    run: (attempt: number) => Effect.Effect<A, Failure>,
    hasAdvanced?: () => boolean,
  ): Effect.Effect<A, Failure> {
    const { config, random32 } = this.#settings
    return retried(run, {
      policy: config.retry,
      random32,
      isRetried,
      hasAdvanced,
      onRetry: (error, pause) => {
        this.#metrics.retries[operation]++
        this.#emit(operation, "retry", { ...subject, ...pause, reason: error.message })
      },
    })
  }

  /** Puts once. It may take as long as it needs while it goes on taking more of the body. */
  put(key: string, body: ObjectBody, options: PutOptions): Effect.Effect<{ readonly etag: string }, Failure> {
    return Effect.suspend(() => {
      const { store, clock, config } = this.#settings
      let activeMs = clock.currentTimeMillisUnsafe()
      let isPaced = false
      const note = <A>(value: A): A => {
        activeMs = clock.currentTimeMillisUnsafe()
        isPaced = false
        return value
      }
      const paced = (bytes: number): Effect.Effect<void> =>
        Effect.suspend(() => {
          isPaced = true
          return Effect.map(this.gate.paced(bytes), note)
        })
      const watched: ObjectBody = {
        lengthBytes: body.lengthBytes,
        read: (offset, length, into) =>
          Effect.map(Effect.andThen(paced(length), body.read(offset, length, into)), note),
      }
      const watch: Effect.Effect<never, StoreError> = Effect.suspend(() => {
        // Who waits for the limit of bytes is not stuck.
        if (isPaced) activeMs = clock.currentTimeMillisUnsafe()
        const leftMs = config.requestTimeoutMs - (clock.currentTimeMillisUnsafe() - activeMs)
        if (leftMs <= 0) return Effect.fail(storeError("Timeout", "put", key, "ETIMEDOUT"))
        return Effect.andThen(Effect.sleep(leftMs), watch)
      })
      return this.gate.send("put", key, Effect.raceFirst(store.put(key, watched, options), watch))
    })
  }

  /** Asks once for a range of at most `getBytesMax`. */
  get(key: string, range: ObjectRange): Effect.Effect<Uint8Array, Failure> {
    return Effect.flatMap(this.#timed("get", key, this.#settings.store.get(key, range)), (bytes) =>
      bytes.length > range.length
        ? Effect.fail(storeError("Internal", "get", key, "more bytes than asked for"))
        : Effect.succeed(bytes),
    )
  }

  /** Asks once what is known of an object. */
  head(key: string): Effect.Effect<ObjectInfo | undefined, Failure> {
    return this.#timed("head", key, this.#settings.store.head(key))
  }

  /** Removes once. */
  remove(key: string): Effect.Effect<void, Failure> {
    return this.#timed("remove", key, this.#settings.store.remove(key))
  }

  /** Removes several at once, once; only where the store can. */
  removeMany(keys: ReadonlyArray<string>): Effect.Effect<ReadonlyMap<string, StoreError>, Failure> {
    return this.#timed("remove", keys[0] ?? "", this.#settings.store.removeMany!(keys))
  }

  /** Lists one page, once. */
  list(prefix: string, options: Parameters<ObjectStore["list"]>[1]): Effect.Effect<ObjectPage, Failure> {
    return this.#timed("list", prefix, this.#settings.store.list(prefix, options))
  }

  /**
   * Hands on exactly the bytes `[offset, offset + length)` in order, in pieces of at most `getBytesMax`, or fails. Each piece has its
   * own tries. `Corrupt` when the object ends too early.
   */
  deliver(
    operation: Tier2Operation,
    wanted: Delivery,
    sink: (bytes: Uint8Array, position: number) => Effect.Effect<void, AofError>,
  ): Effect.Effect<void, Failure> {
    const { offset, length, lane, spare } = wanted
    const end = offset + length
    const cursor = { position: offset, bytesMax: lane === undefined ? this.gate.pieceBytes(getBytesMax) : getBytesMax }
    const hand = (pieces: ReadonlyArray<Piece>): Effect.Effect<void, AofError> =>
      Effect.forEach(
        pieces,
        ({ bytes, position, lent }) =>
          Effect.map(sink(bytes, position), () => {
            if (lent !== undefined) spare?.give(lent)
          }),
        { discard: true },
      )
    // What has come is handed on while the next is on its way.
    const from = (pieces: ReadonlyArray<Piece>): Effect.Effect<void, Failure> => {
      if (cursor.position >= end) return hand(pieces)
      const next = Effect.suspend(() => this.#piece(operation, wanted, cursor))
      const both = Effect.all([next, hand(pieces)], { concurrency: 2 })
      return Effect.flatMap(both, ([more]) => from(more))
    }
    return Effect.suspend(() => from([]))
  }

  /**
   * Brings the bytes from `cursor.position` on, of which it asks for at most `cursor.bytesMax` at once, with tries of their own. A line that cuts every
   * answer gets there too: one that brought bytes is no failed try.
   */
  #piece(
    operation: Tier2Operation,
    wanted: Delivery,
    cursor: { position: number; bytesMax: number },
  ): Effect.Effect<ReadonlyArray<Piece>, Failure> {
    const { subject, lane } = wanted
    const end = wanted.offset + wanted.length
    const pieceEnd = Math.min(end, cursor.position + cursor.bytesMax)
    const pieces: Array<Piece> = []
    let triedFrom = cursor.position
    const hasAdvanced = (): boolean => {
      const from = triedFrom
      triedFrom = cursor.position
      return cursor.position > from
    }
    const attempt = Effect.fnUntraced(function* (this: Tier2Requests): Effect.fn.Return<ReadonlyArray<Piece>, Failure> {
      const { position } = cursor
      const length = Math.min(pieceEnd - position, cursor.bytesMax)
      if (lane === undefined) yield* this.gate.paced(length)
      const lent = wanted.spare?.take(length)
      const into = lent ?? wanted.into?.subarray(position - wanted.offset, position - wanted.offset + length)
      const get = Effect.tapError(this.get(subject.key, { offset: position, length, into }), (error) =>
        Effect.sync(() => {
          // On a slow line less is asked for at once, so that it comes within the time.
          const isSlow = error instanceof StoreError && error.kind === "Timeout"
          if (isSlow) cursor.bytesMax = Math.max(getBytesMin, Math.ceil(cursor.bytesMax / 2))
        }),
      )
      const bytes = yield* lane === undefined ? get : lane.run(get)
      if (bytes.length > 0) pieces.push({ bytes, position, lent })
      cursor.position += bytes.length
      if (bytes.length === length) return pieces
      yield* this.#checkLength(subject.key, end)
      return yield* Effect.fail(storeError("Network", "get", subject.key, "ShortBody"))
    })
    return this.retried(operation, subject, () => attempt.call(this), hasAdvanced)
  }

  /** After a short answer: fails when no further try can give more. When that cannot be found out, it does nothing. */
  #checkLength(key: string, end: number): Effect.Effect<void, AofError> {
    return Effect.flatMap(Effect.result(this.head(key)), (found): Effect.Effect<void, AofError> => {
      if (found._tag === "Failure") return Effect.void
      const info = found.success
      if (info === undefined) return Effect.fail(notFound("object", key, "none under this key"))
      return info.lengthBytes >= end
        ? Effect.void
        : Effect.fail(corrupt(`object ${key}`, `it has ${info.lengthBytes} bytes, expected were ${end}`))
    })
  }

  #timed<A, E>(kind: Tier2RequestKind, key: string, request: Effect.Effect<A, E>): Effect.Effect<A, E | StoreError> {
    const timed = Effect.timeoutOrElse(request, {
      duration: this.#settings.config.requestTimeoutMs,
      orElse: () => Effect.fail(storeError("Timeout", kind, key, "ETIMEDOUT")),
    })
    return this.gate.send(kind, key, timed)
  }

  #emit(operation: Tier2Operation, outcome: "success" | "retry" | "failed", rest: Partial<TierEventInput>): void {
    if (!eventOperations.includes(operation)) return
    const level = outcome === "success" ? "info" : outcome === "retry" ? "warn" : "error"
    this.#settings.emit({ name: `tier2_${operation}_${outcome}`, level, ...rest })
  }
}
