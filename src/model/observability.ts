/** Snapshots of what the store does, for metrics: plain data, cheap to take, all numbers since the manager was opened. */
import type { ManifestReplayMetrics } from "./manifest_metrics.ts"
import type { Tier2MetricsSnapshot } from "./tier_metrics.ts"

/** How often and how long appends had to wait for Tier 0. */
export interface AdmissionMetricsSnapshot {
  /** Waits for room that have ended. */
  readonly waits: number
  /** Percentiles of the latest 1 024 of these waits, in milliseconds. */
  readonly latencyP50Ms: number
  /** Nine of ten waits were shorter. */
  readonly latencyP90Ms: number
  /** 99 of 100 waits were shorter. */
  readonly latencyP99Ms: number
  /**
   * How often a call was told `WouldBlock`, or a negative code, or had to wait instead, by reason. `Hydration` counts what reads asked
   * other tiers for.
   */
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
  /** The most bytes that were ever held. */
  readonly highestBytes: number
  /** The budget. */
  readonly bytesMax: number
  /** Sealed segments with a file. */
  readonly segments: number
  /** Those that a reader holds. */
  readonly pinnedSegments: number
  /** Streams that wait for room. */
  readonly waitingStreams: number
  /** Segments that are waited for or being brought. */
  readonly activationQueueDepth: number
  /** Files removed to make room. */
  readonly evictions: number
  /** Bytes of these files. */
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
  /** Bytes held now. */
  readonly usedBytes: number
  /** The budget. */
  readonly bytesMax: number
  /** Segments with a file in this tier. */
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
  /** Warm files made. */
  readonly compressions: number
  /** Tries that failed. */
  readonly compressionFailures: number
  /** Bytes of the segments that were compressed, and of their warm files. */
  readonly compressedFromBytes: number
  /** Bytes of the warm files that were made. */
  readonly compressedToBytes: number
  /** Files removed to make room. */
  readonly evictions: number
  /** Bytes of these files. */
  readonly evictedBytes: number
  /** Warm files that were missing or damaged and fetched again. */
  readonly recoveries: number
  /** Segments brought up. */
  readonly hydrations: number
  /** Hydrations given up. */
  readonly hydrationFailures: number
  /** Further tries. */
  readonly hydrationRetries: number
  /** Percentiles of the latest 1 024 hydrations, from the first request to the file, in milliseconds. */
  readonly hydrationLatencyP50Ms: number
  /** Nine of ten hydrations were faster. */
  readonly hydrationLatencyP90Ms: number
  /** 99 of 100 hydrations were faster. */
  readonly hydrationLatencyP99Ms: number
}

/** Writing and syncing of all open streams together. */
export interface FlushMetricsSnapshot {
  /** Open streams. */
  readonly streams: number
  /** Writes to segment files and the commit journal. */
  readonly writes: number
  /** Bytes of these writes. */
  readonly writtenBytes: number
  /** Syncs of segment files and the commit journal. */
  readonly syncs: number
  /** Syncs that the main thread made; the others were made in the thread pool. */
  readonly inlineSyncs: number
  /** Syncs that failed. */
  readonly syncFailures: number
  /** Appended bytes that no sync covers yet. */
  readonly unflushedBytes: number
  /** Memory of the staging buffers: those in use, and those that are kept for use again. */
  readonly stagingBytes: number
  /** Streams whose appends wait because of that. */
  readonly blockedStreams: number
}

/** The memory that the manager holds, of what it may hold. */
export interface MemoryMetricsSnapshot {
  /** `memoryBytesMax`. */
  readonly bytesMax: number
  /** Staging buffers, decoded frames and seek tables of this moment. */
  readonly usedBytes: number
  /** The share of the staging buffers of all streams. */
  readonly stagingBytesMax: number
  /** Streams whose appends wait for memory that others have. */
  readonly waitingStreams: number
}

/** The bucket that makes Tier 2 enough for another machine. */
export interface BucketMetricsSnapshot {
  /** Epoch of this writer; 0 before it has one. */
  readonly epoch: number
  /** True once another machine has taken the root. */
  readonly isFenced: boolean
  /** HEADs that were put. */
  readonly heads: number
  /** Tries that failed. */
  readonly failures: number
  /** When the last HEAD was put, Unix time in milliseconds; 0 for none. */
  readonly headMs: number
  /** Replicas that were registered when objects were last to be removed. */
  readonly replicas: number
}

/** Everything at once. */
export interface TieredObservabilitySnapshot {
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** Waits for Tier 0. */
  readonly admission: AdmissionMetricsSnapshot
  /** Writing and syncing. */
  readonly flush: FlushMetricsSnapshot
  /** Memory. */
  readonly memory: MemoryMetricsSnapshot
  /** Plain segment files. */
  readonly tier0: Tier0MetricsSnapshot
  /** Warm files. */
  readonly tier1: Tier1MetricsSnapshot
  /** Undefined when there is no Tier 2. */
  readonly tier2: Tier2MetricsSnapshot | undefined
  /** Undefined where no store of its own was given. */
  readonly bucket: BucketMetricsSnapshot | undefined
  /** What opening had to replay. */
  readonly manifestReplay: ManifestReplayMetrics
  /** What the tiers still have to do. */
  readonly backlog: {
    readonly uncompressedSegments: number
    readonly unuploadedSegments: number
    readonly unuploadedBytes: number
    readonly deletes: number
  }
}
