/** The calls that go through a whole root: scrubs, by hand and in the background, reconciliations, and moves to another bucket. Closing ends them. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type AofError, storeRefused } from "../model/errors.ts"
import type { MoveBucketReport } from "../model/move_bucket.ts"
import type { ReconcileReport } from "../model/reconcile.ts"
import type { ScrubPlan, ScrubReport } from "../model/scrub.ts"
import { type BucketMoveRequest, moveBucket } from "./bucket/move_bucket.ts"
import { attempt } from "./flow/attempt.ts"
import { LongCalls } from "./flow/long_calls.ts"
import { Scrubber, type ScrubberOptions } from "./scrub/scrub.ts"
import { type ReconcileRequest, reconcile } from "./tier2/reconcile.ts"
import type { StoreSwitch } from "./tier2/store_switch.ts"
import { makeTier2 } from "./tier2/tier2.ts"

/** What the calls work on. */
export interface WholeRootOptions extends ScrubberOptions {
  /** That of the manager. */
  readonly scope: Scope.Closeable
  /** What requests to Tier 2 go through; undefined when there is none. */
  readonly store: StoreSwitch | undefined
  /** Throws once the manager is closed. */
  readonly checkOpen: () => void
}

export class WholeRoot {
  readonly #options: WholeRootOptions
  readonly #scrubber: Scrubber
  readonly #calls: LongCalls = new LongCalls("manager")
  /** One at a time goes through all objects. */
  readonly #objectsGate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)

  constructor(options: WholeRootOptions) {
    this.#options = options
    this.#scrubber = new Scrubber(options)
    const { config, run } = options.services
    const { scrub, readOnly } = config
    if (scrub !== undefined && !readOnly) run(Effect.ignore(this.#calls.run(this.#scrubber.background(scrub))))
  }

  /** Reads everything and checks it. */
  scrub(plan: ScrubPlan): Effect.Effect<ScrubReport, AofError> {
    return this.#calls.run(this.#scrubber.scrub(plan))
  }

  /** Compares Tier 2 with the manifest. */
  reconcile({ from, ...options }: ReconcileRequest): Effect.Effect<ReconcileReport, AofError> {
    const { services, checkOpen } = this.#options
    const check = (): void => {
      checkOpen()
      if (!options.isPlan) services.fence.check()
    }
    const { tiers, random32 } = services
    const { emit, clock } = tiers.services
    const { client: config } = services.config.tier2
    const rate = tiers.services.tier2?.gate.rate
    const client = from && makeTier2({ store: from, config, emit, clock, random32, rate })
    const reconciled = reconcile(tiers, { ...options, from: client, check })
    return Effect.andThen(attempt(check), this.#calls.run(this.#objectsGate.withPermit(reconciled)))
  }

  /** Moves the root to another bucket. */
  moveBucket({ open, isAbandoned }: BucketMoveRequest): Effect.Effect<MoveBucketReport, AofError> {
    const { services, scope: outer, store, checkOpen } = this.#options
    const check = (): void => {
      checkOpen()
      services.fence.check()
      if (services.config.readOnly) throw storeRefused("moveBucket", "a read-only one", "a writable store")
    }
    const { cut } = this.#calls
    const moved = Effect.gen(function* () {
      yield* attempt(check)
      if (store === undefined)
        return yield* Effect.fail(storeRefused("moveBucket", "one without it", "a store with Tier 2"))
      const scope = yield* Scope.fork(outer)
      const { tiers, random32 } = services
      const config = services.config.tier2.client
      const from = store.current
      const move = Effect.flatMap(Scope.provide(open, scope), (to) =>
        moveBucket({ tiers, store, to, config, isAbandoned, random32, check, cut }),
      )
      // Where the root has gone stays open with the manager, also when what follows is interrupted.
      const end = Effect.suspend(() => (store.current === from ? Scope.close(scope, Exit.void) : Effect.void))
      return yield* Effect.ensuring(move, end)
    })
    return this.#calls.run(this.#objectsGate.withPermit(moved))
  }

  /** Ends all calls and waits until they have ended: they have `cutMs` for what must not be left half-way, and `leftMs()` to go when that is cut off. */
  end(cutMs: number, leftMs: () => number): Effect.Effect<void> {
    return this.#calls.end(cutMs, leftMs)
  }
}
