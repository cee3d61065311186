/**
 * Moves segments between the tiers. One loop asks the planner what is to be done and starts it; it sleeps until somebody wakes it.
 * Each job works on one segment, which is busy meanwhile; whatever ends wakes the loop again. Every job can be repeated, so that
 * interrupting one, or a crash, costs nothing but its work.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { AofError } from "../model/errors.ts"
import { planTiers, type TierJob, type TierPlanInput } from "../state/tier_plan.ts"
import { compressSegment } from "./compress_segment.ts"
import { deleteObjects } from "./delete_objects.ts"
import { evictHot, evictWarm, quarantineHot } from "./evict_segment.ts"
import { Hydrator, hydrationPriority } from "./hydrator.ts"
import type { Residency } from "./residency.ts"
import type { TierSegments } from "./tier_segments.ts"
import type { TierServices, TierStream } from "./tier_services.ts"
import { objectKey, uploadSegment } from "./upload_segment.ts"

/** Compressions at once: one worker does them. */
const compressionsMax = 1
const uploadsMax = 2
/** Files that go at once when the disk is full, in each local tier. */
const diskFullEvictions = 4
/** A pause after a job that could not do anything, so that the loop never spins. */
const idleMs = 5

/** What the tiers still have to do. */
export interface TierBacklog {
  /** Sealed segments without a warm form. */
  readonly uncompressed: number
  /** Warm segments that Tier 2 does not have. */
  readonly unuploaded: number
  /** Bytes of these. */
  readonly unuploadedBytes: number
  /** Objects that wait for their deletion. */
  readonly deletes: number
  /** Segments that are being brought up. */
  readonly hydrations: number
  /** Jobs that run. */
  readonly running: number
}

type Job = TierJob<Residency, TierStream>

export class Coordinator {
  readonly hydrator: Hydrator
  readonly #services: TierServices
  readonly #segments: TierSegments
  readonly #running: Map<Residency, { readonly type: Job["type"]; readonly fiber: Fiber.Fiber<unknown, unknown> }> =
    new Map()
  readonly #settleWaiters: Set<() => void> = new Set()
  readonly #roundWaiters: Set<() => void> = new Set()
  #wake: (() => void) | undefined = undefined
  #isWoken = false
  #isClosing = false
  #isDeleting = false
  #isDiskFull = false
  /** Everything is to leave Tier 0, or the machine, although no budget asks for it. */
  readonly #leaving: Map<Residency, "tier1" | "tier2"> = new Map()

  constructor(services: TierServices, segments: TierSegments) {
    this.#services = services
    this.#segments = segments
    this.hydrator = new Hydrator(services)
    this.hydrator.onEnd = () => this.wake()
    services.tier0.onRefused = () => this.wake()
  }

  /** The loop, for as long as the manager is open. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.#loop())

  /** Looks again soon. Cheap; may be called from anywhere. */
  wake(): void {
    this.#isWoken = true
    this.#wake?.()
  }

  get backlog(): TierBacklog {
    const { uncompressed, unuploaded } = this.#segments
    let unuploadedBytes = 0
    for (const one of unuploaded) unuploadedBytes += one.warmBytes
    return {
      uncompressed: uncompressed.size,
      unuploaded: unuploaded.size,
      unuploadedBytes,
      deletes: this.#services.manifest.state.deletes.size,
      hydrations: this.hydrator.queueDepth,
      running: this.#running.size,
    }
  }

  /** Returns when nothing runs and nothing is due. Failures that are tried again later do not hold it up for ever: it ends between tries. */
  readonly settled: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const waiter = (): void => resume(Effect.void)
    // Without the loop nothing is ever done.
    if (this.#isClosing || this.#services.isReadOnly) return waiter()
    this.#settleWaiters.add(waiter)
    this.wake()
    return Effect.sync(() => this.#settleWaiters.delete(waiter))
  })

  /** Returns after the next look of the loop. */
  readonly nextRound: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const waiter = (): void => resume(Effect.void)
    this.#roundWaiters.add(waiter)
    return Effect.sync(() => this.#roundWaiters.delete(waiter))
  })

  /** Makes segments leave Tier 0, and with `tier2` the local disk, as soon as they may. */
  evict(residencies: Iterable<Residency>, to: "tier1" | "tier2"): void {
    for (const one of residencies) this.#leaving.set(one, to)
    this.wake()
  }

  /** The segments that are asked to leave and have not yet. */
  isLeaving(residency: Residency): boolean {
    return this.#leaving.has(residency)
  }

  /** A segment that was trimmed or deleted: nothing is done for it any more. */
  forget(residency: Residency): void {
    this.#leaving.delete(residency)
    this.#segments.forget(residency)
    this.wake()
  }

  /** Ends what is done with these segments and returns when nothing uses their files any more. */
  cancel(residencies: Iterable<Residency>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      for (const one of residencies) {
        const job = this.#running.get(one)
        if (job !== undefined) fibers.push(job.fiber)
        fibers.push(...this.hydrator.abandon(one))
      }
      return Fiber.interruptAll(fibers)
    })
  }

  /** Ends the loop and what runs: uploads may finish within `drainMs`, everything else is begun anew by the next open. */
  readonly close: (drainMs: number) => Effect.Effect<void> = (drainMs) =>
    Effect.suspend(() => {
      this.#isClosing = true
      this.#leaving.clear()
      this.#tellRound()
      this.#tellAllSettled()
      this.wake()
      const jobs = [...this.#running.values()]
      const uploads = jobs.filter((job) => job.type === "upload").map((job) => job.fiber)
      const drained = Effect.timeoutOption(Effect.ignore(Fiber.awaitAll(uploads)), drainMs)
      return Effect.all(
        [this.hydrator.close, Fiber.interruptAll(jobs.filter((job) => job.type !== "upload").map((job) => job.fiber))],
        { concurrency: 2, discard: true },
      ).pipe(Effect.andThen(drained), Effect.andThen(Fiber.interruptAll(uploads)))
    })

  #loop(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (!this.#isClosing) {
        this.#isWoken = false
        const plan = planTiers(this.#planInput())
        const jobs = [...plan.jobs, ...this.#planLeaving(), ...this.#planDiskFull()]
        for (const job of jobs) this.#start(job)
        this.#startDeletes()
        this.#tellSettled(plan.wakeAtMs)
        this.#tellRound()
        if (!this.#isWoken) yield* this.#sleep(this.#nextLookMs(plan.wakeAtMs))
        // What woke this turn belongs to one plan.
        else yield* Effect.yieldNow
      }
    })
  }

  #planInput(): TierPlanInput<Residency, TierStream> {
    const { tier0, tier1, isUploadEager, tier2, clock } = this.#services
    const { hot, warm, uncompressed, unuploaded, streams, warmBytes } = this.#segments
    const wantedStreams = new Set<number>()
    let isWanted = false
    for (const [owner, budget] of tier0.refused) {
      if (budget === "own") wantedStreams.add(owner.streamId)
      else isWanted = true
    }
    const isTight = isWanted || wantedStreams.size > 0 || tier0.usedBytes > tier0.config.bytesMax * 0.75
    const isTight1 = warmBytes > tier1.bytesMax * 0.5
    const actives = isWanted || wantedStreams.size > 0 ? [...streams.values()] : []
    return {
      nowMs: clock.currentTimeMillisUnsafe(),
      tier0: { usedBytes: tier0.usedBytes, bytesMax: tier0.config.bytesMax, isWanted, wantedStreams },
      tier1: {
        usedBytes: warmBytes,
        bytesMax: tier1.bytesMax,
        residencyMsMin: tier1.residencyMsMin,
        ratio: this.#services.counters.ratio,
      },
      // Without need only what is still to be done is looked at: the rest may be many.
      hot: isTight ? [...hot] : tier1.compress === "eager" ? [...uncompressed] : [],
      warm: isTight1 ? [...warm] : isUploadEager ? [...unuploaded] : [],
      actives: actives
        .map((active) => ({ active, streamId: active.streamId, bytes: active.sealableBytes() }))
        .filter(({ bytes }) => bytes > 0),
      isCompressEager: tier1.compress === "eager",
      isUploadEager,
      hasTier2: tier2 !== undefined,
      level: tier1.level,
      slots: {
        compress: compressionsMax - this.#countRunning("compress"),
        upload: uploadsMax - this.#countRunning("upload"),
      },
    }
  }

  /** On a full disk nothing is begun that needs room; what has a copy elsewhere goes, a few files at a time. */
  #planDiskFull(): ReadonlyArray<Job> {
    if (!this.#isDiskFull) return []
    this.#isDiskFull = false
    const isFree = (one: Residency): boolean => !one.isBusy && one.pins === 0 && one.warmPins === 0
    const { hot, warm } = this.#segments
    const evictable = [...hot].filter((one) => isFree(one) && (one.isWarm || one.cold !== undefined))
    const cold = [...warm].filter((one) => isFree(one) && one.cold !== undefined && !one.isHot)
    const oldest = (all: Array<Residency>): Array<Residency> =>
      all.sort((one, other) => one.lastUse - other.lastUse).slice(0, diskFullEvictions)
    return [
      ...oldest(evictable).map((segment): Job => ({ type: "evictHot", segment })),
      ...oldest(cold).map((segment): Job => ({ type: "evictWarm", segment })),
    ]
  }

  /** The next step of each segment that was asked to leave. */
  #planLeaving(): ReadonlyArray<Job> {
    const jobs: Array<Job> = []
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    let compress = compressionsMax - this.#countRunning("compress")
    let upload = uploadsMax - this.#countRunning("upload")
    for (const [segment, to] of this.#leaving) {
      const isThere = !segment.isHot && (to === "tier1" || !segment.isWarm)
      if (isThere || segment.isGone || segment.isDamaged) {
        this.#leaving.delete(segment)
        continue
      }
      if (segment.isBusy || segment.retryAtMs > nowMs || segment.seal === undefined) continue
      if (segment.form === undefined) {
        if (compress-- > 0) jobs.push({ type: "compress", segment, level: this.#services.tier1.level })
      } else if (to === "tier2" && segment.cold === undefined) {
        if (upload-- > 0) jobs.push({ type: "upload", segment })
      } else if (segment.isHot) jobs.push({ type: "evictHot", segment })
      else jobs.push({ type: "evictWarm", segment })
    }
    return jobs
  }

  #countRunning(type: Job["type"]): number {
    let count = 0
    for (const job of this.#running.values()) if (job.type === type) count++
    return count
  }

  #start(job: Job): void {
    if (job.type === "seal") {
      this.#services.counters.pressureSeals++
      return job.active.seal()
    }
    const { segment } = job
    if (segment.isBusy || segment.isGone) return
    segment.isBusy = true
    const fiber = this.#services.fork(this.#work(job))
    this.#running.set(segment, { type: job.type, fiber })
    fiber.addObserver(() => {
      this.#running.delete(segment)
      segment.isBusy = false
      this.hydrator.wake()
      this.wake()
    })
  }

  #work(job: Exclude<Job, { readonly type: "seal" }>): Effect.Effect<void> {
    switch (job.type) {
      case "compress":
        return compressSegment(this.#services, job.segment, job.level)
      case "upload":
        return uploadSegment(this.#services, job.segment)
      case "evictHot":
        return this.#tolerate(job.segment, evictHot(this.#services, job.segment))
      case "evictWarm":
        return this.#tolerate(job.segment, evictWarm(this.#services, job.segment))
    }
  }

  /** A file that cannot be removed now is tried again later. */
  #tolerate(segment: Residency, work: Effect.Effect<void, AofError>): Effect.Effect<void> {
    return Effect.catch(work, (error: AofError) =>
      Effect.sync(() => {
        segment.retryAtMs = this.#services.clock.currentTimeMillisUnsafe() + 1000
        const { stream, index: segmentIndex } = segment
        this.#services.emit({
          name: "tier0_eviction_failed",
          level: "warn",
          stream,
          segmentIndex,
          reason: error.message,
        })
      }),
    )
  }

  #startDeletes(): void {
    const { manifest, tier2 } = this.#services
    if (this.#isDeleting || tier2 === undefined || manifest.state.deletes.size === 0) return
    if (this.#nextDeleteMs() > this.#services.clock.currentTimeMillisUnsafe()) return
    this.#isDeleting = true
    // A late put must not bring back what was removed.
    const uploading = new Set<string>()
    for (const [residency, { type }] of this.#running) {
      if (type === "upload" && residency.form !== undefined) uploading.add(objectKey(this.#services, residency))
    }
    this.#services.fork(deleteObjects(this.#services, uploading)).addObserver(() => {
      this.#isDeleting = false
      this.wake()
    })
  }

  #nextDeleteMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { notBeforeMs } of this.#services.manifest.state.deletes.values()) next = Math.min(next, notBeforeMs)
    return next
  }

  #nextLookMs(wakeAtMs: number | undefined): number | undefined {
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    let at = wakeAtMs ?? Number.POSITIVE_INFINITY
    if (!this.#isDeleting && this.#services.tier2 !== undefined) at = Math.min(at, this.#nextDeleteMs())
    for (const one of this.#leaving.keys()) if (!one.isBusy) at = Math.min(at, Math.max(one.retryAtMs, nowMs + idleMs))
    return at === Number.POSITIVE_INFINITY ? undefined : Math.max(idleMs, at - nowMs)
  }

  /** Sleeps until it is woken, or for a while. */
  #sleep(delayMs: number | undefined): Effect.Effect<void> {
    const woken = Effect.callback<void>((resume) => {
      if (this.#isWoken) return resume(Effect.void)
      this.#wake = () => {
        this.#wake = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        this.#wake = undefined
      })
    })
    return delayMs === undefined ? woken : Effect.raceFirst(woken, Effect.sleep(delayMs))
  }

  #tellRound(): void {
    const waiters = [...this.#roundWaiters]
    this.#roundWaiters.clear()
    for (const waiter of waiters) waiter()
  }

  #tellAllSettled(): void {
    const waiters = [...this.#settleWaiters]
    this.#settleWaiters.clear()
    for (const waiter of waiters) waiter()
  }

  #tellSettled(wakeAtMs: number | undefined): void {
    if (this.#settleWaiters.size === 0) return
    const isBusy = this.#running.size > 0 || this.hydrator.queueDepth > 0 || this.#isWoken || this.#isDeleting
    const isDue = wakeAtMs !== undefined && wakeAtMs <= this.#services.clock.currentTimeMillisUnsafe()
    const isLeaving = [...this.#leaving.keys()].some((one) => one.failures === 0)
    if (isBusy || isDue || isLeaving) return
    this.#tellAllSettled()
  }

  /** The disk is full, whatever the budgets say: one round makes what room it can. */
  onDiskFull(): void {
    this.#isDiskFull = true
    this.wake()
  }

  /** A Tier 0 file does not check, and another copy does: it is put aside, and reading goes on there. */
  onHotDamaged(residency: Residency): void {
    const { stream, index: segmentIndex } = residency
    residency.leaveHot()?.release()
    this.#segments.changed(residency)
    this.#services.emit({ name: "tier0_corrupt", level: "error", stream, segmentIndex, reason: "Corrupt" })
    this.#services.fork(Effect.ignore(quarantineHot(this.#services, residency)))
    this.wake()
  }

  /** A warm file was found missing or damaged. */
  onWarmLost(residency: Residency, reason: "Missing" | "Corrupt"): void {
    residency.isWarm = false
    const { stream, index: segmentIndex } = residency
    this.#services.tables.delete(residency.uid)
    this.#services.emit({ name: "tier1_missing", level: "warn", stream, segmentIndex, reason })
    if (residency.cold !== undefined) {
      residency.needsRecovery = true
      this.#services.counters.warmRecoveries++
      this.hydrator.prefetch(residency, "tier1", hydrationPriority.repair)
    } else if (residency.isHot) residency.form = undefined
    this.#segments.changed(residency)
    this.wake()
  }
}
