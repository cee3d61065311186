/**
 * What stands between the client of Tier 2 and its store: a breaker, which keeps requests back while the store does not answer, and
 * a limit of bytes in a second. Tells when the breaker opens and closes.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Tier2RequestKind } from "../../model/tier_metrics.ts"
import type { Tier2Config } from "../../model/tier2_config.ts"
import { StoreError, storeError } from "../../port/store_error.ts"
import { ByteRate } from "../../state/byte_rate.ts"
import { type BreakerPass, CircuitBreaker } from "../../state/circuit_breaker.ts"
import type { Tier2Metrics } from "./tier2_metrics.ts"

/** The code of a request that was not sent. */
export const circuitOpenCode = "CircuitOpen"

/** What a gate works with. */
export interface Tier2GateOptions {
  readonly config: Tier2Config
  readonly clock: Clock.Clock
  readonly emit: (event: TierEventInput) => void
  readonly metrics: Tier2Metrics
  /** A limit that is kept together with another client; else one of its own. */
  readonly rate?: ByteRate | undefined
}

export class Tier2Gate {
  readonly breaker: CircuitBreaker
  /** Called when the breaker has opened, closed, or waits for a new try. */
  onChange: () => void = () => {}
  /** Why the store does not answer; undefined once it does. */
  lastFailure: StoreError | undefined = undefined
  readonly #options: Tier2GateOptions
  /** The limit of bytes in a second; undefined for none. */
  readonly rate: ByteRate | undefined

  constructor(options: Tier2GateOptions) {
    const { breaker, bytesPerSecondMax } = options.config
    this.#options = options
    this.breaker = new CircuitBreaker(breaker)
    this.rate = options.rate ?? (bytesPerSecondMax === undefined ? undefined : new ByteRate(bytesPerSecondMax))
  }

  /** True while nothing is to be begun that needs the store: it does not answer, and it is nobody's turn to try. */
  get isAway(): boolean {
    return !this.breaker.mayPass(this.#nowMs())
  }

  /** What is behind it is another store from here on. */
  reset(): void {
    this.breaker.reset()
    this.onChange()
  }

  /** Bytes that one request moves at most, so that the limit holds within a quarter of a second as well. */
  pieceBytes(most: number): number {
    return this.rate === undefined ? most : Math.min(most, Math.max(65_536, Math.floor(this.rate.bytesPerSecond / 4)))
  }

  /** Waits until `bytes` more may be moved. */
  paced(bytes: number): Effect.Effect<void> {
    const { rate } = this
    if (rate === undefined) return Effect.void
    return Effect.suspend(() => {
      const delayMs = rate.take(bytes, this.#nowMs())
      this.#options.metrics.pacedMs += delayMs
      return delayMs === 0 ? Effect.void : Effect.sleep(delayMs)
    })
  }

  /** Sends a request, counts it and learns from its end; one that is kept back fails at once and counts as not sent. */
  send<A, E>(kind: Tier2RequestKind, key: string, request: Effect.Effect<A, E>): Effect.Effect<A, E | StoreError> {
    return Effect.suspend((): Effect.Effect<A, E | StoreError> => {
      const { metrics } = this.#options
      const pass = this.breaker.enter(this.#nowMs())
      if (pass === undefined) {
        metrics.refused++
        return Effect.fail(storeError("Network", kind, key, circuitOpenCode))
      }
      const count = metrics.requests[kind]
      return Effect.onExit(request, (exit) =>
        Effect.sync(() => {
          if (exit._tag === "Success") {
            count.success++
            return this.#learn(pass, undefined)
          }
          const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")
          if (failed === undefined) {
            count.interrupted++
            return this.#learn(pass, "abandoned")
          }
          count.failure++
          const error: unknown = failed.error
          const name = error instanceof StoreError ? error.kind : "Other"
          metrics.errors.set(name, (metrics.errors.get(name) ?? 0) + 1)
          // What was refused here, or went wrong on this side, says nothing of the store.
          const isAnswer = error instanceof StoreError && error.kind !== "Invalid"
          this.#learn(pass, isAnswer ? error : "abandoned")
        }),
      )
    })
  }

  #learn(pass: BreakerPass, end: StoreError | "abandoned" | undefined): void {
    const { breaker } = this
    const before = breaker.state
    if (end === "abandoned") breaker.abandon(pass)
    else if (end?.retryable === true) {
      this.lastFailure = end
      breaker.fail(pass, this.#nowMs())
    } else {
      this.lastFailure = undefined
      breaker.succeed(pass)
    }
    if (breaker.state === before && !pass.isProbe) return
    if (before === "closed" && breaker.state === "open" && typeof end === "object") {
      this.#options.emit({ name: "tier2_circuit_open", level: "error", reason: end.message })
    }
    if (before !== "closed" && breaker.state === "closed")
      this.#options.emit({ name: "tier2_circuit_closed", level: "info" })
    this.onChange()
  }

  #nowMs(): number {
    return this.#options.clock.currentTimeMillisUnsafe()
  }
}
