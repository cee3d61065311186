/** Snapshots of what the store does, for metrics: plain data, cheap to take, all numbers since the manager was opened. */
import type { Tier2MetricsSnapshot } from "./tier_metrics.ts"

/** How often and how long appends had to wait for Tier 0. */
export interface AdmissionMetricsSnapshot {
  /** Waits for room that have ended. */
  readonly waits: number
  /** Percentiles of the latest 1 024 of these waits, in milliseconds. */
  readonly latencyP50Ms: number
  readonly latencyP90Ms: number
  readonly latencyP99Ms: number
  /** Calls that were told `WouldBlock`, or a negative code, by reason. */
  readonly wouldBlock: {
    readonly Admission: number
    readonly Rollover: number
    readonly Flush: number
    readonly Hydration: number
    readonly Tail: number
  }
}

/** Tier 0: plain segment files. */
export interface Tier0MetricsSnapshot {
  /** Bytes held now, the most that were ever held, and the budget. */
  readonly usedBytes: number
  readonly highestBytes: number
  readonly bytesMax: number
  /** Sealed segments with a file. */
  readonly segments: number
  /** Those that a reader holds. */
  readonly pinnedSegments: number
  /** Streams that wait for room. */
  readonly waitingStreams: number
  /** Segments that are waited for or being brought. */
  readonly activationQueueDepth: number
  readonly evictions: number
  readonly evictedBytes: number
  /** Segments brought back. */
  readonly promotions: number
  /** Active segments that were sealed to make room. */
  readonly pressureSeals: number
  /** Bytes of decoded stretches kept in memory. */
  readonly frameCacheBytes: number
}

/** Tier 1: warm files. */
export interface Tier1MetricsSnapshot {
  readonly usedBytes: number
  readonly bytesMax: number
  readonly segments: number
  /** Sealed segments that wait for their compression. */
  readonly compressionQueueDepth: number
  /** Segments that are waited for or being brought. */
  readonly hydrationQueueDepth: number
  /** Where sealed segments are found first. */
  readonly residency: {
    readonly tier0: number
    readonly tier1: number
    readonly tier2: number
    readonly needsRecovery: number
  }
  readonly compressions: number
  readonly compressionFailures: number
  /** Bytes of the segments that were compressed, and of their warm files. */
  readonly compressedFromBytes: number
  readonly compressedToBytes: number
  readonly evictions: number
  readonly evictedBytes: number
  /** Warm files that were missing or damaged and fetched again. */
  readonly recoveries: number
  readonly hydrations: number
  readonly hydrationFailures: number
  readonly hydrationRetries: number
  /** Percentiles of the latest 1 024 hydrations, from the first request to the file, in milliseconds. */
  readonly hydrationLatencyP50Ms: number
  readonly hydrationLatencyP90Ms: number
  readonly hydrationLatencyP99Ms: number
}

/** Writing and syncing of all open streams together. */
export interface FlushMetricsSnapshot {
  readonly streams: number
  readonly writes: number
  readonly writtenBytes: number
  readonly syncs: number
  readonly syncFailures: number
  /** Appended bytes that no sync covers yet. */
  readonly unflushedBytes: number
  /** Streams whose appends wait because of that. */
  readonly blockedStreams: number
}

/** What the manifest had to replay when the root was opened. */
export interface ReplayMetricsSnapshot {
  readonly durationMs: number
  readonly chunkCount: number
  readonly recordCount: number
  readonly trimmedBytes: number
  readonly chunkLagSeconds: number
  readonly journalLagBytes: number
}

/** Everything at once. */
export interface TieredObservabilitySnapshot {
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  readonly admission: AdmissionMetricsSnapshot
  readonly flush: FlushMetricsSnapshot
  readonly tier0: Tier0MetricsSnapshot
  readonly tier1: Tier1MetricsSnapshot
  /** Undefined when there is no Tier 2. */
  readonly tier2: Tier2MetricsSnapshot | undefined
  readonly manifestReplay: ReplayMetricsSnapshot
  readonly backlog: {
    readonly uncompressedSegments: number
    readonly unuploadedSegments: number
    readonly unuploadedBytes: number
    readonly deletes: number
  }
}
