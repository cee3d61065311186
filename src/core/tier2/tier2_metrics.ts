/** What the client of Tier 2 counts. */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type {
  Tier2ClientSnapshot,
  Tier2LaneSnapshot,
  Tier2Operation,
  Tier2Outcomes,
  Tier2RequestKind,
} from "../../model/tier_metrics.ts"
import type { CircuitBreaker } from "../../state/circuit_breaker.ts"

type Counts<Key extends string> = Record<Key, number>

const zeros = (): Counts<Tier2Operation> => ({ upload: 0, fetch: 0, delete: 0, read: 0, head: 0, list: 0 })
const outcomes = (): { -readonly [Key in keyof Tier2Outcomes]: number } => ({ success: 0, failure: 0, interrupted: 0 })

export class Tier2Metrics {
  readonly requests: Readonly<Record<Tier2RequestKind, Counts<keyof Tier2Outcomes>>> = {
    put: outcomes(),
    get: outcomes(),
    head: outcomes(),
    remove: outcomes(),
    list: outcomes(),
  }
  readonly successes: Counts<Tier2Operation> = zeros()
  readonly failures: Counts<Tier2Operation> = zeros()
  readonly retries: Counts<Tier2Operation> = zeros()
  /** Failed requests by kind of error. */
  readonly errors: Map<string, number> = new Map()
  /** Requests that the breaker did not let through. */
  refused = 0
  pacedMs = 0
  bytesUploaded = 0
  bytesFetched = 0
  bytesRead = 0

  /** A copy, which does not change any more. */
  snapshot(lanes: { readonly bulk: Lane; readonly small: Lane }, breaker: CircuitBreaker): Tier2ClientSnapshot {
    const { put, get, head, remove, list } = this.requests
    return {
      requests: { put: { ...put }, get: { ...get }, head: { ...head }, remove: { ...remove }, list: { ...list } },
      errors: Object.fromEntries(this.errors),
      breaker: {
        state: breaker.state,
        openings: breaker.openings,
        refused: this.refused,
        openSinceMs: breaker.openSinceMs,
        retryAtMs: breaker.retryAtMs,
      },
      pacedMs: this.pacedMs,
      bytesUploaded: this.bytesUploaded,
      bytesFetched: this.bytesFetched,
      bytesRead: this.bytesRead,
      successes: { ...this.successes },
      failures: { ...this.failures },
      retries: { ...this.retries },
      deletes: this.successes.delete,
      bulk: lanes.bulk.snapshot(),
      small: lanes.small.snapshot(),
    }
  }
}

/** A bound on what runs at once, in order of arrival. A permit is given back however its holder ends, also while it waits. */
export class Lane {
  readonly #semaphore: Semaphore.Semaphore
  #queued = 0
  #inFlight = 0

  constructor(concurrency: number) {
    this.#semaphore = Semaphore.makeUnsafe(concurrency)
  }

  /** Runs `effect` when it is its turn. */
  run<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> {
    const counted = (ticket: { isWaiting: boolean }): Effect.Effect<A, E> =>
      this.#semaphore.withPermit(
        Effect.acquireUseRelease(
          Effect.sync(() => {
            this.#leave(ticket)
            this.#inFlight++
          }),
          () => effect,
          () =>
            Effect.sync(() => {
              this.#inFlight--
            }),
        ),
      )
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        this.#queued++
        return { isWaiting: true }
      }),
      counted,
      (ticket) => Effect.sync(() => this.#leave(ticket)),
    )
  }

  snapshot(): Tier2LaneSnapshot {
    return { inFlight: this.#inFlight, queued: this.#queued }
  }

  #leave(ticket: { isWaiting: boolean }): void {
    if (!ticket.isWaiting) return
    ticket.isWaiting = false
    this.#queued--
  }
}
