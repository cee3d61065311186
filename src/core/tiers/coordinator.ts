/**
 * Moves segments between the tiers. One loop asks the planner what is to be done and starts it; it sleeps until somebody wakes it.
 * Each job works on one segment, which is busy meanwhile; whatever ends wakes the loop again. Every job can be repeated, so that
 * interrupting one, or a crash, costs nothing but its work.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { AofError } from "../../model/errors.ts"
import { planTiers, type TierJob, type TierPlanInput } from "../../state/tier_plan.ts"
import { Alarm } from "../flow/alarm.ts"
import { deleteObjects, nextDeleteMs } from "../tier2/delete_objects.ts"
import { compressSegment } from "./compress_segment.ts"
import { evictHot, evictWarm, quarantineHot } from "./evict_segment.ts"
import { handOver } from "./hand_over.ts"
import { Hydrator, hydrationPriority } from "./hydrator.ts"
import { diskFullJobs, leavingJobs, nextLeavingMs } from "./leaving_jobs.ts"
import type { Residency } from "./residency.ts"
import { backlogOf, isTightTier1, type TierBacklog } from "./tier_backlog.ts"
import { TierProbe, uploadSlots } from "./tier_probe.ts"
import { forgetAllFailures, forgetFailures } from "./tier_retry.ts"
import type { TierSegments } from "./tier_segments.ts"
import type { TierServices, TierStream } from "./tier_services.ts"
import { objectKey, uploadSegment } from "./upload_segment.ts"

/** Compressions at once: one worker does them. */
const compressionsMax = 1
const uploadsMax = 2
/** A pause after a job that could not do anything, so that the loop never spins. */
const idleMs = 5
/** Before a file that could not be removed is tried again. */
const evictAgainMs = 1000
/** Between two calls of the collector. */
const reclaimPauseMs = 250

type Job = TierJob<Residency, TierStream>

export class Coordinator {
  readonly hydrator: Hydrator
  readonly #services: TierServices
  readonly #segments: TierSegments
  readonly #running: Map<Residency, { readonly type: Job["type"]; readonly fiber: Fiber.Fiber<unknown, unknown> }> =
    new Map()
  readonly #settleWaiters: Set<() => void> = new Set()
  readonly #roundWaiters: Set<() => void> = new Set()
  readonly #alarm = new Alarm()
  readonly #probe = new TierProbe()
  #isWoken = false
  #isClosing = false
  #isDeleting = false
  #isDiskFull = false
  #isHandingOver = false
  #reclaimedMs = Number.NEGATIVE_INFINITY
  /** Everything is to leave Tier 0, or the machine, although no budget asks for it. */
  readonly #leaving: Map<Residency, "tier1" | "tier2"> = new Map()

  constructor(services: TierServices, segments: TierSegments) {
    this.#services = services
    this.#segments = segments
    this.hydrator = new Hydrator(services)
    this.hydrator.onEnd = () => this.wake()
    services.tier0.onRefused = () => this.wake()
    if (services.tier2 !== undefined) services.tier2.gate.onChange = () => this.#onGateChange()
    services.bucket?.listen({
      onChange: () => this.wake(),
      onCommitted: (residency) => segments.changed(residency),
      isUrgent: () =>
        this.#isHandingOver || this.#leaving.size + this.#settleWaiters.size > 0 || isTightTier1(services, segments),
    })
  }

  /** The loop, for as long as the manager is open. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.#loop())

  /** Looks again soon. Cheap; may be called from anywhere. */
  wake(): void {
    this.#isWoken = true
    this.#alarm.ring()
  }

  get backlog(): TierBacklog {
    const deletes = this.#services.manifest.state.deletes.size
    return backlogOf(this.#segments, { deletes, hydrations: this.hydrator.queueDepth, running: this.#running.size })
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

  /** Returns when nothing is being put into Tier 2 or removed from it. */
  readonly untouching: Effect.Effect<void> = Effect.suspend(() =>
    this.#countRunning("upload") > 0 || this.#isDeleting
      ? Effect.andThen(Effect.sleep(idleMs), this.untouching)
      : Effect.void,
  )

  /** Returns after the next look of the loop. */
  readonly nextRound: Effect.Effect<void> = Effect.callback<void>((resume) => {
    const waiter = (): void => resume(Effect.void)
    this.#roundWaiters.add(waiter)
    return Effect.sync(() => this.#roundWaiters.delete(waiter))
  })

  /** Makes segments leave Tier 0, and with `tier2` the local disk, as soon as they may; what failed before is tried anew at once. */
  evict(residencies: Iterable<Residency>, to: "tier1" | "tier2"): void {
    for (const one of residencies) {
      forgetFailures(one)
      this.#leaving.set(one, to)
    }
    this.wake()
  }

  /** The segments that are asked to leave and have not yet. */
  isLeaving(residency: Residency): boolean {
    return this.#leaving.has(residency)
  }

  /** A stream was closed: what of it is not sealed is its active segment when it is opened again, and stays. */
  stay(streamId: number): void {
    for (const one of this.#leaving.keys()) {
      if (one.streamId === streamId && one.seal === undefined) this.#leaving.delete(one)
    }
    this.wake()
  }

  /** A segment that was trimmed or deleted: nothing is done for it any more. */
  forget(residency: Residency): void {
    this.#leaving.delete(residency)
    this.#segments.forget(residency)
    this.#reclaimedMs = Number.NEGATIVE_INFINITY
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

  /** Brings to the bucket what is still to go there, and deletes and fetches nothing more. Before `close`. */
  handOver(leftMs: () => number): Effect.Effect<void> {
    const onBegin = (): void => {
      this.#isHandingOver = true
      this.wake()
    }
    const parts = { services: this.#services, segments: this.#segments, onBegin, nextRound: this.nextRound }
    return Effect.andThen(this.hydrator.close, handOver(parts, leftMs))
  }

  /** Ends the loop and what runs: uploads may finish within `drainMs`, everything else is begun anew by the next open. */
  readonly close: (drainMs: number) => Effect.Effect<void> = (drainMs) =>
    Effect.suspend(() => {
      this.#isClosing = true
      this.#leaving.clear()
      tellAll(this.#roundWaiters)
      tellAll(this.#settleWaiters)
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
        this.#askStore()
        const plan = planTiers(this.#planInput())
        const jobs = [...plan.jobs, ...this.#planAsked()]
        for (const job of jobs) this.#start(job)
        this.#startDeletes()
        this.#tellSettled(plan.wakeAtMs)
        tellAll(this.#roundWaiters)
        if (!this.#isWoken) yield* this.#alarm.sleep(this.#nextLookMs(plan.wakeAtMs), () => this.#isWoken)
        // What woke this turn belongs to one plan.
        else yield* Effect.yieldNow
      }
    })
  }

  /** Those that are asked to leave come first: nothing else may be to go to Tier 2. */
  #askStore(): void {
    const { tier2, clock } = this.#services
    if (tier2 === undefined || tier2.gate.breaker.state === "closed") return
    const leaving = [...this.#leaving.keys()].filter((one) => this.#segments.unuploaded.has(one))
    const waiting = leaving.length > 0 ? leaving : this.#segments.unuploaded
    this.#probe.ask(tier2.gate, waiting, clock.currentTimeMillisUnsafe())
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
      warm: isTightTier1(this.#services, this.#segments) ? [...warm] : isUploadEager ? [...unuploaded] : [],
      actives: actives
        .map((active) => ({ active, streamId: active.streamId, bytes: active.sealableBytes() }))
        .filter(({ bytes }) => bytes > 0),
      isCompressEager: tier1.compress === "eager",
      isUploadEager,
      hasTier2: tier2 !== undefined,
      level: tier1.level,
      slots: this.#slots(),
    }
  }

  /** Jobs that no budget asks for. */
  #planAsked(): ReadonlyArray<Job> {
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    const jobs = leavingJobs(this.#leaving, { nowMs, level: this.#services.tier1.level, slots: this.#slots() })
    if (!this.#isDiskFull) return jobs
    this.#isDiskFull = false
    return [...jobs, ...diskFullJobs(this.#segments)]
  }

  #slots(): { readonly compress: number; readonly upload: number } {
    return {
      compress: compressionsMax - this.#countRunning("compress"),
      upload: uploadSlots(this.#services, uploadsMax - this.#countRunning("upload")),
    }
  }

  /** Tier 2 is away, or there again: then what has failed meanwhile is tried at once. */
  #onGateChange(): void {
    if (this.#services.tier2?.gate.breaker.state === "closed") forgetAllFailures(this.#segments.unuploaded)
    this.#services.bucket?.wake()
    this.wake()
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
        return Effect.map(uploadSegment(this.#services, job.segment), () => {
          if (job.segment.cold !== undefined) forgetAllFailures(this.#segments.unuploaded)
        })
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
        segment.evictAtMs = this.#services.clock.currentTimeMillisUnsafe() + evictAgainMs
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
    if (this.#isDeleting || this.#isHandingOver || tier2 === undefined || manifest.state.deletes.size === 0) return
    if (nextDeleteMs(this.#services) > this.#services.clock.currentTimeMillisUnsafe() || tier2.gate.isAway) return
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

  #nextLookMs(wakeAtMs: number | undefined): number | undefined {
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    let at = wakeAtMs ?? Number.POSITIVE_INFINITY
    const { tier2 } = this.#services
    const askMs = tier2 && this.#probe.nextMs(tier2.gate)
    const isNeeded = this.#segments.unuploaded.size > 0 || this.#services.manifest.state.deletes.size > 0
    if (askMs !== undefined && isNeeded) at = Math.min(at, askMs)
    if (tier2?.gate.isAway !== true && !this.#isDeleting && tier2 !== undefined)
      at = Math.min(at, nextDeleteMs(this.#services))
    at = Math.min(at, nextLeavingMs(this.#leaving.keys(), nowMs + idleMs))
    return at === Number.POSITIVE_INFINITY ? undefined : Math.max(idleMs, at - nowMs)
  }

  #tellSettled(wakeAtMs: number | undefined): void {
    if (this.#settleWaiters.size === 0) return
    const isHere = this.#running.size > 0 || this.hydrator.queueDepth > 0 || this.#isWoken || this.#isDeleting
    const isBusy = isHere || this.#services.bucket?.isBusy === true
    const isDue = wakeAtMs !== undefined && wakeAtMs <= this.#services.clock.currentTimeMillisUnsafe()
    const isLeaving = [...this.#leaving.keys()].some((one) => one.failures === 0 && !one.isUntold)
    if (isBusy || isDue || isLeaving) return
    tellAll(this.#settleWaiters)
  }

  /** The disk is full, whatever the budgets say: one round makes what room it can. */
  onDiskFull(): void {
    const nowMs = this.#services.clock.currentTimeMillisUnsafe()
    if (nowMs >= this.#reclaimedMs + reclaimPauseMs || nowMs < this.#reclaimedMs) {
      this.#reclaimedMs = nowMs
      this.#services.directory.reclaimUnsafe()
    }
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
    } else if (residency.isHot) residency.changeForm(undefined)
    this.#segments.changed(residency)
    this.wake()
  }
}

const tellAll = (waiting: Set<() => void>): void => {
  const waiters = [...waiting]
  waiting.clear()
  for (const waiter of waiters) waiter()
}
