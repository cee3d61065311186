/**
 * Decides whether requests to a store are sent at all. After so many failures in a row nothing is sent for a while; then one request may
 * try, and by how it ends all may again or the wait gets longer. Pure: whoever asks brings the time.
 *
 * Invariants: while open no request passes before `retryAtMs`; while half open at most one is under way; only its end, or that it was
 * given up, leaves that state. What began before the breaker opened does not count any more.
 */

/** When a breaker opens, and for how long. */
export interface BreakerPolicy {
  /** Failures in a row. */
  readonly failuresMax: number
  /** First wait, doubled with each failed try up to `openMsMax`. */
  readonly openMs: number
  readonly openMsMax: number
}

/** `closed`: all requests are sent. `open`: none is. `halfOpen`: one is, or may be. */
export type BreakerState = "closed" | "open" | "halfOpen"

/** Leave to send a request, given back with its end. */
export interface BreakerPass {
  readonly isProbe: boolean
  /** Changes when what was sent before says nothing any more. */
  readonly round: number
}

export class CircuitBreaker {
  readonly #policy: BreakerPolicy
  #state: BreakerState = "closed"
  #failures = 0
  #isProbing = false
  #openings = 0
  #round = 0
  /** Failed tries since it was last closed. */
  #failedProbes = 0
  #openedMs = 0
  #retryAtMs = 0

  constructor(policy: BreakerPolicy) {
    this.#policy = policy
  }

  get state(): BreakerState {
    return this.#state
  }

  /** How often it has opened from closed. */
  get openings(): number {
    return this.#openings
  }

  /** Since when it is not closed; undefined while it is. */
  get openSinceMs(): number | undefined {
    return this.#state === "closed" ? undefined : this.#openedMs
  }

  /** When the next request may be sent; undefined while it is closed, or waits for the end of one. */
  get retryAtMs(): number | undefined {
    return this.#state === "closed" || this.#isProbing ? undefined : this.#retryAtMs
  }

  /** True when a request would be let through. */
  mayPass(nowMs: number): boolean {
    if (this.#state === "closed") return true
    return !this.#isProbing && nowMs >= this.#retryAtMs
  }

  /** Leave for one request; undefined when it must not be sent. */
  enter(nowMs: number): BreakerPass | undefined {
    if (!this.mayPass(nowMs)) return undefined
    const isProbe = this.#state !== "closed"
    if (isProbe) {
      this.#state = "halfOpen"
      this.#isProbing = true
    }
    return { isProbe, round: this.#round }
  }

  /** The store has answered. */
  succeed(pass: BreakerPass): void {
    if (!this.#isCurrent(pass)) return
    this.#state = "closed"
    this.#isProbing = false
    this.#failures = 0
    this.#failedProbes = 0
  }

  /** The store has not answered, or only that it cannot. */
  fail(pass: BreakerPass, nowMs: number): void {
    if (!this.#isCurrent(pass)) return
    if (pass.isProbe) {
      this.#isProbing = false
      this.#failedProbes++
      this.#open(nowMs)
    } else if (++this.#failures >= this.#policy.failuresMax) {
      this.#openings++
      this.#round++
      this.#openedMs = nowMs
      this.#open(nowMs)
    }
  }

  /** Nothing is known of the store: the request was given up, or was none. */
  abandon(pass: BreakerPass): void {
    if (pass.isProbe && this.#isCurrent(pass)) {
      this.#isProbing = false
      this.#state = "open"
    }
  }

  /** Somebody cannot wait: while it is open one request may try now. */
  hurry(nowMs: number): void {
    if (this.#state === "open") this.#retryAtMs = Math.min(this.#retryAtMs, nowMs)
  }

  /** It is another store from here on, of which nothing is known. */
  reset(): void {
    this.#state = "closed"
    this.#isProbing = false
    this.#failures = 0
    this.#failedProbes = 0
    this.#round++
  }

  #isCurrent({ isProbe, round }: BreakerPass): boolean {
    if (round !== this.#round) return false
    return isProbe ? this.#isProbing : this.#state === "closed"
  }

  #open(nowMs: number): void {
    const { openMs, openMsMax } = this.#policy
    this.#state = "open"
    this.#failures = 0
    this.#retryAtMs = nowMs + Math.min(openMsMax, openMs * 2 ** this.#failedProbes)
  }
}
