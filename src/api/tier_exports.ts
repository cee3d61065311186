/** What both dresses export of the tiers: options, events, snapshots, and the port of an object store. */

export type { HydrationTarget } from "../core/tiers/hydrate_segment.ts"
export type { Tier } from "../core/tiers/residency.ts"
export type { EvictOptions, PrefetchOptions } from "../core/tiers/stream_residency.ts"
export type { ColdOptions, DirectoryPlace, ObjectStoreHandle } from "../model/cold_config.ts"
export type { ManifestOptions } from "../model/config.ts"
export type { MoveBucketOptions, MoveBucketReport } from "../model/move_bucket.ts"
export type {
  AdmissionMetricsSnapshot,
  BucketMetricsSnapshot,
  FlushMetricsSnapshot,
  MemoryMetricsSnapshot,
  Tier0MetricsSnapshot,
  Tier1MetricsSnapshot,
  TieredObservabilitySnapshot,
} from "../model/observability.ts"
export type { MissingObject, OrphanObject, ReconcileOptions, ReconcileReport } from "../model/reconcile.ts"
export type { RepairChange, RepairEntry, RepairOutcome, RepairReport } from "../model/repair.ts"
export type {
  BackgroundScrubOptions,
  ScrubFinding,
  ScrubOptions,
  ScrubProblem,
  ScrubProgress,
  ScrubReport,
  ScrubSkip,
  ScrubTier,
} from "../model/scrub.ts"
export type { Tier0Options, Tier0Policy, Tier1Options } from "../model/tier_config.ts"
export type { TierEvent, TierEventLevel } from "../model/tier_event.ts"
export type * from "../model/tier_metrics.ts"
export type { BreakerOptions, RetryOptions, Tier2Options } from "../model/tier2_config.ts"
export type {
  ObjectBody,
  ObjectInfo,
  ObjectPage,
  ObjectRange,
  ObjectStore,
  PutOptions,
} from "../port/object_store.ts"
export { StoreError, StoreErrorBase, type StoreErrorKind, storeError } from "../port/store_error.ts"
export { memoryStore } from "./object_store.ts"
export type { SealedSegmentsOptions } from "./sealed_segments.ts"
