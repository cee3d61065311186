/** Options of the tiers, their defaults and bounds. Sizes are bytes, times milliseconds. */
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"

/** What happens when Tier 0 is full: writers wait at the budget, or go on above it while it is being cleared. */
export type Tier0Policy = "strict" | "elastic"

/** Options of Tier 0: segments as plain files, mapped or read in place. */
export interface Tier0Options {
  /** Bytes of all segment files of all streams, 64 KiB or more; default 32 GiB. */
  readonly bytesMax?: number | undefined
  /**
   * `strict` (default): nothing is appended above `bytesMax`. `elastic`: appends go on up to half as much again while the rest
   * is evicted as fast as it can be.
   */
  readonly policy?: Tier0Policy | undefined
  /** Requests for residency that may wait before `tier0_activation_queue_warning` is told, 1 or more; default 32. */
  readonly activationQueueWarnThreshold?: number | undefined
  /** Memory for decoded stretches of segments that are not in Tier 0, half of it for scans, 1 MiB to 4 GiB; default 32 MiB. */
  readonly frameCacheBytes?: number | undefined
  /** Point reads that have to decode, after which a segment is brought back to Tier 0; 0 turns that off; default 256. */
  readonly promoteReads?: number | undefined
}

/** Options of Tier 1: sealed segments as seekable zstd on local disk. */
export interface Tier1Options {
  /** Bytes of all warm files, 64 KiB or more; default 128 GiB. */
  readonly bytesMax?: number | undefined
  /** zstd level, 1 to 19; default 8. It is lowered while Tier 0 is nearly full. */
  readonly level?: number | undefined
  /** Bytes of segment in one zstd frame, about, 4 KiB to 1 MiB; default 64 KiB. */
  readonly frameBytes?: number | undefined
  /** How long a warm file stays at least, 0 to a day; default 1 000. */
  readonly residencyMsMin?: number | undefined
  /** Further tries of a compression or hydration that failed, 0 to 100; default 3. */
  readonly retriesMax?: number | undefined
  /** Pause before the first further try, doubled for each next, 1 to 60 000; default 100. */
  readonly retryBackoffMs?: number | undefined
  /** `eager`: right after the seal; `pressure`: when Tier 0 fills. Default `eager` when an object store is given, else `pressure`. */
  readonly compress?: "eager" | "pressure" | undefined
}

/** `Tier0Options` with every default filled in. */
export interface Tier0Config {
  readonly bytesMax: number
  readonly policy: Tier0Policy
  readonly activationQueueWarnThreshold: number
  readonly frameCacheBytes: number
  readonly promoteReads: number
}

/** `Tier1Options` with every default filled in. */
export interface Tier1Config {
  readonly bytesMax: number
  readonly level: number
  readonly frameBytes: number
  readonly residencyMsMin: number
  readonly retriesMax: number
  readonly retryBackoffMs: number
  readonly compress: "eager" | "pressure"
}

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB
const bytesMaxHighest = 2 ** 50

type Bound = readonly [lowest: number, highest: number, byDefault: number]

const tier0Bounds = {
  bytesMax: [64 * KiB, bytesMaxHighest, 32 * GiB],
  activationQueueWarnThreshold: [1, 1_000_000, 32],
  frameCacheBytes: [MiB, 4 * GiB, 32 * MiB],
  promoteReads: [0, 1_000_000_000, 256],
} satisfies Record<string, Bound>

const tier1Bounds = {
  bytesMax: [64 * KiB, bytesMaxHighest, 128 * GiB],
  level: [1, 19, 8],
  frameBytes: [4 * KiB, MiB, 64 * KiB],
  residencyMsMin: [0, 86_400_000, 1000],
  retriesMax: [0, 100, 3],
  retryBackoffMs: [1, 60_000, 100],
} satisfies Record<string, Bound>

/** Checks options of Tier 0 and fills in defaults; throws `InvalidArgument`. */
export const makeTier0Config = (options: Tier0Options = {}): Tier0Config => {
  checkNames("tier0 option", options, [...Object.keys(tier0Bounds), "policy"])
  return {
    bytesMax: bounded("tier0.bytesMax", options.bytesMax, tier0Bounds.bytesMax),
    policy: oneOf("tier0.policy", options.policy, ["strict", "elastic"]),
    activationQueueWarnThreshold: bounded(
      "tier0.activationQueueWarnThreshold",
      options.activationQueueWarnThreshold,
      tier0Bounds.activationQueueWarnThreshold,
    ),
    frameCacheBytes: bounded("tier0.frameCacheBytes", options.frameCacheBytes, tier0Bounds.frameCacheBytes),
    promoteReads: bounded("tier0.promoteReads", options.promoteReads, tier0Bounds.promoteReads),
  }
}

/** Checks options of Tier 1 and fills in defaults; `hasStore` says whether an object store was given. Throws `InvalidArgument`. */
export const makeTier1Config = (options: Tier1Options = {}, hasStore = false): Tier1Config => {
  checkNames("tier1 option", options, [...Object.keys(tier1Bounds), "compress"])
  const modes = hasStore ? (["eager", "pressure"] as const) : (["pressure", "eager"] as const)
  return {
    bytesMax: bounded("tier1.bytesMax", options.bytesMax, tier1Bounds.bytesMax),
    level: bounded("tier1.level", options.level, tier1Bounds.level),
    frameBytes: bounded("tier1.frameBytes", options.frameBytes, tier1Bounds.frameBytes),
    residencyMsMin: bounded("tier1.residencyMsMin", options.residencyMsMin, tier1Bounds.residencyMsMin),
    retriesMax: bounded("tier1.retriesMax", options.retriesMax, tier1Bounds.retriesMax),
    retryBackoffMs: bounded("tier1.retryBackoffMs", options.retryBackoffMs, tier1Bounds.retryBackoffMs),
    compress: oneOf("tier1.compress", options.compress, modes),
  }
}

/** Checks the byte budget of one stream; throws `InvalidArgument`. */
export const checkTier0Bytes = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : bounded("tier0BytesMax", value, tier0Bounds.bytesMax)

const bounded = (name: string, value: number | undefined, [lowest, highest, byDefault]: Bound): number => {
  if (value === undefined) return byDefault
  if (Number.isSafeInteger(value) && value >= lowest && value <= highest) return value
  throw invalidArgument(name, value, `an integer from ${lowest} to ${highest}`)
}

/** The value, or the first of those allowed when none is given. */
const oneOf = <T extends string>(name: string, value: T | undefined, allowed: ReadonlyArray<T>): T => {
  if (value === undefined) return allowed[0]!
  if (allowed.includes(value)) return value
  throw invalidArgument(name, value, allowed.join(" or "))
}
