// The client of Tier 2 on a store that goes wrong. Time is the test's own: nothing here waits.

import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { makeTier2, type Tier2, type Tier2Upload } from "../../src/core/tier2/tier2.ts"
import { crc64 } from "../../src/format/checksum.ts"
import type { AofError } from "../../src/model/errors.ts"
import type { TierEventInput } from "../../src/model/tier_event.ts"
import { makeTier2Config, type Tier2Options } from "../../src/model/tier2_config.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { storeError } from "../../src/port/store_error.ts"
import { FaultyObjectStore, type FaultyStoreOptions, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { bodyOf, bytesOf, pattern, textOf } from "../support/object_store_conformance.ts"

const MiB = 1024 * 1024
const noJitter = { jitter: 0 }

interface Setup {
  readonly inner: ObjectStore
  readonly store: FaultyObjectStore
  readonly tier2: Tier2
  readonly events: Array<TierEventInput>
}

/** Runs on a clock that stands still until it is moved. */
const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, TestClock.layer()))

const setup = Effect.fnUntraced(function* (faults: FaultyStoreOptions = {}, options: Tier2Options = {}) {
  const inner = makeMemoryStore()
  const store = new FaultyObjectStore(inner, faults)
  const events: Array<TierEventInput> = []
  const clock = yield* Clock.Clock
  const config = makeTier2Config({ retry: noJitter, ...options })
  const tier2 = makeTier2({ store, config, clock, emit: (event) => void events.push(event), random32: () => 0 })
  return { inner, store, tier2, events } satisfies Setup
})

const uploadOf = (key: string, content: string | Uint8Array): Tier2Upload => {
  const bytes = typeof content === "string" ? bytesOf(content) : content
  return { key, body: bodyOf(bytes), checksum64: crc64(bytes), stream: "orders", segmentIndex: 7 }
}

/** A sink that insists on order. */
const collect = (): {
  readonly write: (bytes: Uint8Array, position: number) => Effect.Effect<void>
  bytes: Uint8Array
} => {
  const sink = {
    bytes: new Uint8Array(0),
    write: (bytes: Uint8Array, position: number) =>
      Effect.sync(() => {
        expect(position).toBe(sink.bytes.length)
        expect(bytes.length).toBeLessThanOrEqual(256 * 1024)
        const next = new Uint8Array(position + bytes.length)
        next.set(sink.bytes)
        next.set(bytes, position)
        sink.bytes = next
      }),
  }
  return sink
}

/** Lets everything happen that can without time passing; the count is only a bound on turns of the event loop. */
const settle: Effect.Effect<void> = Effect.repeat(Effect.yieldNow, { times: 200 }).pipe(Effect.asVoid)

/** Runs to the end, with as much time as pauses and timeouts may need. */
const withTime = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    for (let turn = 0; turn < 10_000 && fiber.pollUnsafe() === undefined; turn++) {
      yield* settle
      yield* TestClock.adjust(1000)
    }
    return yield* Fiber.join(fiber)
  })

const failureOf = (effect: Effect.Effect<unknown, AofError>): Effect.Effect<AofError, unknown> =>
  Effect.flip(withTime(effect))

const script = (...faults: ReadonlyArray<StoreFault | undefined>): FaultyStoreOptions => ({
  script: ({ sequence }) => faults[sequence - 1],
})

describe("an upload", () => {
  test("stores the object, and tells and counts it", () =>
    run(
      Effect.gen(function* () {
        const { inner, tier2, events } = yield* setup()
        const content = pattern(600_000)
        const { etag, lengthBytes } = yield* tier2.upload(uploadOf("a/b", content))
        expect(lengthBytes).toBe(600_000)
        expect(yield* inner.head("a/b")).toEqual({ key: "a/b", etag, lengthBytes, metadata: {} })
        const about = { key: "a/b", stream: "orders", segmentIndex: 7 }
        expect(events).toEqual([
          { name: "tier2_upload_success", level: "info", ...about, durationMs: 0, bytes: 600_000 },
        ])
        const { bytesUploaded, successes, requests, bulk } = tier2.snapshot()
        expect([bytesUploaded, successes.upload, requests.put]).toEqual([
          600_000,
          1,
          { success: 1, failure: 0, interrupted: 0 },
        ])
        expect(bulk).toEqual({ inFlight: 0, queued: 0 })
      }),
    ))

  test("is tried again after pauses that double", () =>
    run(
      Effect.gen(function* () {
        const { store, tier2, events } = yield* setup(script("throttle", "internal", "timeoutBefore"))
        const fiber = yield* Effect.forkChild(tier2.upload(uploadOf("a", "x")), { startImmediately: true })
        const counts: Array<number> = []
        for (const pauseMs of [99, 1, 199, 1, 399, 1]) {
          yield* settle
          yield* TestClock.adjust(pauseMs)
          yield* settle
          counts.push(store.counts.put.requests)
        }
        expect(counts).toEqual([1, 2, 2, 3, 3, 4])
        yield* Fiber.join(fiber)
        expect(events.map(({ name, attempt, delayMs }) => [name, attempt, delayMs])).toEqual([
          ["tier2_upload_retry", 1, 100],
          ["tier2_upload_retry", 2, 200],
          ["tier2_upload_retry", 3, 400],
          ["tier2_upload_success", undefined, undefined],
        ])
        expect(events.at(-1)?.durationMs).toBe(700)
        expect(tier2.snapshot().retries.upload).toBe(3)
      }),
    ))

  test.each([["lostAnswer"], ["timeoutAfter"], ["lateWrite"], ["partialBody"]] as const)(
    "whose first try ends as %s is there once and whole",
    (fault: StoreFault) =>
      run(
        Effect.gen(function* () {
          const { inner, store, tier2 } = yield* setup({ ...script(fault), lateRequests: 1 })
          const content = pattern(5 * MiB + 3)
          const { etag } = yield* withTime(tier2.upload(uploadOf("a", content)))
          yield* store.settle
          expect((yield* inner.head("a"))?.etag).toBe(etag)
          expect(crc64(yield* inner.get("a"))).toBe(crc64(content))
        }),
      ),
  )

  test.each([["another text"], ["hellO"]])("finds %p under its key and leaves it", (there: string) =>
    run(
      Effect.gen(function* () {
        const { inner, tier2, events } = yield* setup()
        yield* inner.put("a", bodyOf(there))
        const error = yield* failureOf(tier2.upload(uploadOf("a", "hello")))
        expect(error._tag).toBe("Corrupt")
        expect(textOf(yield* inner.get("a"))).toBe(there)
        expect(events.map(({ name }) => name)).toEqual(["tier2_upload_failed"])
        expect(tier2.snapshot().failures.upload).toBe(1)
      }),
    ),
  )

  test("finds the same object under its key through a store that keeps failing reads", () =>
    run(
      Effect.gen(function* () {
        const { inner, tier2 } = yield* setup(
          script(undefined, "throttle", undefined, "partialBody", undefined, "internal"),
        )
        const { etag } = yield* inner.put("a", bodyOf("hello"))
        expect(yield* withTime(tier2.upload(uploadOf("a", "hello")))).toEqual({ etag, lengthBytes: 5 })
      }),
    ))

  test("is put anew when what was there is gone before it could be compared", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup({
          script: ({ kind }) => {
            if (kind === "head" && store.counts.head.requests === 1) Effect.runSync(inner.remove("a"))
            return undefined
          },
        })
        yield* inner.put("a", bodyOf("other"))
        yield* withTime(tier2.upload(uploadOf("a", "hello")))
        expect(textOf(yield* inner.get("a"))).toBe("hello")
      }),
    ))

  test("gives up after all tries with the store's code, and at once where trying again is no use", () =>
    run(
      Effect.gen(function* () {
        const { store, tier2 } = yield* setup()
        store.down = "Throttled"
        const exhausted = yield* failureOf(tier2.upload(uploadOf("a", "x")))
        expect(exhausted).toMatchObject({ _tag: "Unavailable", code: "Down", retryable: true })
        expect(store.counts.put.requests).toBe(5)
        store.down = "Denied"
        const denied = yield* failureOf(tier2.upload(uploadOf("a", "x")))
        expect(denied).toMatchObject({ _tag: "Unavailable", code: "EACCES", retryable: false })
        expect(denied.message).toContain("Down")
        expect(store.counts.put.requests).toBe(6)
        store.down = undefined
        const refused = yield* failureOf(tier2.upload(uploadOf("../a", "x")))
        expect(refused._tag).toBe("InvalidArgument")
        const damaged = yield* failureOf(tier2.upload({ ...uploadOf("a", "x"), checksum64: 5n }))
        expect(damaged._tag).toBe("Corrupt")
      }),
    ))

  test("times out only when it takes nothing more of its body", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup({}, { requestTimeoutMs: 30_000 })
        const content = pattern(MiB)
        const upload = uploadOf("a", content)
        const slow = { ...upload, body: { ...upload.body, read: delayed(upload, 20_000) } }
        yield* withTime(tier2.upload(slow))
        expect([store.counts.put.requests, (yield* inner.head("a"))?.lengthBytes]).toEqual([1, MiB])
        const stuck = { ...upload, key: "b", body: { ...upload.body, read: delayed(upload, 40_000) } }
        const error = yield* failureOf(tier2.upload(stuck))
        expect(error).toMatchObject({ _tag: "Unavailable", code: "ETIMEDOUT", retryable: true })
        expect(yield* inner.head("b")).toBe(undefined)
      }),
    ))
})

const delayed =
  ({ body }: Tier2Upload, delayMs: number): Tier2Upload["body"]["read"] =>
  (offset, length) =>
    Effect.andThen(Effect.sleep(delayMs), body.read(offset, length))

describe("a fetch", () => {
  const content = (): Uint8Array => pattern(9 * MiB + 12_345)

  test("asks for at most 4 MiB at once and goes on where an answer was short", () =>
    run(
      Effect.gen(function* () {
        const bytes = content()
        const { inner, store, tier2, events } = yield* setup(
          script(undefined, "partialBody", undefined, "throttle", "hang", undefined, "partialBody"),
        )
        yield* inner.put("a", bodyOf(bytes))
        const sink = collect()
        const wanted = { key: "a", lengthBytes: bytes.length, checksum64: crc64(bytes), sink, stream: "s" }
        yield* withTime(tier2.fetch(wanted))
        expect(crc64(sink.bytes)).toBe(crc64(bytes))
        expect(events.at(-1)).toMatchObject({ name: "tier2_fetch_success", bytes: bytes.length, stream: "s" })
        const { bytesFetched, retries, requests } = tier2.snapshot()
        expect([bytesFetched, store.counts.get.bytes]).toEqual([bytes.length, bytes.length])
        expect([retries.fetch, requests.head.success]).toEqual([4, 2])
      }),
    ))

  test("comes to its end where every answer is cut, and fails where answers bring nothing", () =>
    run(
      Effect.gen(function* () {
        const bytes = pattern(100_000)
        const { inner, store, tier2 } = yield* setup({}, { retry: { maxAttempts: 2, baseDelayMs: 1, jitter: 0 } })
        yield* inner.put("a", bodyOf(bytes))
        const wanted = { key: "a", lengthBytes: bytes.length, checksum64: crc64(bytes) }
        let gets = 0
        store.script = ({ kind }) => {
          if (kind !== "get" || ++gets > 12) return undefined
          return gets % 2 === 0 ? "partialBody" : "throttle"
        }
        const sink = collect()
        yield* withTime(tier2.fetch({ ...wanted, sink }))
        expect(crc64(sink.bytes)).toBe(crc64(bytes))
        expect(gets).toBe(13)
        store.script = ({ kind }) => (kind === "get" ? "throttle" : undefined)
        expect((yield* failureOf(withTime(tier2.fetch({ ...wanted, sink: collect() }))))._tag).toBe("Unavailable")
      }),
    ))

  test("is Corrupt when the object is damaged, shorter or not empty, and NotFound when it is gone", () =>
    run(
      Effect.gen(function* () {
        const bytes = pattern(100_000)
        const { inner, store, tier2, events } = yield* setup()
        yield* inner.put("a", bodyOf(bytes))
        const wanted = { lengthBytes: bytes.length, checksum64: crc64(bytes) }
        const fetch = (change: object): ReturnType<Tier2["fetch"]> =>
          Effect.suspend(() => tier2.fetch({ key: "a", sink: collect(), ...wanted, ...change }))
        store.script = () => "damagedBody"
        expect((yield* failureOf(fetch({})))._tag).toBe("Corrupt")
        store.script = undefined
        expect((yield* failureOf(fetch({ checksum64: 1n })))._tag).toBe("Corrupt")
        const short = yield* failureOf(fetch({ lengthBytes: bytes.length + 1 }))
        expect(short.message).toContain("it has 100000 bytes, expected were 100001")
        expect((yield* failureOf(fetch({ lengthBytes: 0, checksum64: 0n })))._tag).toBe("Corrupt")
        expect((yield* failureOf(fetch({ key: "b" })))._tag).toBe("NotFound")
        expect((yield* failureOf(fetch({ key: "b", lengthBytes: 0, checksum64: 0n })))._tag).toBe("NotFound")
        expect((yield* failureOf(fetch({ lengthBytes: -1 })))._tag).toBe("InvalidArgument")
        expect(new Set(events.map(({ name }) => name))).toEqual(new Set(["tier2_fetch_failed"]))
        yield* fetch({})
        yield* inner.put("c", bodyOf(""))
        yield* fetch({ key: "c", lengthBytes: 0, checksum64: 0n })
      }),
    ))

  test("ends with the error of its sink, which is not tried again", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup()
        yield* inner.put("a", bodyOf("hello"))
        const failing = { write: () => Effect.fail(full) }
        const wanted = { key: "a", lengthBytes: 5, checksum64: 0n, sink: failing }
        expect(yield* failureOf(tier2.fetch(wanted))).toBe(full)
        expect(store.counts.get.requests).toBe(1)
      }),
    ))
})

const full = {
  _tag: "Unavailable",
  message: "the disk is full",
  code: "ENOSPC",
  retryable: true,
} as unknown as AofError

describe("small requests", () => {
  test("read exactly the range, or say why not", () =>
    run(
      Effect.gen(function* () {
        const { inner, tier2 } = yield* setup(script("partialBody", undefined, "partialBody"))
        yield* inner.put("a", bodyOf("0123456789"))
        expect(textOf(yield* withTime(tier2.readRange("a", 2, 7)))).toBe("2345678")
        expect((yield* tier2.readRange("a", 3, 0)).length).toBe(0)
        expect((yield* failureOf(tier2.readRange("a", 8, 3)))._tag).toBe("Corrupt")
        expect((yield* failureOf(tier2.readRange("b", 0, 1)))._tag).toBe("NotFound")
        for (const [offset, length] of [
          [-1, 1],
          [0, -1],
          [0, 2 ** 40],
          [Number.NaN, 1],
        ] as const) {
          expect((yield* failureOf(tier2.readRange("a", offset, length)))._tag).toBe("InvalidArgument")
        }
        expect(tier2.snapshot().bytesRead).toBe(7)
      }),
    ))

  test("find, list and remove, with tries", () =>
    run(
      Effect.gen(function* () {
        const { inner, tier2, events } = yield* setup(
          script("throttle", undefined, "internal", undefined, "timeoutAfter"),
        )
        yield* inner.put("a/b", bodyOf("x"))
        expect((yield* withTime(tier2.head("a/b")))?.lengthBytes).toBe(1)
        expect((yield* withTime(tier2.list("a/"))).objects).toEqual([{ key: "a/b", lengthBytes: 1 }])
        yield* withTime(tier2.remove("a/b", { stream: "s" }))
        expect(yield* tier2.head("a/b")).toBe(undefined)
        expect(events.map(({ name }) => name)).toEqual(["tier2_delete_retry", "tier2_delete_success"])
        const { deletes, retries } = tier2.snapshot()
        expect([deletes, retries.head, retries.list, retries.delete]).toEqual([1, 1, 1, 1])
      }),
    ))

  test("do not wait behind transfers, of which only so many run at once", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup({}, { concurrency: 2 })
        yield* inner.put("there", bodyOf("hello"))
        store.script = ({ kind }) => (kind === "put" ? "hang" : undefined)
        const uploads = yield* Effect.forEach(["a", "b", "c", "d", "e"], (key) =>
          Effect.forkChild(tier2.upload(uploadOf(key, key)), { startImmediately: true }),
        )
        yield* settle
        expect(store.counts.put.requests).toBe(2)
        expect(tier2.snapshot().bulk).toEqual({ inFlight: 2, queued: 3 })
        expect(textOf(yield* tier2.readRange("there", 0, 5))).toBe("hello")
        yield* Fiber.interruptAll(uploads)
        expect(tier2.snapshot().bulk).toEqual({ inFlight: 0, queued: 0 })
        expect(tier2.snapshot().requests.put).toEqual({ success: 0, failure: 0, interrupted: 2 })
        store.script = undefined
        for (const key of ["a", "b", "c"]) yield* tier2.upload(uploadOf(key, key))
      }),
    ))

  test("that wait are interrupted without a trace, and a pause holds no permit", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup({}, { concurrency: 1 })
        yield* inner.put("a", bodyOf("x"))
        store.script = ({ kind }) => (kind === "remove" ? "throttle" : kind === "head" ? "hang" : undefined)
        const pausing = yield* Effect.forkChild(tier2.remove("a"), { startImmediately: true })
        yield* settle
        expect(textOf(yield* tier2.readRange("a", 0, 1))).toBe("x")
        const hanging = yield* Effect.forkChild(tier2.head("a"), { startImmediately: true })
        const waiting = yield* Effect.forkChild(tier2.readRange("a", 0, 1), { startImmediately: true })
        yield* settle
        expect(tier2.snapshot().small).toEqual({ inFlight: 1, queued: 1 })
        yield* Fiber.interruptAll([waiting, hanging, pausing])
        expect(tier2.snapshot().small).toEqual({ inFlight: 0, queued: 0 })
        yield* tier2.readRange("a", 0, 1)
      }),
    ))
})

test.each([[1], [2], [3], [4], [5]])(
  "everything arrives through a store that fails half of the time, seed %p",
  (seed: number) =>
    run(
      Effect.gen(function* () {
        const rates = {
          throttle: 0.08,
          internal: 0.08,
          timeoutBefore: 0.08,
          timeoutAfter: 0.08,
          lostAnswer: 0.08,
          lateWrite: 0.05,
          partialBody: 0.05,
          hang: 0.02,
        }
        const { inner, store, tier2 } = yield* setup({ rates, seed }, { retry: { maxAttempts: 100, baseDelayMs: 1 } })
        const bodies = Array.from({ length: 12 }, (_, index) => pattern(index * 50_000 + 1, index))
        const all = { concurrency: "unbounded", discard: true } as const
        yield* withTime(Effect.forEach(bodies, (bytes, index) => tier2.upload(uploadOf(`k/${index}`, bytes)), all))
        yield* store.settle
        const fetchOne = Effect.fnUntraced(function* (bytes: Uint8Array, index: number) {
          const sink = collect()
          yield* tier2.fetch({ key: `k/${index}`, lengthBytes: bytes.length, checksum64: crc64(bytes), sink })
          expect(crc64(sink.bytes)).toBe(crc64(bytes))
        })
        yield* withTime(Effect.forEach(bodies, fetchOne, all))
        expect((yield* inner.list("")).objects.length).toBe(bodies.length)
        yield* withTime(Effect.forEach(bodies, (_, index) => tier2.remove(`k/${index}`), all))
        yield* store.settle
        expect((yield* inner.list("")).objects).toEqual([])
        const { bulk, small, failures } = tier2.snapshot()
        expect([bulk, small]).toEqual(Array(2).fill({ inFlight: 0, queued: 0 }))
        expect(Object.values(failures)).toEqual([0, 0, 0, 0, 0, 0])
      }),
    ),
)

describe("removing many", () => {
  /** A store that removes many at once, each time as `answer` says. */
  const removing = (answer: (keys: ReadonlyArray<string>) => ReturnType<NonNullable<ObjectStore["removeMany"]>>) =>
    Effect.gen(function* () {
      const inner = makeMemoryStore()
      const store: ObjectStore = Object.assign(inner, { removeMany: answer })
      const config = makeTier2Config({ retry: { maxAttempts: 2, baseDelayMs: 1, jitter: 0 } })
      const tier2 = makeTier2({ store, config, clock: yield* Clock.Clock, emit: () => {}, random32: () => 0 })
      for (const key of ["a", "b"]) yield* tier2.upload(uploadOf(key, key))
      return { inner, tier2 }
    })

  test("gives what is gone, and what is not may be tried again", () =>
    run(
      Effect.gen(function* () {
        const { tier2 } = yield* removing(() =>
          Effect.succeed(new Map([["b", storeError("Throttled", "remove", "b", "SlowDown")]])),
        )
        expect(tier2.removesAtOnce).toBe(1000)
        expect(yield* tier2.removeMany(["a", "b"])).toEqual(["a"])
        expect(tier2.removesAtOnce).toBe(1000)
      }),
    ))

  test("goes on one by one where the server takes no request for many, and not because it was away", () =>
    run(
      Effect.gen(function* () {
        let code: "Invalid" | "Throttled" = "Throttled"
        const { inner, tier2 } = yield* removing((keys) => Effect.fail(storeError(code, "remove", keys[0]!, "Other")))
        expect(yield* withTime(tier2.removeMany(["a", "b"]))).toEqual([])
        expect(tier2.removesAtOnce).toBe(1000)
        code = "Invalid"
        expect(yield* withTime(tier2.removeMany(["a", "b"]))).toEqual([])
        expect(tier2.removesAtOnce).toBe(1)
        for (const key of ["a", "b"]) expect(yield* tier2.removeMany([key])).toEqual([key])
        expect((yield* inner.list("")).objects).toEqual([])
      }),
    ))
})
