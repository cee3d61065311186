/** Where a simulated store lies, and the options of its manager. */
import type { AofManagerOptions } from "../../model/config.ts"
import type { SimPlan } from "./sim_plan.ts"
import type { SimWorld } from "./sim_world.ts"

/** The root of every simulated store, and where a directory for Tier 2 lies. */
export const simRoot = "/store"
export const simCold = "/cold"
/** How long a close may take. */
export const closeTimeoutMs = 600_000

/** Options of the manager as a plan says. */
export const optionsOf = (plan: SimPlan, world: SimWorld, readOnly = false): AofManagerOptions => ({
  root: simRoot,
  readOnly,
  segmentBytes: plan.segmentBytes,
  stagingBytes: plan.stagingBytes,
  preallocateBytesMax: plan.preallocateBytesMax,
  journalBytes: plan.journalBytes,
  journalStreamsMin: plan.journalStreamsMin,
  unflushedBytesMax: plan.unflushedBytesMax,
  flushIntervalMs: plan.flushIntervalMs,
  inlineSyncMsMax: plan.inlineSyncMsMax,
  closeTimeoutMs,
  tier0: { bytesMax: plan.tier0Bytes, policy: plan.policy, promoteReads: 4 },
  tier1: {
    bytesMax: plan.tier1Bytes,
    frameBytes: 4096,
    residencyMsMin: 0,
    level: 1,
    retryBackoffMs: 1,
    compress: plan.compress,
  },
  tier2:
    plan.tier2 === "none"
      ? false
      : {
          store: plan.tier2 === "store" ? world.store : { directory: simCold },
          deleteGraceMs: plan.deleteGraceMs,
          upload: plan.upload,
          requestTimeoutMs: 3000,
          retry: { maxAttempts: 3, baseDelayMs: 5 },
        },
  manifest: { chunkBytes: plan.chunkBytes },
})
