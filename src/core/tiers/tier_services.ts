/** What the work of the tiers is done with, and what it counts. One for each manager. */
import type * as Effect from "effect/Effect"
import type { SeekTable } from "../../format/seekable_zstd.ts"
import type { AofError } from "../../model/errors.ts"
import type { Tier1Config } from "../../model/tier_config.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Compressor } from "../../port/compressor.ts"
import type { Directory } from "../../port/directory.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import type { ByteCache } from "../../state/byte_cache.ts"
import { LatencyWindow } from "../../state/latency_window.ts"
import type { Bucket } from "../bucket/bucket.ts"
import type { PoliteRemovals } from "../files/polite_removals.ts"
import type { Fork } from "../flow/background.ts"
import type { SteadyClock } from "../flow/steady_clock.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import type { ReadingTurns } from "../read/reading_turns.ts"
import type { ReplicaLeases } from "../replica/replica_leases.ts"
import type { DeleteTimes } from "../tier2/delete_times.ts"
import type { Tier2 } from "../tier2/tier2.ts"
import type { Residency, UseClock } from "./residency.ts"
import type { Stretch } from "./stretch.ts"
import type { TierReader } from "./tier_reader.ts"
import type { Tier0, Tier0Owner } from "./tier0.ts"

/** A stream as the tiers see it. */
export interface TierStream extends Tier0Owner {
  readonly name: string
  /** Bytes that its active segment holds in Tier 0; 0 when it has none that could be sealed. */
  readonly sealableBytes: () => number
  /** Seals the active segment, if it may be sealed now. */
  readonly seal: () => void
  /** Read-only: looks again where the segments are. */
  readonly look: Effect.Effect<void, AofError>
}

/** Numbers since the manager was opened. */
export class TierCounters {
  readonly admissionWaits: LatencyWindow = new LatencyWindow()
  readonly wouldBlock: { Admission: number; Rollover: number; Flush: number; Hydration: number; Tail: number } = {
    Admission: 0,
    Rollover: 0,
    Flush: 0,
    Hydration: 0,
    Tail: 0,
  }
  hotEvictions = 0
  hotEvictedBytes = 0
  promotions = 0
  pressureSeals = 0
  compressions = 0
  compressionFailures = 0
  compressedFromBytes = 0
  compressedToBytes = 0
  /** What a segment is expected to shrink to; with a margin, as no segment is like the one before. */
  ratio = 1
  warmEvictions = 0
  warmEvictedBytes = 0
  warmRecoveries = 0
  hydrations = 0
  hydrationFailures = 0
  hydrationRetries = 0
  readonly hydrationLatency: LatencyWindow = new LatencyWindow()
}

export interface TierServices {
  readonly root: string
  readonly rootId: Uint8Array
  readonly isReadOnly: boolean
  readonly directory: Directory
  /** For files of segments that leave their tier. */
  readonly removals: PoliteRemovals
  readonly compressor: Compressor
  readonly eventLoop: EventLoop
  readonly readingTurns: ReadingTurns
  /** True while appends wait for syncs, or did a moment ago. */
  readonly isDiskWanted: () => boolean
  /** For pauses and how long something takes; what says when takes `wallMsUnsafe`. */
  readonly clock: SteadyClock
  readonly manifest: ManifestLog
  readonly fork: Fork
  readonly tier0: Tier0
  readonly tier1: Tier1Config
  /** Undefined when there is no Tier 2. */
  readonly tier2: Tier2 | undefined
  /** What makes Tier 2 enough for another machine; undefined where it is not. */
  readonly bucket: Bucket | undefined
  /** Who reads from the bucket; undefined where nobody can. */
  readonly replicas: ReplicaLeases | undefined
  readonly isUploadEager: boolean
  readonly deleteGraceMs: number
  readonly mayDelete: boolean
  readonly deleteTimes: DeleteTimes
  /** Of cold history, while somebody appends. */
  readonly scanBytesPerSecondMax: number
  readonly reader: TierReader
  readonly stretches: ByteCache<Stretch>
  readonly tables: ByteCache<SeekTable>
  readonly uses: UseClock
  readonly counters: TierCounters
  readonly emit: (event: TierEventInput) => void
  /** What has a copy elsewhere may go. */
  readonly onDiskFull: () => void
  readonly segments: TierSegments
}

/** Every segment of the root that the tiers know, and the streams that are open. */
export interface TierSegments {
  /** Tier 0 and Tier 1 sets follow what a job has changed. */
  readonly changed: (residency: Residency) => void
  readonly stream: (streamId: number) => TierStream | undefined
  readonly next: (residency: Residency) => Residency | undefined
  /** Bytes of all warm files, those being made included. */
  readonly warmBytes: number
  /** Holds bytes of Tier 1 for a file that is being made; returns how to give them back. */
  readonly reserveWarm: (bytes: number) => () => void
}
