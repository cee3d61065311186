/**
 * The replicas that are registered in the bucket, as the writer sees them: an object that one of them may still read is not removed.
 *
 * Invariant: a registration holds for its lease from when this process saw it change. One that was never seen cannot need what is due for
 * removal: it began with a HEAD that no longer named it.
 */
import * as Effect from "effect/Effect"
import { decodeReplicaLease, replicaLeaseBytes, replicaLeasePrefix } from "../../format/replica_lease.ts"
import type { AofError } from "../../model/errors.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Tier2 } from "../tier2/tier2.ts"

/** How long what was seen is good for. */
const lookIntervalMs = 5000

interface SeenReplica {
  readonly renewals: number
  readonly lastSequence: number
  /** When it ends unless it is renewed. */
  readonly endMs: number
}

/** What it is made of. */
export interface ReplicaLeasesOptions {
  readonly tier2: Tier2
  /** In hex. */
  readonly rootId: string
  readonly nowMs: () => number
  readonly emit: (event: TierEventInput) => void
}

export class ReplicaLeases {
  readonly #options: ReplicaLeasesOptions
  #seen: Map<string, SeenReplica> = new Map()
  #lookedMs: number | undefined = undefined
  /** Whoever began while HEAD still named what records up to this gave up has been seen. */
  #lookedSequence = 0

  constructor(options: ReplicaLeasesOptions) {
    this.#options = options
  }

  /** Replicas that hold a lease now. */
  get count(): number {
    return this.#seen.size
  }

  /** Objects that a record above this gave up are needed still; infinite when there is no replica. */
  get lowestSequence(): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const { lastSequence } of this.#seen.values()) lowest = Math.min(lowest, lastSequence)
    return lowest
  }

  /** When to look again for the sake of an object that is needed. */
  get nextLookMs(): number {
    return this.#lookedMs === undefined ? 0 : this.#lookedMs + lookIntervalMs
  }

  /**
   * Looks unless it has just done so, for the sake of objects that records up to `sequence` gave up and HEAD does not name any more: who began while
   * it did has registered before. Fails when the bucket does not answer: then nothing is known.
   */
  look(sequence: number): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const isFresh = this.#options.nowMs() < this.nextLookMs && sequence <= this.#lookedSequence
      return isFresh ? Effect.void : this.#look(sequence)
    })
  }

  readonly #look: (sequence: number) => Effect.Effect<void, AofError> = Effect.fnUntraced(
    { self: this },
    function* (sequence: number) {
      const { tier2, rootId, nowMs } = this.#options
      const prefix = replicaLeasePrefix(rootId)
      const seen = new Map<string, SeenReplica>()
      let after: string | undefined
      do {
        const page = yield* tier2.list(prefix, { after })
        for (const { key, lengthBytes } of page.objects) {
          // What is no registration that can be read here is left alone.
          const replica = lengthBytes === replicaLeaseBytes.sizeBytes ? yield* this.#read(key) : undefined
          if (replica === undefined) continue
          if (replica.endMs > nowMs()) seen.set(key, replica)
          else yield* this.#drop(key)
        }
        after = page.next
      } while (after !== undefined)
      this.#seen = seen
      this.#lookedMs = nowMs()
      this.#lookedSequence = Math.max(this.#lookedSequence, sequence)
    },
  )

  readonly #read: (key: string) => Effect.Effect<SeenReplica | undefined, AofError> = Effect.fnUntraced(
    { self: this },
    function* (key: string) {
      const { tier2, nowMs } = this.#options
      const got = yield* Effect.result(tier2.readRange(key, 0, replicaLeaseBytes.sizeBytes))
      // It went since the listing.
      const isGone = got._tag === "Failure" && (got.failure._tag === "NotFound" || got.failure._tag === "Corrupt")
      if (got._tag === "Failure" && !isGone) return yield* Effect.fail(got.failure)
      const known = this.#seen.get(key)
      if (got._tag === "Failure") return known
      const lease = decodeReplicaLease(got.success)
      if (lease === undefined) return undefined
      const { renewals, lastSequence, leaseMs } = lease
      return known?.renewals === renewals ? known : { renewals, lastSequence, endMs: nowMs() + leaseMs }
    },
  )

  /** What has ended goes. */
  #drop(key: string): Effect.Effect<void> {
    this.#options.emit({ name: "replica_lease_ended", level: "info", key })
    return Effect.ignore(this.#options.tier2.remove(key))
  }
}
