// The budget of Tier 0: who gets room, who is refused, who is told.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { admissionGuard } from "../../src/core/tiers/hydrate_segment.ts"
import { Tier0, type Tier0Owner } from "../../src/core/tiers/tier0.ts"
import { makeTier0Config } from "../../src/model/tier_config.ts"

const KiB = 1024
const makeTier0 = (policy: "strict" | "elastic" = "strict"): Tier0 =>
  new Tier0(makeTier0Config({ bytesMax: 100 * KiB, policy }))

const makeOwner = (streamId = 1, tier0BytesMax?: number): Tier0Owner & { readonly told: () => number } => {
  let told = 0
  return { streamId, tier0BytesMax, onRoom: () => void told++, told: () => told }
}

describe("Tier0", () => {
  test("admits within the budget of all streams and refuses beyond it", () => {
    const tier0 = makeTier0()
    const [one, other] = [makeOwner(1), makeOwner(2)]
    expect(tier0.tryAdmit(one, 60 * KiB)?.bytes).toBe(60 * KiB)
    expect(tier0.tryAdmit(other, 60 * KiB)).toBeUndefined()
    expect(tier0.isRefused(other)).toBe(true)
    expect(tier0.tryAdmit(other, 40 * KiB)?.bytes).toBe(40 * KiB)
    expect([tier0.usedBytes, tier0.highestBytes, tier0.usedBytesOf(2)]).toEqual([100 * KiB, 100 * KiB, 40 * KiB])
  })

  test("tells those that were refused when bytes are given back, once", () => {
    const tier0 = makeTier0()
    const [one, other] = [makeOwner(1), makeOwner(2)]
    const guard = tier0.tryAdmit(one, 100 * KiB)!
    tier0.tryAdmit(other, 1)
    expect(other.told()).toBe(0)
    guard.resize(50 * KiB)
    guard.release()
    guard.release()
    expect([other.told(), one.told(), tier0.usedBytes, tier0.isRefused(other)]).toEqual([1, 0, 0, false])
  })

  test("keeps a stream within a budget of its own", () => {
    const tier0 = makeTier0()
    const owner = makeOwner(1, 10 * KiB)
    const guard = tier0.tryAdmit(owner, 8 * KiB)!
    expect(guard.tryGrow(11 * KiB)).toBe(false)
    expect(tier0.refused.get(owner)).toBe("own")
    expect([guard.tryGrow(10 * KiB), guard.bytes]).toEqual([true, 10 * KiB])
    expect(tier0.tryAdmit(makeOwner(2), 80 * KiB)).toBeDefined()
  })

  test("goes above the budget by half when it is elastic", () => {
    const tier0 = makeTier0("elastic")
    expect(tier0.tryAdmit(makeOwner(), 150 * KiB)).toBeDefined()
    expect(tier0.tryAdmit(makeOwner(2), 1)).toBeUndefined()
  })

  test("counts what is on disk whether there is room or not", () => {
    const tier0 = makeTier0()
    tier0.admit(makeOwner(), 300 * KiB)
    expect([tier0.usedBytes, tier0.tryAdmit(makeOwner(2), 1)]).toEqual([300 * KiB, undefined])
  })

  test("hands bytes over from one guard to another without moving the account", () => {
    const tier0 = makeTier0()
    const guard = tier0.tryAdmit(makeOwner(), 40 * KiB)!
    const next = guard.handOver()
    guard.release()
    expect([next.bytes, guard.bytes, tier0.usedBytes]).toEqual([40 * KiB, 0, 40 * KiB])
    next.release()
    expect(tier0.usedBytes).toBe(0)
  })
})

describe("admissionGuard()", () => {
  test("gives its bytes back when the scope closes", async () => {
    const tier0 = makeTier0()
    const scope = Scope.makeUnsafe()
    const guard = await Effect.runPromise(Scope.provide(admissionGuard({ tier0 }, makeOwner(), 30 * KiB), scope))
    expect([guard.bytes, tier0.usedBytes]).toEqual([30 * KiB, 30 * KiB])
    await Effect.runPromise(Scope.close(scope, Exit.void))
    expect(tier0.usedBytes).toBe(0)
  })

  test("waits while the budget is full, and leaves nothing behind when it is interrupted", async () => {
    const tier0 = makeTier0()
    const full = tier0.admit(makeOwner(2), 100 * KiB)
    const held = Effect.scoped(Effect.andThen(admissionGuard({ tier0 }, makeOwner(), 30 * KiB), Effect.never))
    const first = Effect.runFork(held)
    expect(tier0.refused.size).toBe(1)
    await Effect.runPromise(Fiber.interrupt(first))
    expect([tier0.refused.size, tier0.usedBytes]).toEqual([0, 100 * KiB])
    const second = Effect.runFork(held)
    full.resize(90 * KiB)
    await Effect.runPromise(Effect.yieldNow)
    expect(tier0.usedBytes).toBe(120 * KiB)
    await Effect.runPromise(Fiber.interrupt(second))
    expect(tier0.usedBytes).toBe(90 * KiB)
  })
})
