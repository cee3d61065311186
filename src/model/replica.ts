/** The options of a replica, their defaults and bounds. */
import { checkStore, type DirectoryPlace, type ObjectStoreHandle } from "./cold_config.ts"
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"
import type { TierEvent } from "./tier_event.ts"
import { type Tier2Options, tier2OptionNames } from "./tier2_config.ts"

/** Options of `openReplica`. */
export interface ReplicaOptions extends Tier2Options {
  /** The bucket of the root, as its writer has it. */
  readonly store: ObjectStoreHandle | DirectoryPlace
  /** How often the bucket is asked whether there is something new, 10 to an hour in milliseconds; default 1 000. */
  readonly pollMs?: number | undefined
  /** Memory for what was read, 1 MiB to 4 GiB; default 64 MiB. */
  readonly cacheBytes?: number | undefined
  /**
   * Registers the replica in the bucket for so long, renewed three times in it, 3 s to a day in milliseconds: objects that it may still read are then not
   * removed. Default 0, which writes nothing; objects are kept only for the writer's `tier2.deleteGraceMs` then.
   */
  readonly leaseMs?: number | undefined
  /** Called with what happens, one structured event each. It must not throw and should be quick. */
  readonly onEvent?: ((event: TierEvent) => void) | undefined
  /** Ends the opening; what was begun is given back. */
  readonly signal?: AbortSignal | undefined
}

/** What a replica knows of the bucket. */
export interface ReplicaInfo {
  /** Where the bucket is. */
  readonly place: string
  /** Epoch of the writer whose HEAD it is. */
  readonly epoch: number
  /** When that HEAD was put, by the clock of its writer, in Unix milliseconds. */
  readonly headMs: number
  /** When the bucket was asked last with an answer, in Unix milliseconds. */
  readonly polledMs: number
  /** How often it was asked, and how often that failed. */
  readonly polls: number
  /** Polls that failed; the replica goes on with what it has. */
  readonly failures: number
  /** HEADs that were taken in. */
  readonly heads: number
}

/** `ReplicaOptions` with every default filled in. */
export interface ReplicaConfig {
  readonly store: ObjectStoreHandle | DirectoryPlace
  readonly pollMs: number
  readonly cacheBytes: number
  readonly leaseMs: number
  readonly client: Tier2Options
  readonly onEvent: ((event: TierEvent) => void) | undefined
}

const MiB = 1024 * 1024

/** The names of all options of a replica. */
export const replicaOptionNames: ReadonlyArray<string> = [
  "store",
  "pollMs",
  "cacheBytes",
  "leaseMs",
  "onEvent",
  "signal",
  ...tier2OptionNames,
]

/** Checks options and fills in defaults; throws `InvalidArgument`. What the manager below checks is left to it. */
export const makeReplicaConfig = (options: ReplicaOptions): ReplicaConfig => {
  checkNames("replica option", options, replicaOptionNames)
  const { store, pollMs = 1000, cacheBytes = 64 * MiB, leaseMs = 0, onEvent, signal: _, ...client } = options
  checkStore(store, "replica.store")
  check("replica.pollMs", pollMs, 10, 3_600_000)
  check("replica.cacheBytes", cacheBytes, MiB, 4096 * MiB)
  if (leaseMs !== 0) check("replica.leaseMs", leaseMs, 3000, 86_400_000)
  return { store, pollMs, cacheBytes, leaseMs, client, onEvent }
}

const check = (name: string, value: number, lowest: number, highest: number): void => {
  if (Number.isSafeInteger(value) && value >= lowest && value <= highest) return
  throw invalidArgument(name, value, `an integer from ${lowest} to ${highest}`)
}
