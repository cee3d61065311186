/** Options of Tier 2, the object store: how often, how many at once, how long. Times are milliseconds. */
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"

/** How often a request is tried, and how long the pauses are. */
export interface RetryOptions {
  /** Tries of one request in all, 1 to 100; default 5. */
  readonly maxAttempts?: number | undefined
  /** Pause behind the first failure, doubled for each next up to ten seconds, 1 to 10 000; default 100. */
  readonly baseDelayMs?: number | undefined
  /** How much of a pause is left to chance, 0 (nothing) to 1 (all of it); default 0.5. */
  readonly jitter?: number | undefined
}

/** When requests are no longer sent because the store does not answer, and how it is tried again. */
export interface BreakerOptions {
  /** Failures in a row after which nothing is sent, 1 to 1 000; default 10. */
  readonly failuresMax?: number | undefined
  /** How long at first; then one request tries, and each failure of that doubles it, 1 to 600 000; default 1 000. */
  readonly openMs?: number | undefined
  /** How long at most, `openMs` to 3 600 000; default 15 000, or `openMs` where that is longer. */
  readonly openMsMax?: number | undefined
}

/** Options of Tier 2. */
export interface Tier2Options {
  /** How failed requests are repeated. */
  readonly retry?: RetryOptions | undefined
  /**
   * Uploads and downloads of segments that run at once, and, apart from them, as many small requests (reads of ranges, removals,
   * listings), 1 to 64; default 4.
   */
  readonly concurrency?: number | undefined
  /** How long a request may stay without an answer, or an upload without taking more of its body, 1 to 3 600 000; default 30 000. */
  readonly requestTimeoutMs?: number | undefined
  /** When the store is left alone for a while. */
  readonly breaker?: BreakerOptions | undefined
  /** Bytes of segments that are moved in a second, up and down together, 1 024 or more; default no limit. */
  readonly bytesPerSecondMax?: number | undefined
  /**
   * Bytes of cold history that scans fetch in a second while records are appended, so that appends and followers beside them stay quick,
   * 1 048 576 to 2^50; default 67 108 864 (64 MiB). When nothing is appended there is no limit.
   */
  readonly scanBytesPerSecondMax?: number | undefined
}

/** `RetryOptions` with every default filled in. */
export interface RetryPolicy {
  readonly maxAttempts: number
  readonly baseDelayMs: number
  readonly jitter: number
}

/** `BreakerOptions` with every default filled in. */
export interface BreakerConfig {
  readonly failuresMax: number
  readonly openMs: number
  readonly openMsMax: number
}

/** `Tier2Options` with every default filled in. */
export interface Tier2Config {
  readonly retry: RetryPolicy
  readonly concurrency: number
  readonly requestTimeoutMs: number
  readonly breaker: BreakerConfig
  /** Undefined: no limit. */
  readonly bytesPerSecondMax: number | undefined
  readonly scanBytesPerSecondMax: number
}

/** Longest pause between two tries. */
export const retryDelayMsMax = 10_000

type Bound = readonly [lowest: number, highest: number, byDefault: number]

const retryBounds = {
  maxAttempts: [1, 100, 5],
  baseDelayMs: [1, retryDelayMsMax, 100],
} satisfies Record<string, Bound>

const breakerBounds = {
  failuresMax: [1, 1000, 10],
  openMs: [1, 600_000, 1000],
} satisfies Record<string, Bound>

const openMsMaxHighest = 3_600_000
const openMsMaxDefault = 15_000
const bytesPerSecondBound: Bound = [1024, 2 ** 50, 0]

const bounds = {
  concurrency: [1, 64, 4],
  requestTimeoutMs: [1, 3_600_000, 30_000],
  scanBytesPerSecondMax: [2 ** 20, 2 ** 50, 64 * 2 ** 20],
} satisfies Record<string, Bound>

/** Names of the options that say how an object store is asked. */
export const tier2OptionNames: ReadonlyArray<string> = ["retry", "breaker", "bytesPerSecondMax", ...Object.keys(bounds)]

/** Checks options of Tier 2 and fills in defaults; throws `InvalidArgument` for an unknown name or a value out of range. */
export const makeTier2Config = (options: Tier2Options = {}): Tier2Config => {
  checkNames("tier2 option", options, tier2OptionNames)
  const { bytesPerSecondMax } = options
  return {
    retry: makeRetryPolicy(options.retry),
    concurrency: bounded("tier2.concurrency", options.concurrency, bounds.concurrency),
    requestTimeoutMs: bounded("tier2.requestTimeoutMs", options.requestTimeoutMs, bounds.requestTimeoutMs),
    scanBytesPerSecondMax: bounded(
      "tier2.scanBytesPerSecondMax",
      options.scanBytesPerSecondMax,
      bounds.scanBytesPerSecondMax,
    ),
    breaker: makeBreakerConfig(options.breaker),
    bytesPerSecondMax:
      bytesPerSecondMax === undefined
        ? undefined
        : bounded("tier2.bytesPerSecondMax", bytesPerSecondMax, bytesPerSecondBound),
  }
}

const makeBreakerConfig = (options: BreakerOptions = {}): BreakerConfig => {
  checkNames("tier2.breaker option", options, [...Object.keys(breakerBounds), "openMsMax"])
  const openMs = bounded("tier2.breaker.openMs", options.openMs, breakerBounds.openMs)
  const most: Bound = [openMs, openMsMaxHighest, Math.max(openMs, openMsMaxDefault)]
  return {
    failuresMax: bounded("tier2.breaker.failuresMax", options.failuresMax, breakerBounds.failuresMax),
    openMs,
    openMsMax: bounded("tier2.breaker.openMsMax", options.openMsMax, most),
  }
}

const makeRetryPolicy = (options: RetryOptions = {}): RetryPolicy => {
  checkNames("tier2.retry option", options, [...Object.keys(retryBounds), "jitter"])
  const { jitter = 0.5 } = options
  if (!(typeof jitter === "number" && jitter >= 0 && jitter <= 1)) {
    throw invalidArgument("tier2.retry.jitter", jitter, "a number from 0 to 1")
  }
  return {
    maxAttempts: bounded("tier2.retry.maxAttempts", options.maxAttempts, retryBounds.maxAttempts),
    baseDelayMs: bounded("tier2.retry.baseDelayMs", options.baseDelayMs, retryBounds.baseDelayMs),
    jitter,
  }
}

const bounded = (name: string, value: number | undefined, [lowest, highest, byDefault]: Bound): number => {
  if (value === undefined) return byDefault
  if (Number.isSafeInteger(value) && value >= lowest && value <= highest) return value
  throw invalidArgument(name, value, `an integer from ${lowest} to ${highest}`)
}
