/** What a scrub is asked for, and what it tells: every byte of a store read and checked, at a bounded rate. */
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"

/** What is looked at: plain files, warm files, objects, or the manifest with the root file. */
export type ScrubTier = "tier0" | "tier1" | "tier2" | "manifest"

/** What is wrong with a file or an object. */
export type ScrubProblem = "missing" | "length" | "content"

/** Something that does not check. */
export interface ScrubFinding {
  /** Where it was found. */
  readonly tier: ScrubTier
  /** Name of the stream; undefined for files of the root. */
  readonly stream: string | undefined
  /** Index of the segment; undefined for other files. */
  readonly segmentIndex: number | undefined
  /** Path of the file, or key of the object. */
  readonly place: string
  /** What is wrong. */
  readonly problem: ScrubProblem
  /** Where the damage begins: the id position in a segment, as errors have it; the offset in other files. */
  readonly from: number
  /** Where it ends. */
  readonly to: number
  /** The same in words. */
  readonly detail: string
  /** True when it was made good from another copy, or made anew. */
  readonly isHealed: boolean
  /** What was done about it, in words. */
  readonly action: string
}

/** Something that could not be looked at, such as an object while the store is away. */
export interface ScrubSkip {
  /** Where it lies. */
  readonly tier: ScrubTier
  /** Name of the stream; undefined for files of the root. */
  readonly stream: string | undefined
  /** Index of the segment; undefined for other files. */
  readonly segmentIndex: number | undefined
  /** Path of the file, or key of the object. */
  readonly place: string
  /** Why, in words. */
  readonly reason: string
}

/** What a scrub has found. */
export interface ScrubReport {
  /** Unix time of its start in milliseconds. */
  readonly startedMs: number
  /** How long it took. */
  readonly durationMs: number
  /** Segments that were looked at, in whatever tiers they are. */
  readonly segments: number
  /** Files and objects that were looked at. */
  readonly files: number
  /** Bytes that were read. */
  readonly bytes: number
  /** What does not check. */
  readonly findings: ReadonlyArray<ScrubFinding>
  /** What could not be looked at. */
  readonly skipped: ReadonlyArray<ScrubSkip>
  /** True when everything was looked at and nothing was wrong. */
  readonly isClean: boolean
}

/** How far a scrub has come. */
export interface ScrubProgress {
  /** Segments done. */
  readonly segments: number
  /** Segments in all, as counted at the start. */
  readonly segmentsTotal: number
  /** Bytes read. */
  readonly bytes: number
  /** Bytes in all, as counted at the start; 0 while the manifest is looked at. */
  readonly bytesTotal: number
  /** Findings so far. */
  readonly findings: number
  /** The stream that was looked at last. */
  readonly stream: string | undefined
}

/** Options of a scrub by hand. */
export interface ScrubOptions {
  /** Bytes read in a second at most, 64 KiB to 64 GiB; default 32 MiB. */
  readonly bytesPerSecond?: number | undefined
  /** What to look at; default everything. */
  readonly tiers?: ReadonlyArray<ScrubTier> | undefined
  /** Names of the streams; default all. */
  readonly streams?: ReadonlyArray<string> | undefined
  /** Called after each segment. It must not throw and should be quick. */
  readonly onProgress?: ((progress: ScrubProgress) => void) | undefined
}

/** Options of the scrub that a manager does by itself, again and again. */
export interface BackgroundScrubOptions {
  /** Pause before the first scrub, and between two, 1 000 to 31 536 000 000 milliseconds. */
  readonly intervalMs: number
  /** Bytes read in a second at most, 64 KiB to 64 GiB; default 8 MiB. */
  readonly bytesPerSecond?: number | undefined
  /** What to look at; default everything. Objects of a remote store cost requests and traffic. */
  readonly tiers?: ReadonlyArray<ScrubTier> | undefined
}

/** Options of a scrub with every default filled in. */
export interface ScrubPlan {
  readonly bytesPerSecond: number
  readonly tiers: ReadonlySet<ScrubTier>
  readonly streams: ReadonlySet<string> | undefined
  readonly onProgress: ((progress: ScrubProgress) => void) | undefined
}

/** The background scrub of a manager. */
export interface ScrubConfig {
  readonly intervalMs: number
  readonly plan: ScrubPlan
}

const KiB = 1024
const MiB = 1024 * KiB
const bytesPerSecondMin = 64 * KiB
const bytesPerSecondMax = 64 * 1024 * MiB
const intervalMsMin = 1000
const intervalMsMax = 365 * 86_400_000
const allTiers: ReadonlyArray<ScrubTier> = ["manifest", "tier0", "tier1", "tier2"]

/** The names of the options of a scrub by hand. */
export const scrubOptionNames: ReadonlyArray<string> = ["bytesPerSecond", "tiers", "streams", "onProgress"]

/** Checks options and fills in defaults; throws `InvalidArgument`. */
export const makeScrubPlan = (options: ScrubOptions = {}): ScrubPlan => {
  checkNames("scrub option", options, scrubOptionNames)
  const { streams, onProgress } = options
  if (streams !== undefined && !(Array.isArray(streams) && streams.every((one) => typeof one === "string"))) {
    throw invalidArgument("scrub streams", streams, "an array of names")
  }
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw invalidArgument("scrub onProgress", onProgress, "a function")
  }
  return {
    bytesPerSecond: checkRate(options.bytesPerSecond ?? 32 * MiB),
    tiers: checkTiers(options.tiers),
    streams: streams === undefined ? undefined : new Set(streams),
    onProgress,
  }
}

/** Checks the option `scrub` of a manager; undefined when it is left out or `false`. Throws `InvalidArgument`. */
export const makeScrubConfig = (options: BackgroundScrubOptions | false | undefined): ScrubConfig | undefined => {
  if (options === undefined || options === false) return undefined
  checkNames("scrub option", options, ["intervalMs", "bytesPerSecond", "tiers"])
  const { intervalMs, bytesPerSecond = 8 * MiB, tiers } = options
  if (!(Number.isSafeInteger(intervalMs) && intervalMs >= intervalMsMin && intervalMs <= intervalMsMax)) {
    throw invalidArgument("scrub.intervalMs", intervalMs, `an integer from ${intervalMsMin} to ${intervalMsMax}`)
  }
  return { intervalMs, plan: makeScrubPlan({ bytesPerSecond, tiers }) }
}

const checkRate = (bytesPerSecond: number): number => {
  const isWithin = bytesPerSecond >= bytesPerSecondMin && bytesPerSecond <= bytesPerSecondMax
  if (Number.isSafeInteger(bytesPerSecond) && isWithin) return bytesPerSecond
  const allowed = `an integer from ${bytesPerSecondMin} to ${bytesPerSecondMax}`
  throw invalidArgument("scrub bytesPerSecond", bytesPerSecond, allowed)
}

const checkTiers = (tiers: ReadonlyArray<ScrubTier> | undefined): ReadonlySet<ScrubTier> => {
  if (tiers === undefined) return new Set(allTiers)
  if (Array.isArray(tiers) && tiers.length > 0 && tiers.every((one) => allTiers.includes(one))) return new Set(tiers)
  throw invalidArgument("scrub tiers", tiers, `some of ${allTiers.join(", ")}`)
}
