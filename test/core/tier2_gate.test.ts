// What keeps requests to Tier 2 back: a breaker while it does not answer, and a limit of bytes in a second. Time is the test's own.

import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { makeTier2, type Tier2Upload } from "../../src/core/tier2/tier2.ts"
import { crc64 } from "../../src/format/checksum.ts"
import type { TierEventInput } from "../../src/model/tier_event.ts"
import { makeTier2Config, type Tier2Options } from "../../src/model/tier2_config.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { bodyOf, pattern } from "../support/object_store_conformance.ts"

const KiB = 1024
const MiB = 1024 * KiB

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.provide(effect, TestClock.layer()))

const setup = Effect.fnUntraced(function* (options: Tier2Options) {
  const inner = makeMemoryStore()
  const store = new FaultyObjectStore(inner)
  const events: Array<TierEventInput> = []
  const clock = yield* Clock.Clock
  const config = makeTier2Config({ retry: { maxAttempts: 1 }, ...options })
  const tier2 = makeTier2({ store, config, clock, emit: (event) => void events.push(event), random32: () => 0 })
  return { inner, store, tier2, events }
})

const settle: Effect.Effect<void> = Effect.repeat(Effect.yieldNow, { times: 200 }).pipe(Effect.asVoid)

/** Runs to the end and gives how long that took, in steps of a quarter of a second. */
const timeOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<number, E> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    let passedMs = 0
    yield* settle
    while (fiber.pollUnsafe() === undefined && passedMs < 600_000) {
      yield* TestClock.adjust(250)
      yield* settle
      passedMs += 250
    }
    yield* Fiber.join(fiber)
    return passedMs
  })

const uploadOf = (key: string, bytes: Uint8Array): Tier2Upload => ({
  key,
  body: bodyOf(bytes),
  checksum64: crc64(bytes),
})

describe("while the store does not answer", () => {
  const breaker = { failuresMax: 3, openMs: 1000, openMsMax: 2000 }

  test.each(["Network", "Timeout", "Throttled", "Internal"] as const)(
    "with %s nothing is sent but one try after each wait, and all again when one succeeds",
    (kind: "Network" | "Timeout" | "Throttled" | "Internal") =>
      run(
        Effect.gen(function* () {
          const { store, tier2, events } = yield* setup({ breaker })
          let changes = 0
          tier2.gate.onChange = () => {
            changes++
          }
          store.down = kind
          for (let count = 0; count < 3; count++) yield* Effect.flip(tier2.head("a"))
          expect([store.counts.head.requests, changes]).toEqual([3, 1])
          const refused = yield* Effect.flip(tier2.upload(uploadOf("a", pattern(10))))
          expect(refused).toMatchObject({ _tag: "Unavailable", code: "CircuitOpen", retryable: true })
          expect(store.counts.put.requests).toBe(0)
          for (const waitMs of [1000, 2000, 2000]) {
            yield* TestClock.adjust(waitMs - 1)
            yield* Effect.flip(tier2.head("a"))
            yield* TestClock.adjust(1)
            const requests = store.counts.head.requests
            yield* Effect.flip(tier2.head("a"))
            yield* Effect.flip(tier2.head("a"))
            expect(store.counts.head.requests).toBe(requests + 1)
          }
          const { breaker: open } = tier2.snapshot()
          expect(open).toEqual({ state: "open", openings: 1, refused: 7, openSinceMs: 0, retryAtMs: 7000 })
          store.down = undefined
          yield* TestClock.adjust(2000)
          yield* tier2.head("a")
          expect(tier2.snapshot().breaker).toEqual({
            state: "closed",
            openings: 1,
            refused: 7,
            openSinceMs: undefined,
            retryAtMs: undefined,
          })
          yield* tier2.upload(uploadOf("a", pattern(10)))
          expect(events.map(({ name }) => name)).toEqual([
            "tier2_circuit_open",
            "tier2_upload_failed",
            "tier2_circuit_closed",
            "tier2_upload_success",
          ])
          expect(tier2.snapshot().errors).toEqual({ [kind]: 6 })
        }),
      ),
  )

  test("one try at a time is let through, and another when that was given up", () =>
    run(
      Effect.gen(function* () {
        const { store, tier2 } = yield* setup({ breaker })
        store.down = "Network"
        for (let count = 0; count < 3; count++) yield* Effect.flip(tier2.head("a"))
        store.down = undefined
        store.script = () => "hang"
        yield* TestClock.adjust(1000)
        const probe = yield* Effect.forkChild(tier2.head("a"), { startImmediately: true })
        yield* settle
        expect(tier2.snapshot().breaker.state).toBe("halfOpen")
        expect((yield* Effect.flip(tier2.head("b")))._tag).toBe("Unavailable")
        yield* Fiber.interrupt(probe)
        store.script = undefined
        yield* tier2.head("b")
        expect(tier2.snapshot().breaker.state).toBe("closed")
      }),
    ))

  test("an answer is an answer: what is not found, denied or there already does not open it", () =>
    run(
      Effect.gen(function* () {
        const { inner, store, tier2 } = yield* setup({ breaker: { ...breaker, failuresMax: 1 } })
        yield* Effect.flip(tier2.readRange("none", 0, 1))
        yield* inner.put("there", bodyOf("other"))
        yield* Effect.flip(tier2.upload(uploadOf("there", pattern(5))))
        store.script = () => "denied"
        yield* Effect.flip(tier2.head("a"))
        yield* Effect.flip(tier2.head("../a"))
        expect(tier2.snapshot().breaker.openings).toBe(0)
        store.script = () => "throttle"
        yield* Effect.flip(tier2.head("a"))
        expect(tier2.snapshot().breaker.openings).toBe(1)
      }),
    ))
})

describe("a limit of bytes in a second", () => {
  const limited: Tier2Options = { bytesPerSecondMax: 256 * KiB, requestTimeoutMs: 800 }

  test("holds for uploads and downloads, which are not taken for stuck meanwhile", () =>
    run(
      Effect.gen(function* () {
        const { tier2 } = yield* setup(limited)
        const content = pattern(2 * MiB)
        const up = yield* timeOf(tier2.upload(uploadOf("a", content)))
        expect(up).toBeGreaterThanOrEqual(7000 - 250)
        expect(up).toBeLessThanOrEqual(8250)
        const sink = { write: () => Effect.void }
        const down = yield* timeOf(
          tier2.fetch({ key: "a", lengthBytes: content.length, checksum64: crc64(content), sink }),
        )
        expect(down).toBeGreaterThanOrEqual(7000 - 250)
        expect(down).toBeLessThanOrEqual(9250)
        expect(tier2.snapshot().pacedMs).toBeGreaterThan(12_000)
      }),
    ))

  test("is kept by two clients together, where a root moves from one store to another", () =>
    run(
      Effect.gen(function* () {
        const { tier2 } = yield* setup(limited)
        const clock = yield* Clock.Clock
        const config = makeTier2Config({ retry: { maxAttempts: 1 }, ...limited })
        const { rate } = tier2.gate
        const store = makeMemoryStore()
        const other = makeTier2({ store, config, clock, emit: () => {}, random32: () => 0, rate })
        const both = [tier2, other].map((one) => one.upload(uploadOf("a", pattern(MiB))))
        expect(yield* timeOf(Effect.all(both, { concurrency: 2 }))).toBeGreaterThanOrEqual(7000 - 250)
      }),
    ))

  test("is shared by all transfers, and small reads go by", () =>
    run(
      Effect.gen(function* () {
        const { inner, tier2 } = yield* setup(limited)
        yield* inner.put("small", bodyOf(pattern(64 * KiB)))
        const uploads = Effect.forEach(["a", "b", "c", "d"], (key) => tier2.upload(uploadOf(key, pattern(MiB))), {
          concurrency: 4,
        })
        const fiber = yield* Effect.forkChild(uploads, { startImmediately: true })
        yield* settle
        expect((yield* tier2.readRange("small", 0, 64 * KiB)).length).toBe(64 * KiB)
        expect(yield* timeOf(Fiber.join(fiber))).toBeGreaterThanOrEqual(15_000 - 250)
      }),
    ))

  test("that is waited for ends with who waits", () =>
    run(
      Effect.gen(function* () {
        const { tier2 } = yield* setup(limited)
        const fiber = yield* Effect.forkChild(tier2.upload(uploadOf("a", pattern(8 * MiB))), { startImmediately: true })
        yield* settle
        yield* Fiber.interrupt(fiber)
        expect(tier2.snapshot().bulk).toEqual({ inFlight: 0, queued: 0 })
      }),
    ))
})

test("a download on a slow line asks for less at once until it comes within the time", () =>
  run(
    Effect.gen(function* () {
      const { inner, store, tier2 } = yield* setup({ requestTimeoutMs: 1000, retry: { maxAttempts: 10, jitter: 0 } })
      const content = pattern(6 * MiB)
      yield* inner.put("a", bodyOf(content))
      // A line that brings half a mebibyte in the time of a request.
      let received = 0
      const slow = new FaultyObjectStore(store)
      slow.get = (key, range) =>
        Effect.flatMap(store.get(key, range), (bytes) => {
          if (bytes.length > 512 * KiB) return Effect.never
          received += bytes.length
          return Effect.succeed(bytes)
        })
      const clock = yield* Clock.Clock
      const config = makeTier2Config({ requestTimeoutMs: 1000, retry: { maxAttempts: 10, jitter: 0 } })
      const client = makeTier2({ store: slow, config, clock, emit: () => {}, random32: () => 0 })
      const sink = { write: () => Effect.void }
      yield* timeOf(client.fetch({ key: "a", lengthBytes: content.length, checksum64: crc64(content), sink }))
      expect(received).toBe(content.length)
      expect(client.snapshot().errors).toEqual({ Timeout: 3 })
      expect(tier2.snapshot().breaker.state).toBe("closed")
    }),
  ))

test.each([
  ["tier2.breaker.failuresMax", { breaker: { failuresMax: 0 } }],
  ["tier2.breaker.openMs", { breaker: { openMs: 0.5 } }],
  ["tier2.breaker.openMsMax", { breaker: { openMs: 2000, openMsMax: 1999 } }],
  ["tier2.breaker option", { breaker: { open: 1 } }],
  ["tier2.bytesPerSecondMax", { bytesPerSecondMax: 1023 }],
] as ReadonlyArray<[string, object]>)("refuses a wrong %s", (what: string, options: object) => {
  let error: unknown
  try {
    makeTier2Config(options)
  } catch (thrown) {
    error = thrown
  }
  expect(error).toMatchObject({ _tag: "InvalidArgument", what })
})
