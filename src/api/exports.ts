/** What every entry point of the promise dress has in common: all but the manager. */

export type { Ack, AckLevel, AppendOptions, BatchAck, SegmentInfo, StreamInfo } from "../core/aof.ts"
export { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "../core/append_codes.ts"
export type { HydrationTarget } from "../core/hydrate_segment.ts"
export type { InspectedFile, InspectedRecord, InspectedSlot } from "../core/manifest_inspection.ts"
export type { InspectedSegment, InspectedStream, ManifestInspection } from "../core/manifest_inspector.ts"
export type { PlainJson } from "../core/plain_json.ts"
export type { ReadLevel } from "../core/reader.ts"
export { AofRecord } from "../core/record.ts"
export type { RecordView } from "../core/record_view.ts"
export type { Recovery, RecoveryEntry, StreamDamage } from "../core/recovery_report.ts"
export type { Tier } from "../core/residency.ts"
export type { ReadOptions } from "../core/start.ts"
export type { EvictOptions, PrefetchOptions } from "../core/stream_residency.ts"
export type { Codec } from "../model/codec.ts"
export type { ColdOptions, DirectoryPlace, ObjectStoreHandle } from "../model/cold_config.ts"
export type { AofManagerOptions, ManifestOptions, Retention } from "../model/config.ts"
export type { ManifestDamage, ManifestReplayMetrics } from "../model/manifest_metrics.ts"
export type {
  AdmissionMetricsSnapshot,
  FlushMetricsSnapshot,
  Tier0MetricsSnapshot,
  Tier1MetricsSnapshot,
  TieredObservabilitySnapshot,
} from "../model/observability.ts"
export type { Tier0Options, Tier0Policy, Tier1Options } from "../model/tier_config.ts"
export type { TierEvent, TierEventLevel } from "../model/tier_event.ts"
export type * from "../model/tier_metrics.ts"
export type { RetryOptions, Tier2Options } from "../model/tier2_config.ts"
export type {
  ObjectBody,
  ObjectInfo,
  ObjectPage,
  ObjectRange,
  ObjectStore,
  PutOptions,
} from "../port/object_store.ts"
export { StoreError, StoreErrorBase, type StoreErrorKind, storeError } from "../port/store_error.ts"
export type { FileDamage } from "../state/manifest_replay.ts"
export type { ManifestState, ManifestStream, OpenedSegment, SealedSegment, TrimPoint } from "../state/manifest_state.ts"
export type { QueuedDeletes, SegmentTiers } from "../state/manifest_tiers.ts"
export { Aof, type WaitOptions } from "./aof.ts"
export type { Cursor } from "./cursor.ts"
export * from "./error_exports.ts"
export { ManifestInspector } from "./manifest_inspector.ts"
export { memoryStore } from "./object_store.ts"
export type { BatchInput, DetailedInput } from "./payload.ts"
export type { SealedSegmentStream, SealedSegmentsOptions } from "./sealed_segments.ts"
export type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./stream_options.ts"
