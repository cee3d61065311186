// When Tier 2 answers again after an outage in which everything has failed often, it is asked as soon as the breaker lets one pass. Time is virtual.

import { describe, expect, test } from "bun:test"
import { AofManager } from "bop-aof/effect"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import { makeInlineCompressor } from "../../src/compressor/compressor.ts"
import type { Tier2Gate } from "../../src/core/tier2/tier2_gate.ts"
import type { Residency } from "../../src/core/tiers/residency.ts"
import { TierProbe } from "../../src/core/tiers/tier_probe.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import { Compressor } from "../../src/port/compressor.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { CircuitBreaker } from "../../src/state/circuit_breaker.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { simCodec } from "../../src/testing/simulation/sim_codec.ts"
import { SimLoop } from "../../src/testing/simulation/sim_loop.ts"
import { SimRandom } from "../../src/testing/simulation/sim_random.ts"

/** Runs a program in a world whose time goes on when nothing can run. */
const runVirtual = <A, E>(program: Effect.Effect<A, E, never>): A => {
  const loop = new SimLoop({ random: new SimRandom(1), disorder: 0, wallMs: 1_700_000_000_000 })
  const nextTurn = (task: () => void): void => loop.schedule(task)
  const services = new MemoryDisk({ modelsCrashes: false, nextTurn }).services()
  const directory = Context.get(services, Directory)
  const eventLoop: EventLoop = { nextTurn }
  const load = { loadCodec: () => Promise.resolve(simCodec), codec: simCodec }
  const compressor = makeInlineCompressor({ directory, eventLoop, ...load })
  const context = services.pipe(
    Context.add(EventLoop, eventLoop),
    Context.add(Compressor, { ...compressor, decodeFrameUnsafe: simCodec.decompress }),
    Context.add(Scheduler.Scheduler, loop.scheduler),
    Context.add(Clock.Clock, loop.clock),
    Context.add(Random.Random, loop.chance),
  )
  const fiber = Effect.runForkWith(context)(program)
  const end = loop.run(() => fiber.pollUnsafe() !== undefined, 86_400_000)
  const exit = fiber.pollUnsafe()
  if (exit?._tag !== "Success") throw new Error(`${end}: ${String(exit?._tag === "Failure" ? exit.cause : "no end")}`)
  return exit.value
}

const openMsMax = 2000
const options = (store: FaultyObjectStore): AofManagerOptions => ({
  root: "/store",
  segmentBytes: 8192,
  stagingBytes: 4096,
  preallocateBytesMax: 8192,
  tier1: { retriesMax: 1, residencyMsMin: 0 },
  tier2: {
    store,
    headIntervalMs: 0,
    deleteGraceMs: 0,
    retry: { maxAttempts: 1 },
    breaker: { failuresMax: 3, openMs: 1000, openMsMax },
  },
})

/** How long it takes after an outage of `outageMs` until all is uploaded, and how many requests were sent while it lasted. */
const recovery = (outageMs: number, more: Partial<AofManagerOptions["tier2"] & object> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = new FaultyObjectStore(makeMemoryStore())
      const given = options(store)
      const manager = yield* AofManager.open({ ...given, tier2: { ...(given.tier2 as object), ...more } })
      const stream = yield* manager.stream("orders")
      yield* stream.append("first")
      yield* stream.seal()
      yield* manager.settled()
      store.down = "Network"
      for (let count = 0; count < 6; count++) {
        yield* stream.append("x".repeat(3000))
        yield* stream.seal()
      }
      yield* Effect.sleep(1000)
      const evicting = more.upload === "pressure" ? stream.evict({ to: "tier2" }) : Effect.void
      yield* Effect.forkChild(Effect.ignore(evicting))
      yield* Effect.sleep(20_000)
      const before = store.counts.put.requests
      yield* Effect.sleep(outageMs)
      const sent = store.counts.put.requests - before
      store.down = undefined
      let passedMs = 0
      const left = (): number => manager.observe().tier2?.backlog.segments ?? 0
      expect(left()).toBeGreaterThan(5)
      while (left() > 0 && passedMs < 60_000) {
        yield* Effect.sleep(100)
        passedMs += 100
      }
      yield* manager.close()
      return { passedMs, sent }
    }),
  ) as Effect.Effect<{ readonly passedMs: number; readonly sent: number }>

describe("after an outage in which every upload has failed more than retriesMax times", () => {
  test.each([["eager"], ["pressure"]] as const)(
    "uploads (%s) go on within openMsMax",
    (upload: "eager" | "pressure") => {
      // Whenever the outage ends.
      for (const outageMs of [60_000, 61_000, 67_000, 75_500]) {
        const { passedMs, sent } = runVirtual(recovery(outageMs, { upload }))
        expect(passedMs).toBeLessThanOrEqual(openMsMax + 500)
        // One at a time asks.
        expect(sent).toBeGreaterThan(outageMs / openMsMax / 2)
        expect(sent).toBeLessThanOrEqual(Math.ceil(outageMs / openMsMax) + 1)
      }
    },
  )
})

describe("who asks a store that did not answer", () => {
  const segment = (retryAtMs: number, more: Partial<Residency> = {}): Residency =>
    ({ retryAtMs, isBusy: false, isGone: false, ...more }) as Residency

  const opened = (): { readonly breaker: CircuitBreaker; readonly gate: (nowMs: number) => Tier2Gate } => {
    const breaker = new CircuitBreaker({ failuresMax: 1, openMs: 100, openMsMax: 100 })
    breaker.fail(breaker.enter(0)!, 0)
    return { breaker, gate: (nowMs) => ({ breaker, isAway: !breaker.mayPass(nowMs) }) as unknown as Tier2Gate }
  }

  test("is the one that waits longest, alone, and not before the breaker lets it", () => {
    const { gate } = opened()
    const waiting = [segment(30_005), segment(30_001), segment(30_000, { isBusy: true })]
    const probe = new TierProbe()
    probe.ask(gate(99), waiting, 99)
    expect(waiting.map(({ retryAtMs }) => retryAtMs)).toEqual([30_005, 30_001, 30_000])
    probe.ask(gate(100), waiting, 100)
    expect(waiting.map(({ retryAtMs }) => retryAtMs)).toEqual([30_005, 100, 30_000])
  })

  test("is nobody while somebody is due; and one that came to nothing without a request is not repeated at once", () => {
    const { breaker, gate } = opened()
    const probe = new TierProbe()
    const due = [segment(30_000), segment(50)]
    probe.ask(gate(100), due, 100)
    expect(due[0]!.retryAtMs).toBe(30_000)
    const waiting = [segment(30_000), segment(40_000)]
    probe.ask(gate(200), waiting, 200)
    expect(waiting[0]!.retryAtMs).toBe(30_000)
    expect(probe.nextMs(gate(200))).toBe(1100)
    probe.ask(gate(1100), waiting, 1100)
    expect(waiting[0]!.retryAtMs).toBe(1100)
    // The breaker has learned something.
    breaker.fail(breaker.enter(1150)!, 1150)
    expect(probe.nextMs(gate(1150))).toBe(1250)
  })
})
