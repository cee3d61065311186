/** The options of a manager and of a stream, their defaults and bounds. */
import { type ColdConfig, type ColdOptions, hasOwnStore, makeColdConfig } from "./cold_config.ts"
import { checkNames } from "./config_check.ts"
import { invalidArgument } from "./errors.ts"
import { type MemoryConfig, makeMemoryConfig } from "./memory_config.ts"
import { segmentSpan } from "./record_id.ts"
import { type BackgroundScrubOptions, makeScrubConfig, type ScrubConfig } from "./scrub.ts"
import {
  makeTier0Config,
  makeTier1Config,
  type Tier0Config,
  type Tier0Options,
  type Tier1Config,
  type Tier1Options,
} from "./tier_config.ts"
import type { TierEvent } from "./tier_event.ts"

/** When sealed segments are trimmed by themselves: at an age since their seal, or when all segments hold more bytes than this. */
export interface Retention {
  /** Milliseconds since the seal, 1 or more. */
  readonly ageMs?: number | undefined
  /** Bytes of all segments of the stream, 1 or more. */
  readonly bytes?: number | undefined
}

/** Options of the manifest. */
export interface ManifestOptions {
  /** Size at which a chunk of the log is full, 16 KiB to 1 MiB; default 256 KiB. */
  readonly chunkBytes?: number | undefined
  /** Age at which a chunk with records is closed, 1 000 to 86 400 000; default never while nothing is committed, else 10 minutes. */
  readonly chunkAgeMs?: number | undefined
}

/** `ManifestOptions` as they were given: the log has its own defaults. */
export interface ManifestConfig {
  readonly chunkBytes: number | undefined
  readonly chunkAgeMs: number | undefined
}

/** Options of `AofManager.open`. Sizes are bytes, times milliseconds. */
export interface AofManagerOptions {
  /** The directory that holds everything; made when it is missing. */
  readonly root: string
  /** Opens without a lock and without changing anything; default false. */
  readonly readOnly?: boolean | undefined
  /** Length at which a segment is sealed, 4 KiB to 256 MiB; default 64 MiB, or a quarter of `tier0.bytesMax` where that is less. */
  readonly segmentBytes?: number | undefined
  /** Largest step of preallocation, 0 to 64 MiB, 0 turns it off; default 4 MiB. */
  readonly preallocateBytesMax?: number | undefined
  /** Size of one staging buffer, 4 KiB to 64 MiB; default 1 MiB. */
  readonly stagingBytes?: number | undefined
  /** Appended bytes of a stream that may wait for a sync, 4 KiB to 1 GiB; default 64 MiB. */
  readonly unflushedBytesMax?: number | undefined
  /**
   * Memory that everything which this manager holds may take, 32 MiB to 1 TiB; default 512 MiB, or more where `unflushedBytesMax`,
   * `tier0.frameCacheBytes` or `tier2.concurrency` ask for more.
   */
  readonly memoryBytesMax?: number | undefined
  /** Largest payload, 1 byte to 255 MiB; default 8 MiB. One must also fit an empty segment and half of Tier 0. */
  readonly recordBytesMax?: number | undefined
  /** Bytes of the commit journal that streams share when several want durability at once, 0 (none) or 64 KiB to 4 GiB; default 128 MiB. */
  readonly journalBytes?: number | undefined
  /** Streams that have to want durability at once to share one sync, 1 to 1 000; default 4. */
  readonly journalStreamsMin?: number | undefined
  /** How long appended bytes stay unsynced when nobody asks, 1 to 3 600 000; default 50. */
  readonly flushIntervalMs?: number | undefined
  /**
   * The main thread makes small syncs by itself while they take less than this on average and the event loop has nothing else to do, 0 to 1 000, fractions too;
   * default 0.3. With 0 the thread pool makes all of them.
   */
  readonly inlineSyncMsMax?: number | undefined
  /** How long closing may take, 1 to 3 600 000; default 10 000. */
  readonly closeTimeoutMs?: number | undefined
  /** Age in milliseconds at which an active segment with records is sealed, so that it goes on to Tier 2, 10 to a day, 0 for never; default never. */
  readonly sealAfterMs?: number | undefined
  /** Retention of streams that do not name their own; `false`, or nothing in it, for none; default none. */
  readonly retention?: Retention | false | undefined
  /** Segments as plain files: the budget, and what happens when it is full. */
  readonly tier0?: Tier0Options | undefined
  /** Sealed segments as seekable zstd on local disk. */
  readonly tier1?: Tier1Options | undefined
  /** Where segments go in the end, an object store or a directory; `false` for nowhere. */
  readonly tier2?: ColdOptions | false | undefined
  /** The log of what happens to streams and segments. */
  readonly manifest?: ManifestOptions | undefined
  /** Reads everything again and again and checks it, at a bounded rate; `false` for never, which is the default. */
  readonly scrub?: BackgroundScrubOptions | false | undefined
  /** Called with what happens in the tiers, one structured event each. It must not throw and should be quick. */
  readonly onEvent?: ((event: TierEvent) => void) | undefined
  /** Ends the opening; what was begun is given back. */
  readonly signal?: AbortSignal | undefined
}

/** Options with every default filled in. */
export interface AofManagerConfig {
  /** The root as it is used: absolute, once it is opened. */
  readonly root: string
  /** The root as it was given. */
  readonly rootGiven: string
  readonly readOnly: boolean
  readonly segmentBytes: number
  readonly preallocateBytesMax: number
  readonly stagingBytes: number
  readonly unflushedBytesMax: number
  readonly recordBytesMax: number
  readonly journalBytes: number
  readonly journalStreamsMin: number
  readonly flushIntervalMs: number
  readonly inlineSyncMsMax: number
  readonly closeTimeoutMs: number
  /** Undefined: never. */
  readonly sealAfterMs: number | undefined
  readonly retention: Retention
  readonly memory: MemoryConfig
  readonly tier0: Tier0Config
  readonly tier1: Tier1Config
  readonly tier2: ColdConfig
  readonly manifest: ManifestConfig
  readonly scrub: ScrubConfig | undefined
  readonly onEvent: ((event: TierEvent) => void) | undefined
}

type SizeOption =
  | "segmentBytes"
  | "preallocateBytesMax"
  | "stagingBytes"
  | "unflushedBytesMax"
  | "recordBytesMax"
  | "journalBytes"
  | "journalStreamsMin"
  | "flushIntervalMs"
  | "closeTimeoutMs"

const KiB = 1024
const MiB = 1024 * 1024
const hourMs = 3_600_000

/** Lowest value, highest value, default. */
const bounds: Record<SizeOption, readonly [number, number, number]> = {
  segmentBytes: [4 * KiB, segmentSpan, 64 * MiB],
  preallocateBytesMax: [0, 64 * MiB, 4 * MiB],
  stagingBytes: [4 * KiB, 64 * MiB, MiB],
  unflushedBytesMax: [4 * KiB, 1024 * MiB, 64 * MiB],
  recordBytesMax: [1, 255 * MiB, 8 * MiB],
  journalBytes: [64 * KiB, 4096 * MiB, 128 * MiB],
  journalStreamsMin: [1, 1000, 4],
  flushIntervalMs: [1, hourMs, 50],
  closeTimeoutMs: [1, hourMs, 10_000],
}

const tierNames = ["memoryBytesMax", "tier0", "tier1", "tier2", "manifest", "scrub", "onEvent"]
/** The names of all options of a manager. */
export const managerOptionNames: ReadonlyArray<string> = [
  "root",
  "readOnly",
  "inlineSyncMsMax",
  "sealAfterMs",
  "retention",
  "signal",
  ...tierNames,
  ...Object.keys(bounds),
]

/** Checks options and fills in defaults; throws `InvalidArgument` for an unknown name or a value out of range. */
export const makeConfig = (options: AofManagerOptions): AofManagerConfig => {
  checkNames("manager option", options, managerOptionNames)
  const { root, readOnly = false } = options
  if (typeof root !== "string" || root === "" || root.includes("\0")) {
    throw invalidArgument("root", root, "a directory path")
  }
  if (typeof readOnly !== "boolean") throw invalidArgument("readOnly", readOnly, "true or false")
  const { onEvent } = options
  if (onEvent !== undefined && typeof onEvent !== "function") throw invalidArgument("onEvent", onEvent, "a function")
  const path = root.length > 1 ? root.replace(/(?<=.)\/+$/, "") : root
  const unflushedBytesMax = checkBound("unflushedBytesMax", options.unflushedBytesMax)
  const { memory, tier0, tier2 } = divideMemory(options, unflushedBytesMax, path)
  return {
    root: path,
    rootGiven: path,
    readOnly,
    segmentBytes: segmentBytesOf(options.segmentBytes, tier0),
    preallocateBytesMax: checkBound("preallocateBytesMax", options.preallocateBytesMax),
    stagingBytes: checkBound("stagingBytes", options.stagingBytes),
    unflushedBytesMax,
    recordBytesMax: checkBound("recordBytesMax", options.recordBytesMax),
    journalBytes: options.journalBytes === 0 ? 0 : checkBound("journalBytes", options.journalBytes),
    journalStreamsMin: checkBound("journalStreamsMin", options.journalStreamsMin),
    flushIntervalMs: checkBound("flushIntervalMs", options.flushIntervalMs),
    inlineSyncMsMax: checkInlineSync(options.inlineSyncMsMax),
    closeTimeoutMs: checkBound("closeTimeoutMs", options.closeTimeoutMs),
    sealAfterMs: checkSealAfter(options.sealAfterMs),
    retention: checkRetention(options.retention),
    manifest: makeManifestConfig(options.manifest),
    memory,
    tier0,
    tier1: makeTier1Config(options.tier1, hasOwnStore(options.tier2)),
    tier2,
    scrub: makeScrubConfig(options.scrub),
    onEvent,
  }
}

/** Checks the options of those that hold memory, and gives each its share. */
const divideMemory = (
  options: AofManagerOptions,
  unflushedBytesMax: number,
  path: string,
): Pick<AofManagerConfig, "memory" | "tier0" | "tier2"> => {
  const tier0 = makeTier0Config(options.tier0)
  const tier2 = makeColdConfig(options.tier2, path)
  const memory = makeMemoryConfig({
    memoryBytesMax: options.memoryBytesMax,
    unflushedBytesMax,
    frameCacheBytes: options.tier0?.frameCacheBytes,
    transfers: tier2.store === undefined ? 0 : tier2.client.concurrency,
  })
  const client = { ...tier2.client, concurrency: Math.max(1, memory.transfers) }
  return {
    memory,
    tier0: { ...tier0, frameCacheBytes: memory.frameCacheBytes },
    tier2: { ...tier2, client },
  }
}

const checkSealAfter = (value: number | undefined): number | undefined => {
  if (value === undefined || value === 0) return undefined
  if (isWithin(value, 10, 24 * hourMs)) return value
  throw invalidArgument("sealAfterMs", value, `0 for never, or an integer from 10 to ${24 * hourMs}`)
}

const makeManifestConfig = (options: ManifestOptions = {}): ManifestConfig => {
  checkNames("manifest option", options, ["chunkBytes", "chunkAgeMs"])
  const { chunkBytes, chunkAgeMs } = options
  if (chunkBytes !== undefined && !isWithin(chunkBytes, 16 * KiB, MiB)) {
    throw invalidArgument("manifest.chunkBytes", chunkBytes, `an integer from ${16 * KiB} to ${MiB}`)
  }
  if (chunkAgeMs !== undefined && !isWithin(chunkAgeMs, 1000, 24 * hourMs)) {
    throw invalidArgument("manifest.chunkAgeMs", chunkAgeMs, `an integer from 1000 to ${24 * hourMs}`)
  }
  return { chunkBytes, chunkAgeMs }
}

const isWithin = (value: number, lowest: number, highest: number): boolean =>
  Number.isSafeInteger(value) && value >= lowest && value <= highest

/** By default a segment is at most a quarter of Tier 0, so that one is written, one sealed and one compressed side by side. */
const segmentBytesOf = (given: number | undefined, tier0: Tier0Config): number =>
  given === undefined
    ? Math.min(checkBound("segmentBytes", undefined), Math.floor(tier0.bytesMax / 4))
    : checkBound("segmentBytes", given)

/** Returns `value` or the default of `name`; throws `InvalidArgument` when it is out of range. */
export const checkBound = (name: SizeOption, value: number | undefined): number => {
  const [lowest, highest, byDefault] = bounds[name]
  if (value === undefined) return byDefault
  if (Number.isSafeInteger(value) && value >= lowest && value <= highest) return value
  const none = name === "journalBytes" ? "0 for none, or " : ""
  throw invalidArgument(name, value, `${none}an integer from ${lowest} to ${highest}`)
}

const checkInlineSync = (value = 0.3): number => {
  if (typeof value === "number" && value >= 0 && value <= 1000) return value
  throw invalidArgument("inlineSyncMsMax", value, "a number from 0 to 1000")
}

/** Checks a retention; `false` is none. Throws `InvalidArgument`. */
export const checkRetention = (value: Retention | false | undefined): Retention => {
  if (value === undefined || value === false) return {}
  checkNames("retention option", value, ["ageMs", "bytes"])
  for (const name of ["ageMs", "bytes"] as const) {
    const one = value[name]
    if (one !== undefined && !(Number.isSafeInteger(one) && one >= 1)) {
      throw invalidArgument(`retention.${name}`, one, "an integer of at least 1")
    }
  }
  return value
}
