/**
 * Registers a replica in the bucket for as long as it is open, so that its writer keeps the objects that it may still read. Renewed three
 * times in a lease; a replica that comes too late goes on from HEAD, as it does at every poll.
 */
import * as Effect from "effect/Effect"
import { encodeReplicaLease, replicaLeasePrefix } from "../../format/replica_lease.ts"
import type { AofError } from "../../model/errors.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { HeadStore } from "../bucket/head_store.ts"

/** Longest that closing a replica waits for its bucket. */
const endMsMax = 1000

/** What a registration is made of. */
export interface ReplicaRegistrationOptions {
  readonly headStore: HeadStore
  /** In hex. */
  readonly rootId: string
  /** Unlike that of any other replica: 16 hex digits. */
  readonly id: string
  readonly leaseMs: number
  /** Sequence of the last record of the manifest that readers see. */
  readonly lastSequence: () => number
  readonly emit: (event: TierEventInput) => void
}

export class ReplicaRegistration {
  readonly #options: ReplicaRegistrationOptions
  #renewals = 0

  constructor(options: ReplicaRegistrationOptions) {
    this.#options = options
  }

  /** Puts it, or puts it anew. */
  readonly renew: Effect.Effect<void, AofError> = Effect.suspend(() => {
    const { headStore, leaseMs, lastSequence } = this.#options
    const lease = { leaseMs, lastSequence: lastSequence(), renewals: ++this.#renewals }
    return headStore.putSmall(this.#key, encodeReplicaLease(lease))
  })

  /** Renews it for ever. */
  readonly keep: Effect.Effect<never> = Effect.suspend(() => {
    const { leaseMs, emit } = this.#options
    const once = Effect.catch(this.renew, (error) =>
      Effect.sync(() => emit({ name: "replica_lease_failed", level: "warn", key: this.#key, reason: error.message })),
    )
    return Effect.forever(Effect.andThen(Effect.sleep(leaseMs / 3), once))
  })

  /** Takes it back, with one short try: where that does not work it ends by itself. */
  readonly end: Effect.Effect<void> = Effect.suspend(() =>
    Effect.ignore(this.#options.headStore.removeSmall(this.#key, endMsMax)),
  )

  get #key(): string {
    const { rootId, id } = this.#options
    return `${replicaLeasePrefix(rootId)}${id}`
  }
}
