/**
 * What one simulation does, drawn from its seed before anything runs: options of the store, how disk and object store behave, and the
 * steps of each process. Plain data, so that it can be made smaller and still run. Weights are drawn anew for each seed (swarm
 * testing: Groce and others, ISSTA 2012), so that some runs do one thing only and others all at once.
 */
import type { StoreFault } from "../faulty_object_store.ts"
import type { DiskOperationKind } from "../memory_disk.ts"
import { SimRandom } from "./sim_random.ts"

/** What a step does. */
export type SimStepKind =
  | "append"
  | "batch"
  | "tryAppend"
  | "interrupt"
  | "flush"
  | "durable"
  | "seal"
  | "trim"
  | "evict"
  | "prefetch"
  | "get"
  | "read"
  | "reverse"
  | "cursor"
  | "openReader"
  | "follow"
  | "unfollow"
  | "observe"
  | "settled"
  | "closeStream"
  | "deleteStream"
  | "newStream"
  | "event"
  | "watermark"
  | "sleep"
  | "drain"

/** One step; all else about it comes from its own seed. */
export interface SimStep {
  /** What it does. */
  readonly kind: SimStepKind
  /** Start of its chance. */
  readonly seed: number
}

/** What of the unsynced a power cut keeps. */
export type SimKeep = "nothing" | "all" | "entries" | "bytes" | "half" | "most" | "oneLost" | "oneKept"

/** One process: opened, checked, worked with, ended. */
export interface SimSession {
  /** Its steps. */
  readonly steps: ReadonlyArray<SimStep>
  /** `close`: in order. `kill`: the process dies. `cut`: the machine does. */
  readonly end: "close" | "kill" | "cut"
  /** Disk operation of the session at which it ends, when it comes so far; 0 is behind the last step. */
  readonly endAt: number
  /** Which operations count for `endAt`: all, or those of one kind, so that the rare ones have their share. */
  readonly endKind: "any" | DiskOperationKind
  /** What a cut keeps. */
  readonly keep: SimKeep
  /** Disk operations of the opening at which the power is cut again, one opening for each. */
  readonly openingCuts: ReadonlyArray<number>
  /** Disk operation at which an opening before this one fails, which its process is told; 0 for none. */
  readonly failedOpening: number
  /** Whether a process that is killed behind its last step closes before, with all faults that there are. */
  readonly closesFirst: boolean
  /** Milliseconds until the process is started, and how far the wall clock is moved. */
  readonly pauseMs: number
  /** How far the wall clock is moved before. */
  readonly clockMs: number
  /** How far it is moved while the process runs, and when after its start. */
  readonly clockJumps: ReadonlyArray<{ readonly afterMs: number; readonly byMs: number }>
  /** Whether disk and object store misbehave. */
  readonly hasFaults: boolean
}

/** What the medium does behind everybody's back after the last session. */
export type SimDamage = "none" | "bitFlip" | "lostWrite" | "misdirectedWrite"

/** Faults of the disk: how likely each is for one operation it applies to. */
export interface SimDiskFaults {
  /** `EIO` of a read. */
  readonly read: number
  /** `EIO` of a write. */
  readonly write: number
  /** `EIO` of a sync of a file, which loses what it covered. */
  readonly sync: number
  /** `EIO` of a sync of a directory. */
  readonly syncDirectory: number
  /** `EIO` of making, renaming, removing and listing. */
  readonly entry: number
  /** `ENOSPC` of what needs room. */
  readonly full: number
  /** One operation in so many starts a stretch of faults; in between there are none. */
  readonly every: number
  /** Operations in such a stretch. */
  readonly length: number
}

/** Settings of one stream. */
export interface SimStreamPlan {
  /** Its own segment size. */
  readonly segmentBytes: number | undefined
  /** Its own budget in Tier 0. */
  readonly tier0BytesMax: number | undefined
  /** Bytes after which it is trimmed by itself. */
  readonly retentionBytes: number | undefined
  /** Age in milliseconds after which it is trimmed by itself. */
  readonly retentionMs: number | undefined
}

/** A whole simulation. */
export interface SimPlan {
  /** From which it was drawn. */
  readonly seed: number
  /** How often tasks overtake each other, 0 to 1. */
  readonly disorder: number
  /** Segment size of streams that have none of their own. */
  readonly segmentBytes: number
  /** Size of staging buffers. */
  readonly stagingBytes: number
  /** Largest step of preallocation. */
  readonly preallocateBytesMax: number
  /** Bytes of a stream that may wait for a sync. */
  readonly unflushedBytesMax: number
  /** Bytes of the commit journal; 0 for none. */
  readonly journalBytes: number
  /** Streams that share a sync. */
  readonly journalStreamsMin: number
  /** Segments behind the journal that are written in batches from so many on; undefined for never. */
  readonly batchFilesMin: number | undefined
  /** How long appended bytes stay unsynced. */
  readonly flushIntervalMs: number
  /** What a sync may take for the main thread to make it; 0 for never. */
  readonly inlineSyncMsMax: number
  /** Budget of Tier 0. */
  readonly tier0Bytes: number
  /** What happens when it is full. */
  readonly policy: "strict" | "elastic"
  /** Budget of Tier 1. */
  readonly tier1Bytes: number
  /** When segments are compressed. */
  readonly compress: "eager" | "pressure"
  /** When they are uploaded. */
  readonly upload: "eager" | "pressure"
  /** Where Tier 2 is. */
  readonly tier2: "none" | "directory" | "store"
  /** How long objects stay that nothing refers to. */
  readonly deleteGraceMs: number
  /** Chunk size of the manifest. */
  readonly chunkBytes: number
  /** Whether files can be mapped. */
  readonly mapsFiles: boolean
  /** Largest payload that is tried. */
  readonly payloadBytesMax: number
  /** Whether payloads compress. */
  readonly isNoise: boolean
  /** Milliseconds that an operation of the disk takes at most, normally. */
  readonly diskMs: number
  /** How often one takes a second or more. */
  readonly slowDisk: number
  /** Faults of the disk. */
  readonly diskFaults: SimDiskFaults
  /** Faults of the object store. */
  readonly storeFaults: Readonly<Partial<Record<StoreFault, number>>>
  /** Milliseconds that a request takes at most. */
  readonly storeMs: number
  /** Milliseconds from one outage of the store to the next, and how long one is; 0 for none. */
  readonly outageEveryMs: number
  /** How long the store is down. */
  readonly outageMs: number
  /** The streams that are there from the beginning. */
  readonly streams: ReadonlyArray<SimStreamPlan>
  /** The processes, one after the other. */
  readonly sessions: ReadonlyArray<SimSession>
  /** What the medium does at the end. */
  readonly damage: SimDamage
}

const KiB = 1024

/** Every kind with how likely it is in a run that does all. */
const stepWeights: Readonly<Record<SimStepKind, number>> = {
  append: 8,
  batch: 6,
  tryAppend: 4,
  interrupt: 1,
  flush: 1,
  durable: 1,
  seal: 2,
  trim: 2,
  evict: 3,
  prefetch: 2,
  get: 2,
  read: 1,
  reverse: 1,
  cursor: 1,
  openReader: 2,
  follow: 1,
  unfollow: 0.5,
  observe: 0.5,
  settled: 0.5,
  closeStream: 1.5,
  deleteStream: 0.3,
  newStream: 0.4,
  event: 0.3,
  watermark: 0.5,
  sleep: 2,
  drain: 3,
}

/** Draws the plan of a seed; `steps` is about how many steps there are in all. */
export const makePlan = (seed: number, steps: number): SimPlan => {
  const random = new SimRandom(seed, 1)
  const segmentBytes = random.pick([4, 8, 8, 16, 32]) * KiB
  const tier0Bytes = random.pick([64, 64, 96, 160, 1024]) * KiB
  const tier2 = random.pick(["none", "directory", "store", "store"] as const)
  const isFaulty = random.chance(0.5)
  const journalRandom = new SimRandom(seed, 9)
  return {
    seed,
    disorder: random.pick([0, 0.1, 0.5]),
    segmentBytes,
    stagingBytes: random.pick([4, 4, 8, 64]) * KiB,
    preallocateBytesMax: random.pick([0, 8, 64]) * KiB,
    unflushedBytesMax: random.pick([8, 64, 1024]) * KiB,
    journalBytes: journalRandom.pick([0, 64, 64, 256]) * KiB,
    journalStreamsMin: journalRandom.pick([1, 1, 2, 3]),
    batchFilesMin: new SimRandom(seed, 17).pick([undefined, 1, 1, 2]),
    flushIntervalMs: random.pick([1, 5, 50, 1000]),
    inlineSyncMsMax: new SimRandom(seed, 14).pick([0, 1000]),
    tier0Bytes,
    policy: random.pick(["strict", "strict", "elastic"] as const),
    // Without Tier 2 what does not fit has nowhere to go, and appends wait for ever.
    tier1Bytes: tier2 === "none" ? 64 * 1024 * KiB : random.pick([64, 64, 256, 1024]) * KiB,
    compress: random.pick(["eager", "pressure"] as const),
    upload: random.pick(["eager", "pressure"] as const),
    tier2,
    deleteGraceMs: random.pick([0, 0, 1000, 60_000]),
    chunkBytes: random.pick([16, 16, 256]) * KiB,
    mapsFiles: random.chance(0.7),
    payloadBytesMax: random.pick([60, 400, 1500, 1500, 3000]),
    isNoise: random.chance(0.7),
    diskMs: random.pick([0, 1, 8]),
    slowDisk: random.pick([0, 0, 0.01]),
    diskFaults: isFaulty && random.chance(0.7) ? drawDiskFaults(random) : noDiskFaults,
    storeFaults: isFaulty && tier2 === "store" ? drawStoreFaults(random) : {},
    storeMs: random.pick([0, 5, 80]),
    outageEveryMs: isFaulty && tier2 === "store" && random.chance(0.4) ? random.pick([500, 20_000]) : 0,
    outageMs: random.pick([200, 60_000, 3 * 3_600_000]),
    streams: Array.from({ length: random.pick([1, 1, 2, 3, 5]) }, () => drawStream(random, segmentBytes)),
    sessions: drawSessions(random, steps, {
      failures: new SimRandom(seed, 10),
      closes: new SimRandom(seed, 15),
      jumps: new SimRandom(seed, 16),
    }),
    damage: random.chance(0.2) ? random.pick(["bitFlip", "lostWrite", "misdirectedWrite"] as const) : "none",
  }
}

/** A disk that does what it is told. */
export const noDiskFaults: SimDiskFaults = {
  read: 0,
  write: 0,
  sync: 0,
  syncDirectory: 0,
  entry: 0,
  full: 0,
  every: 1,
  length: 0,
}

const drawDiskFaults = (random: SimRandom): SimDiskFaults => {
  const rate = (): number => (random.chance(0.5) ? random.pick([0.05, 0.3, 1]) : 0)
  return {
    read: rate(),
    write: rate(),
    sync: rate(),
    syncDirectory: rate(),
    entry: rate(),
    full: rate(),
    every: random.pick([20, 60, 200]),
    length: random.pick([1, 3, 12]),
  }
}

const storeFaultKinds: ReadonlyArray<StoreFault> = [
  "throttle",
  "internal",
  "denied",
  "timeoutBefore",
  "timeoutAfter",
  "lostAnswer",
  "lateWrite",
  "partialBody",
  "damagedBody",
  "notFound",
  "staleList",
  "hang",
]

const drawStoreFaults = (random: SimRandom): SimPlan["storeFaults"] =>
  Object.fromEntries(
    storeFaultKinds.filter(() => random.chance(0.4)).map((kind) => [kind, random.pick([0.01, 0.04, 0.08])]),
  )

const drawStream = (random: SimRandom, segmentBytes: number): SimStreamPlan => ({
  segmentBytes: random.chance(0.3) ? random.pick([4, 16, 24]) * KiB : undefined,
  tier0BytesMax: random.chance(0.15) ? 64 * KiB : undefined,
  retentionBytes: random.chance(0.15) ? 3 * segmentBytes : undefined,
  retentionMs: random.chance(0.1) ? random.pick([100, 20_000]) : undefined,
})

const drawJumps = (random: SimRandom): SimSession["clockJumps"] =>
  Array.from({ length: random.pick([0, 0, 1, 2]) }, () => ({
    afterMs: random.pick([1, 100, 5000, 60_000]),
    byMs: random.pick([3_600_000, 86_400_000, -3_600_000]),
  }))

const endKinds = ["any", "any", "write", "write", "syncData", "rename", "syncDirectory", "remove"] as const

const drawSessions = (
  random: SimRandom,
  steps: number,
  { failures, closes, jumps }: Readonly<Record<"failures" | "closes" | "jumps", SimRandom>>,
): ReadonlyArray<SimSession> => {
  const weights = Object.fromEntries(
    Object.entries(stepWeights).map(([kind, weight]) => [kind, weight * random.pick([0, 1, 1, 4])]),
  )
  weights["append"] = Math.max(1, weights["append"] ?? 0)
  const count = random.pick([1, 2, 3, 4])
  return Array.from({ length: count }, () => {
    const end = random.pick(["close", "kill", "cut", "cut"] as const)
    const endKind = random.pick(endKinds)
    const ownSteps = Math.max(1, Math.round((steps / count) * (0.5 + random.double())))
    return {
      steps: Array.from({ length: ownSteps }, () => ({
        kind: random.weighted(weights) as SimStepKind,
        seed: random.next32(),
      })),
      end,
      endAt: end === "close" || random.chance(0.2) ? 0 : 1 + random.below(ownSteps * (endKind === "any" ? 12 : 3)),
      endKind,
      keep: random.pick(["nothing", "all", "entries", "bytes", "half", "half", "most", "oneLost", "oneKept"] as const),
      failedOpening: failures.chance(0.2) ? 1 + failures.below(60) : 0,
      closesFirst: closes.chance(0.4),
      openingCuts: random.chance(0.3) ? Array.from({ length: random.between(1, 3) }, () => 1 + random.below(60)) : [],
      pauseMs: random.pick([0, 100, 60_000, 4 * 3_600_000]),
      clockMs: random.pick([0, 0, 0, -3_600_000, 86_400_000]),
      clockJumps: drawJumps(jumps),
      hasFaults: random.chance(0.7),
    }
  })
}
