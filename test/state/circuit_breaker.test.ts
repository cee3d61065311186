// When requests are sent, kept back, and tried again.

import { describe, expect, test } from "bun:test"
import { ByteRate } from "../../src/state/byte_rate.ts"
import { type BreakerPass, CircuitBreaker } from "../../src/state/circuit_breaker.ts"
import { makeRandom } from "../support/random.ts"

const policy = { failuresMax: 3, openMs: 100, openMsMax: 350 }

const failTimes = (breaker: CircuitBreaker, times: number, nowMs: number): void => {
  for (let count = 0; count < times; count++) breaker.fail(breaker.enter(nowMs)!, nowMs)
}

describe("a breaker", () => {
  test("opens after so many failures in a row, and a success between them starts anew", () => {
    const breaker = new CircuitBreaker(policy)
    failTimes(breaker, 2, 0)
    breaker.succeed(breaker.enter(0)!)
    failTimes(breaker, 2, 0)
    expect([breaker.state, breaker.openings, breaker.openSinceMs, breaker.retryAtMs]).toEqual([
      "closed",
      0,
      undefined,
      undefined,
    ])
    failTimes(breaker, 1, 7)
    expect([breaker.state, breaker.openings, breaker.openSinceMs, breaker.retryAtMs]).toEqual(["open", 1, 7, 107])
    expect(breaker.enter(106)).toBe(undefined)
  })

  test("lets one try when the wait is over, and waits twice as long after each that fails, up to a limit", () => {
    const breaker = new CircuitBreaker(policy)
    failTimes(breaker, 3, 0)
    let nowMs = 0
    for (const waitMs of [100, 200, 350, 350]) {
      expect(breaker.mayPass(nowMs + waitMs - 1)).toBe(false)
      nowMs += waitMs
      const probe = breaker.enter(nowMs)!
      expect([probe.isProbe, breaker.state, breaker.retryAtMs]).toEqual([true, "halfOpen", undefined])
      expect(breaker.enter(nowMs + 10_000)).toBe(undefined)
      breaker.fail(probe, nowMs)
      expect([breaker.state, breaker.openings, breaker.openSinceMs]).toEqual(["open", 1, 0])
    }
    const probe = breaker.enter(nowMs + 350)!
    breaker.succeed(probe)
    expect([breaker.state, breaker.retryAtMs]).toEqual(["closed", undefined])
    failTimes(breaker, 3, nowMs)
    expect(breaker.retryAtMs).toBe(nowMs + 100)
  })

  test("lets another try at once when one was given up", () => {
    const breaker = new CircuitBreaker(policy)
    failTimes(breaker, 3, 0)
    const probe = breaker.enter(100)!
    breaker.abandon(probe)
    expect([breaker.state, breaker.retryAtMs]).toEqual(["open", 100])
    expect(breaker.enter(100)?.isProbe).toBe(true)
  })

  test("learns nothing from what began before it opened", () => {
    const breaker = new CircuitBreaker(policy)
    const early = [breaker.enter(0)!, breaker.enter(0)!]
    failTimes(breaker, 3, 0)
    breaker.succeed(early[0]!)
    expect(breaker.state).toBe("open")
    breaker.fail(early[1]!, 50)
    expect(breaker.retryAtMs).toBe(100)
    breaker.succeed(breaker.enter(100)!)
    breaker.fail(early[1]!, 100)
    failTimes(breaker, 2, 100)
    expect(breaker.state).toBe("closed")
  })

  test("keeps its invariants whatever happens, in any order", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = makeRandom(seed)
      const breaker = new CircuitBreaker(policy)
      const passes: Array<BreakerPass> = []
      let nowMs = 0
      for (let step = 0; step < 300; step++) {
        nowMs += random(60)
        const { state, retryAtMs } = breaker
        const choice = random(4)
        if (choice === 0 || passes.length === 0) {
          const pass = breaker.enter(nowMs)
          if (state !== "closed" && (retryAtMs === undefined || nowMs < retryAtMs)) expect(pass).toBe(undefined)
          else expect(pass?.isProbe).toBe(state !== "closed")
          if (pass !== undefined) passes.push(pass)
        } else {
          const [pass] = passes.splice(random(passes.length), 1)
          if (choice === 1) breaker.succeed(pass!)
          else if (choice === 2) breaker.fail(pass!, nowMs)
          else breaker.abandon(pass!)
        }
        if (breaker.state === "open") expect(breaker.retryAtMs! - nowMs).toBeLessThanOrEqual(policy.openMsMax)
      }
      // It always comes back.
      for (const pass of passes) breaker.abandon(pass)
      if (breaker.state !== "closed") breaker.succeed(breaker.enter(nowMs + policy.openMsMax)!)
      expect(breaker.state).toBe("closed")
    }
  })
})

test("a rate gives each byte its time, and saves up no more than a tenth of a second", () => {
  const rate = new ByteRate(1000)
  expect(rate.take(100, 0)).toBe(0)
  expect(rate.take(500, 0)).toBe(0)
  expect(rate.take(500, 0)).toBe(500)
  expect(rate.take(1, 1000)).toBe(0)
  expect(rate.take(1000, 60_000)).toBe(0)
  expect(rate.take(1, 60_000)).toBe(900)
  let [nowMs, bytes] = [100_000, 0]
  for (let count = 0; count < 1000; count++) {
    nowMs += rate.take(37, nowMs)
    bytes += 37
  }
  expect(bytes).toBeLessThanOrEqual(((nowMs - 100_000 + 100) * 1000) / 1000 + 37)
})
