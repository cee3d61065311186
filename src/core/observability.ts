/** Takes the snapshots of `model/observability.ts`. */
import type {
  AdmissionMetricsSnapshot,
  BucketMetricsSnapshot,
  FlushMetricsSnapshot,
  MemoryMetricsSnapshot,
  Tier0MetricsSnapshot,
  Tier1MetricsSnapshot,
  TieredObservabilitySnapshot,
} from "../model/observability.ts"
import type { Tier2MetricsSnapshot } from "../model/tier_metrics.ts"
import { APPEND_FLUSH } from "./append/append_codes.ts"
import { type SharedSync, type StreamServices, type StreamState, unflushedBytes } from "./stream/stream_state.ts"
import type { Tiers } from "./tiers/tiers.ts"

/** Everything that the manager counts, at this moment. */
export const observe = (services: StreamServices, streams: Iterable<StreamState>): TieredObservabilitySnapshot => {
  const { tiers, clock, manifest } = services
  const { uncompressed, unuploaded, unuploadedBytes, deletes } = tiers.coordinator.backlog
  return {
    timestampMs: clock.currentTimeMillisUnsafe(),
    admission: admissionOf(tiers),
    flush: {
      ...flushOf(streams, services.shared),
      inlineSyncs: services.gauge.inlineSyncs,
      stagingBytes: services.pool.heldBytes,
    },
    memory: memoryOf(services),
    tier0: tier0Of(tiers),
    tier1: tier1Of(tiers),
    tier2: tier2Of(tiers),
    bucket: bucketOf(tiers),
    manifestReplay: manifest.replay,
    backlog: { uncompressedSegments: uncompressed, unuploadedSegments: unuploaded, unuploadedBytes, deletes },
  }
}

const memoryOf = ({ config, pool, staging, tiers }: StreamServices): MemoryMetricsSnapshot => {
  const { bytesMax, stagingBytes } = config.memory
  const { stretches, tables } = tiers.services
  const scanBytes = tiers.coordinator.hydrator.scans.usedBytes
  const usedBytes = pool.heldBytes + stretches.usedBytes + scanBytes + tables.usedBytes
  return { bytesMax, usedBytes, stagingBytesMax: stagingBytes, waitingStreams: staging.waitingCount }
}

const bucketOf = ({ services: { bucket, replicas } }: Tiers): BucketMetricsSnapshot | undefined => {
  if (bucket === undefined) return undefined
  const { epoch, isFenced, counters } = bucket
  return {
    epoch,
    isFenced,
    heads: counters.heads,
    failures: bucket.failures,
    headMs: counters.lastHeadMs,
    replicas: replicas?.count ?? 0,
  }
}

const tier2Of = ({ services, segments, coordinator }: Tiers): Tier2MetricsSnapshot | undefined => {
  if (services.tier2 === undefined) return undefined
  const nowMs = services.clock.currentTimeMillisUnsafe()
  const { unuploaded, unuploadedBytes, deletes } = coordinator.backlog
  let oldestMs = nowMs
  for (const one of segments.unuploaded) oldestMs = Math.min(oldestMs, one.warmSinceMs)
  const backlog = { segments: unuploaded, bytes: unuploadedBytes, ageMs: nowMs - oldestMs, deletes }
  const snapshot = services.tier2.snapshot()
  // By the clock of the machine as it is now.
  const aheadMs = services.clock.wallMsUnsafe() - nowMs
  const shown = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs + aheadMs)
  const { openSinceMs, retryAtMs } = snapshot.breaker
  const breaker = { ...snapshot.breaker, openSinceMs: shown(openSinceMs), retryAtMs: shown(retryAtMs) }
  return { ...snapshot, breaker, backlog, scanPacedMs: coordinator.hydrator.scans.pacedMs }
}

const admissionOf = ({ services: { counters } }: Tiers): AdmissionMetricsSnapshot => ({
  waits: counters.admissionWaits.count,
  latencyP50Ms: counters.admissionWaits.percentile(0.5),
  latencyP90Ms: counters.admissionWaits.percentile(0.9),
  latencyP99Ms: counters.admissionWaits.percentile(0.99),
  wouldBlock: { ...counters.wouldBlock },
})

const flushOf = (
  all: Iterable<StreamState>,
  { counters }: SharedSync,
): Omit<FlushMetricsSnapshot, "inlineSyncs" | "stagingBytes"> => {
  const sum = {
    streams: 0,
    ...counters,
    unflushedBytes: 0,
    blockedStreams: 0,
  }
  for (const stream of all) {
    if (stream.closedAs !== undefined) continue
    sum.streams++
    sum.writes += stream.counters.writes
    sum.writtenBytes += stream.counters.writtenBytes
    sum.syncs += stream.counters.syncs
    sum.syncFailures += stream.counters.syncFailures
    sum.unflushedBytes += unflushedBytes(stream)
    if (stream.blocked === APPEND_FLUSH || stream.appendQueue.code < 0) sum.blockedStreams++
  }
  return sum
}

const tier0Of = ({ tier0, segments, coordinator, services }: Tiers): Tier0MetricsSnapshot => {
  const { counters, stretches } = services
  let pinnedSegments = 0
  for (const one of segments.hot) if (one.pins > 0) pinnedSegments++
  return {
    usedBytes: tier0.usedBytes,
    highestBytes: tier0.highestBytes,
    bytesMax: tier0.config.bytesMax,
    segments: segments.hot.size,
    pinnedSegments,
    waitingStreams: tier0.refused.size,
    activationQueueDepth: coordinator.hydrator.queueDepth,
    evictions: counters.hotEvictions,
    evictedBytes: counters.hotEvictedBytes,
    promotions: counters.promotions,
    pressureSeals: counters.pressureSeals,
    frameCacheBytes: stretches.usedBytes + coordinator.hydrator.scans.usedBytes,
  }
}

const tier1Of = ({ segments, coordinator, services }: Tiers): Tier1MetricsSnapshot => {
  const { counters, tier1 } = services
  const residency = { tier0: 0, tier1: 0, tier2: 0, needsRecovery: 0 }
  for (const one of segments.all()) {
    if (one.seal === undefined) continue
    if (one.needsRecovery) residency.needsRecovery++
    if (one.tier !== undefined) residency[one.tier]++
  }
  return {
    usedBytes: segments.warmBytes,
    bytesMax: tier1.bytesMax,
    segments: segments.warm.size,
    compressionQueueDepth: segments.uncompressed.size,
    hydrationQueueDepth: coordinator.hydrator.queueDepth,
    residency,
    compressions: counters.compressions,
    compressionFailures: counters.compressionFailures,
    compressedFromBytes: counters.compressedFromBytes,
    compressedToBytes: counters.compressedToBytes,
    evictions: counters.warmEvictions,
    evictedBytes: counters.warmEvictedBytes,
    recoveries: counters.warmRecoveries,
    hydrations: counters.hydrations,
    hydrationFailures: counters.hydrationFailures,
    hydrationRetries: counters.hydrationRetries,
    hydrationLatencyP50Ms: counters.hydrationLatency.percentile(0.5),
    hydrationLatencyP90Ms: counters.hydrationLatency.percentile(0.9),
    hydrationLatencyP99Ms: counters.hydrationLatency.percentile(0.99),
  }
}
