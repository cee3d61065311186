/**
 * The tiers of a manager, put together: budgets, readers, the hydration queue and the coordinator. What the parts of a stream call when
 * a segment is opened, sealed, recovered or goes.
 */
import * as Effect from "effect/Effect"
import type { SeekTable } from "../../format/seekable_zstd.ts"
import type { AofManagerConfig } from "../../model/config.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import { ByteCache } from "../../state/byte_cache.ts"
import type { SegmentTiers } from "../../state/manifest_tiers.ts"
import { rootIdText } from "../bucket/head_fence.ts"
import type { OpenFiles } from "../files/open_files.ts"
import { PoliteRemovals } from "../files/polite_removals.ts"
import { heldBytesMin, type Reserve } from "../files/reserve.ts"
import { ReplicaLeases } from "../replica/replica_leases.ts"
import { DeleteTimes } from "../tier2/delete_times.ts"
import { Coordinator } from "./coordinator.ts"
import { tellLeftOver } from "./hand_over.ts"
import { hydrationPriority } from "./hydrator.ts"
import { type Residency, type SealFacts, UseClock } from "./residency.ts"
import type { Stretch } from "./stretch.ts"
import { TierReader } from "./tier_reader.ts"
import { TierSegments } from "./tier_segments.ts"
import { TierCounters, type TierServices, type TierStream } from "./tier_services.ts"
import { Tier0 } from "./tier0.ts"

/** What the tiers need of the manager. */
export interface TiersOptions
  extends Pick<
    TierServices,
    | "directory"
    | "compressor"
    | "eventLoop"
    | "readingTurns"
    | "isDiskWanted"
    | "clock"
    | "manifest"
    | "fork"
    | "tier2"
    | "bucket"
    | "rootId"
  > {
  readonly config: AofManagerConfig
  readonly openFiles: OpenFiles
  readonly reserve: Reserve
  readonly emit: (event: TierEventInput) => void
}

/** An object in Tier 2, and whose it is. */
export interface SegmentObject {
  readonly streamId: number
  readonly segmentIndex: number
  readonly key: string
}

export class Tiers {
  readonly services: TierServices
  readonly segments: TierSegments
  readonly coordinator: Coordinator
  readonly #reserve: Reserve

  constructor(options: TiersOptions) {
    const { config, openFiles, reserve, ...given } = options
    const { directory, compressor, clock, tier2, bucket, rootId, emit } = given
    this.#reserve = reserve
    const segments = new TierSegments(config.root)
    const uses = new UseClock()
    const stretches = new ByteCache<Stretch>(config.tier0.frameCacheBytes / 2)
    const tables = new ByteCache<SeekTable>(config.memory.tableBytes)
    const isReadOnly = config.readOnly
    const counters = new TierCounters()
    const reader = new TierReader({
      directory,
      compressor,
      openFiles,
      stretches,
      tables,
      uses,
      isReadOnly,
      scans: () => this.coordinator.hydrator.scans,
      queueDepth: () => this.coordinator.hydrator.queueDepth,
      nowMs: () => clock.currentTimeMillisUnsafe(),
      onNeed: (need) => {
        counters.wouldBlock.Hydration++
        this.coordinator.hydrator.begin(need)
      },
      onWarmLost: (residency, reason) => this.coordinator.onWarmLost(residency, reason),
      onHotDamaged: (residency) => this.coordinator.onHotDamaged(residency),
      onDecoded: (residency) => this.#noteDecoded(residency),
    })
    this.segments = segments
    const nowMs = (): number => clock.currentTimeMillisUnsafe()
    const replicas =
      tier2 === undefined || bucket === undefined
        ? undefined
        : new ReplicaLeases({ tier2, rootId: rootIdText(rootId), nowMs, emit })
    const tier0 = new Tier0(config.tier0)
    const manners = { isDiskWanted: given.isDiskWanted, isRoomWanted: () => tier0.refused.size > 0, nowMs }
    const removals = new PoliteRemovals(directory, manners)
    this.services = {
      ...given,
      removals,
      root: config.root,
      isReadOnly,
      tier0,
      tier1: config.tier1,
      replicas,
      isUploadEager: config.tier2.upload === "eager",
      deleteGraceMs: config.tier2.deleteGraceMs,
      mayDelete: config.tier2.mayDelete,
      deleteTimes: new DeleteTimes({
        clock,
        graceMs: config.tier2.deleteGraceMs,
        foundSequence: given.manifest.readSequence(),
      }),
      scanBytesPerSecondMax: config.tier2.client.scanBytesPerSecondMax,
      reader,
      stretches,
      tables,
      uses,
      counters,
      onDiskFull: () => this.coordinator.onDiskFull(),
      segments,
    }
    this.coordinator = new Coordinator(this.services, segments)
  }

  get tier0(): Tier0 {
    return this.services.tier0
  }

  /** An open stream, whose active segment may be sealed to make room. */
  addStream(stream: TierStream): void {
    this.segments.streams.set(stream.streamId, stream)
  }

  /** A closed stream; its segments are still looked after. */
  removeStream(stream: TierStream): void {
    this.tier0.forget(stream)
    if (this.segments.streams.get(stream.streamId) === stream) this.segments.streams.delete(stream.streamId)
    this.coordinator.stay(stream.streamId)
  }

  /** The residency of a segment, the same for as long as the manager is open. */
  take(stream: { readonly streamId: number; readonly name: string }, index: number): Residency {
    return this.segments.take(stream, index)
  }

  /** Counts the file of a segment that was found or made. */
  hold(owner: TierStream, residency: Residency, bytes: number): void {
    if (this.services.isReadOnly) return
    if (residency.guard === undefined) residency.guard = this.tier0.admit(owner, bytes)
    else {
      // A stream that was closed and opened again has another owner: it is the one to be told of room.
      residency.guard = residency.guard.handOver(owner)
      residency.guard.resize(bytes)
    }
  }

  /** A segment has its durable footer, and the manifest knows. */
  sealed(residency: Residency, seal: SealFacts): void {
    residency.seal = seal
    residency.guard?.resize(seal.fileBytes)
    this.segments.changed(residency)
    this.coordinator.wake()
    this.#tendReserve()
  }

  /** A sealed segment as the manifest and the listings of the stream say it is. */
  recovered(
    residency: Residency,
    found: {
      readonly owner: TierStream
      readonly seal: SealFacts
      readonly tiers: SegmentTiers | undefined
      readonly isHot: boolean
      readonly isWarm: boolean
      /** Unix milliseconds. */
      readonly sealedMs: number
    },
  ): void {
    const { owner, seal, tiers, isHot, isWarm, sealedMs } = found
    // One that is known already is as it is: the listing is older than what was done since.
    if (residency.seal !== undefined && !this.services.isReadOnly) return
    const { compressed, uploaded } = tiers ?? { compressed: undefined, uploaded: undefined }
    residency.seal = seal
    residency.cold =
      uploaded === undefined || compressed === undefined ? undefined : { key: uploaded.key, etag: uploaded.etag }
    const wasWarm = residency.isWarm
    residency.isWarm = isWarm && compressed !== undefined
    // What was noted is damage of a file that has gone: of the object it says nothing.
    if (wasWarm && !residency.isWarm) residency.damage.clear()
    // Nothing stands for the warm file but the plain one: it is made again.
    const form = residency.isWarm || residency.cold !== undefined ? compressed : undefined
    if (residency.form !== undefined && residency.form.checksum64 !== form?.checksum64) {
      this.services.reader.release(residency)
      this.services.tables.delete(residency.uid)
      residency.changeForm(form)
    } else residency.form = form
    if (residency.warmSinceMs === 0) residency.warmSinceMs = this.#agoMs(sealedMs)
    // Whether HEAD knows of it is said by the first one of this writer.
    if (residency.cold !== undefined && (isHot || residency.isWarm)) this.services.bucket?.noteUploaded(residency, 0)
    if (isHot) {
      residency.isHot = true
      this.hold(owner, residency, seal.fileBytes)
    } else residency.leaveHot()?.release()
    const isMissing = compressed !== undefined && !residency.isWarm && tiers?.isWarmEvicted === false
    if (isMissing && residency.cold !== undefined && !this.services.isReadOnly) {
      this.coordinator.onWarmLost(residency, "Missing")
    }
    this.segments.changed(residency)
  }

  /** What the clock for pauses showed when the clock of the machine showed `wallMs`. */
  #agoMs(wallMs: number): number {
    const { clock } = this.services
    return clock.currentTimeMillisUnsafe() - Math.max(0, clock.wallMsUnsafe() - wallMs)
  }

  /** Segments that were trimmed, or whose stream was deleted. */
  forget(residencies: Iterable<Residency>): void {
    for (const one of residencies) {
      this.services.reader.release(one)
      this.services.tables.delete(one.uid)
      this.coordinator.forget(one)
    }
  }

  /** Keys of the objects that a segment has, or may have, in Tier 2. */
  objectsOf(streamId: number, segmentIndex: number): ReadonlyArray<SegmentObject> {
    const tiers = this.services.manifest.state.streams.get(streamId)?.tiers.get(segmentIndex)
    const keys = new Set([tiers?.uploaded?.key, tiers?.uploading?.key])
    return [...keys].filter((key) => key !== undefined).map((key) => ({ streamId, segmentIndex, key }))
  }

  /**
   * Says with the next commit that objects are to go. Comes behind the record that makes them useless: when a crash comes between the two,
   * an object too many is better than one too few.
   */
  queueDeletes(objects: ReadonlyArray<SegmentObject>, reasonCode: number): void {
    const { manifest, clock, deleteGraceMs } = this.services
    const notBeforeMs = clock.wallMsUnsafe() + deleteGraceMs
    for (const one of objects) manifest.append({ type: "Tier2DeleteQueued", ...one, notBeforeMs, reasonCode })
  }

  /** Starts the loop. */
  start(): void {
    if (this.services.isReadOnly) return
    this.services.fork(this.coordinator.run)
    // What was found counts at once, and what is appended before the first seal as soon as there is enough of it.
    if (this.tier0.usedBytes >= heldBytesMin) this.#tendReserve()
    else this.tier0.onHeld = { bytes: heldBytesMin, call: () => this.#tendReserve() }
    if (this.services.bucket !== undefined) this.services.fork(this.services.bucket.run)
    // Starting a worker holds the event loop for a moment: when it is sure to be needed, that moment is now.
    if (this.services.tier1.compress === "eager") this.services.fork(this.services.compressor.warmUp)
  }

  /** A disk that has no room for the reserve is asked again after the next seal. */
  #tendReserve(): void {
    this.services.fork(this.#reserve.tend(this.tier0.usedBytes))
  }

  /**
   * Ends everything that runs. What is sealed goes to a bucket that answers, within three quarters of what `leftMs` gives, and a last HEAD within
   * the rest; where it does not answer uploads that run may finish within half of it.
   */
  close(leftMs: () => number): Effect.Effect<void> {
    const { services, segments } = this
    const headMs = leftMs() / 2
    return this.coordinator.handOver(leftMs).pipe(
      Effect.andThen(Effect.suspend(() => this.coordinator.close(Math.max(0, leftMs() - headMs)))),
      // What comes behind a HEAD that hangs has its time too.
      Effect.andThen(Effect.suspend(() => services.bucket?.close(leftMs() * 0.9) ?? Effect.void)),
      Effect.andThen(Effect.sync(() => leftMs() > 0 && tellLeftOver(services, segments))),
      Effect.andThen(services.compressor.close),
      Effect.andThen(this.#reserve.close),
    )
  }

  /** Ends everything that runs, at once. */
  get abandon(): Effect.Effect<void> {
    return this.close(() => 0)
  }

  /** A segment that is read often where it has to be decoded comes back, as long as there is room. */
  #noteDecoded(residency: Residency): void {
    const { promoteReads, bytesMax } = this.tier0.config
    residency.decodedReads++
    if (this.services.isReadOnly || promoteReads === 0 || residency.decodedReads < promoteReads) return
    residency.decodedReads = 0
    const { seal } = residency
    if (seal === undefined || this.tier0.usedBytes + seal.fileBytes > bytesMax) return
    if (this.coordinator.isLeaving(residency)) return
    this.coordinator.hydrator.prefetch(residency, "tier0", hydrationPriority.promotion)
  }
}
