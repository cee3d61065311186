// In which order segments come back, and how failed tries are repeated: by a store that answers only when the test lets it.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager, TierEvent } from "bop-aof"
import { memoryStore, type ObjectStore } from "bop-aof"
import * as Effect from "effect/Effect"
import { Residency } from "../../src/core/tiers/residency.ts"
import { noteFailure } from "../../src/core/tiers/tier_retry.ts"
import { unavailable } from "../../src/model/errors.ts"
import { storeError } from "../../src/port/store_error.ts"
import { openMemory } from "../support/api.ts"

const KiB = 1024

/** A store with another `get`. */
const withGet = (inner: ObjectStore, get: ObjectStore["get"]): ObjectStore => ({
  kind: inner.kind,
  place: inner.place,
  put: (key, body, options) => inner.put(key, body, options),
  get,
  head: (key) => inner.head(key),
  remove: (key) => inner.remove(key),
  list: (prefix, options) => inner.list(prefix, options),
})

/** Holds each get of a segment back until `release` is called for it. */
class HeldStore {
  readonly store: ObjectStore
  /** Stream ids of the gets, in order. */
  readonly asked: Array<number> = []
  isHolding = false
  readonly #held: Array<() => void> = []

  constructor() {
    const inner = memoryStore()
    const held = (key: string): Effect.Effect<void> =>
      Effect.callback<void>((resume) => {
        const id = /segments\/(\d+)\//.exec(key)?.[1]
        if (!this.isHolding || id === undefined) return resume(Effect.void)
        this.asked.push(Number(id))
        this.#held.push(() => resume(Effect.void))
      })
    this.store = withGet(inner, (key, range) => Effect.andThen(held(key), inner.get(key, range)))
  }

  get heldCount(): number {
    return this.#held.length
  }

  release(): void {
    this.#held.shift()?.()
  }
}

/** Gives everything its turns until something holds; the count is only a bound. */
const until = async (holds: () => boolean): Promise<void> => {
  for (let turns = 0; turns < 10_000 && !holds(); turns++) await new Promise((resolve) => setImmediate(resolve))
  expect(holds()).toBe(true)
}

/** A stream whose one sealed segment is in Tier 2 only. */
const coldStream = async (manager: AofManager, name: string): Promise<Aof> => {
  const stream = await manager.stream(name)
  await stream.append(`what ${name} says`)
  await stream.seal()
  await stream.evict({ to: "tier2" })
  return stream
}

const options = { segmentBytes: 16 * KiB, tier1: { compress: "pressure", residencyMsMin: 0 } } as const

describe("segments that are asked for", () => {
  test("come two at a time, the most urgent first, and those of one urgency in the order in which they were asked for", async () => {
    const held = new HeldStore()
    const manager = await openMemory({ ...options, tier2: { store: held.store } })
    const streams: Array<Aof> = []
    for (const name of ["a", "b", "c", "d", "e", "f"]) streams.push(await coldStream(manager, name))
    const idOf = (at: number): number => streams[at]!.info().streamId
    held.isHolding = true
    const wanted: Array<Promise<unknown>> = []
    for (const at of [0, 1, 2, 3]) {
      wanted.push(streams[at]!.prefetch({ to: "tier1" }))
      await until(() => held.heldCount === Math.min(at + 1, 2))
    }
    // Readers come last and go first.
    for (const at of [4, 5]) wanted.push(streams[at]!.openReader(streams[at]!.segments()[0]!.index))
    for (let started = 2; started < 6; started++) {
      expect(held.asked.length).toBe(started)
      held.release()
      await until(() => held.asked.length === started + 1)
    }
    expect(held.asked).toEqual([0, 1, 4, 5, 2, 3].map(idOf))
    held.isHolding = false
    for (let left = 0; left < 6; left++) held.release()
    await Promise.all(wanted)
    await manager.close()
  })

  test("are tried again after pauses that double, and given up after as many as were configured", async () => {
    const events: Array<TierEvent> = []
    const inner = memoryStore()
    let isDown = false
    const store = withGet(inner, (key, range) =>
      isDown && key.includes("/segments/")
        ? Effect.fail(storeError("Network", "get", key, "ECONNRESET"))
        : inner.get(key, range),
    )
    const manager = await openMemory({
      ...options,
      tier1: { ...options.tier1, retriesMax: 3, retryBackoffMs: 2 },
      tier2: { store, retry: { maxAttempts: 1, baseDelayMs: 1, jitter: 0 } },
      onEvent: (event) => void events.push(event),
    })
    const stream = await coldStream(manager, "a")
    isDown = true
    const failure = await stream.prefetch({ to: "tier1" }).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toBeDefined()
    const scheduled = events.filter(({ name }) => name === "tier1_hydration_retry_scheduled")
    expect(scheduled.map(({ attempt, delayMs }) => [attempt, delayMs])).toEqual([
      [1, 2],
      [2, 4],
      [3, 8],
    ])
    const exhausted = events.filter(({ name }) => name === "tier1_hydration_retry_exhausted")
    expect(exhausted.map(({ attempt }) => attempt)).toEqual([4])
    await manager.close()
  })
})

describe("the next try of a step of Tier 1", () => {
  test("waits twice as long after each failure, and long once there were too many", () => {
    let nowMs = 1000
    const services = {
      clock: { currentTimeMillisUnsafe: () => nowMs },
      tier1: { retriesMax: 4, retryBackoffMs: 100 },
      onDiskFull: () => {},
    } as unknown as Parameters<typeof noteFailure>[0]
    const residency = new Residency({ streamId: 1, stream: "a", index: 1, root: "/r" })
    const pauses: Array<number> = []
    for (let failures = 0; failures < 6; failures++) {
      noteFailure(services, residency, unavailable("writing", "EIO", "/r"))
      pauses.push(residency.retryAtMs - nowMs)
      nowMs = residency.retryAtMs
    }
    expect(pauses).toEqual([100, 200, 400, 800, 30_000, 30_000])
    expect(residency.failures).toBe(6)
  })
})
