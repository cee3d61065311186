/**
 * The activation queue: who needs a segment nearer waits here. One run for each segment and target, the most urgent first; a run that
 * nobody waits for any more is cancelled, unless it was asked for ahead. What a point read needs of an object goes past the queue.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type AofError, closed, notFound } from "../../model/errors.ts"
import { SingleFlight } from "../flow/single_flight.ts"
import type { ColdNeed, NeedServer } from "../read/cold_need.ts"
import { fetchFrames } from "./fetch_frames.ts"
import { type HydrationTarget, hydrateSegment, noteHydrationFailed } from "./hydrate_segment.ts"
import type { Residency } from "./residency.ts"
import { ScanAhead } from "./scan_ahead.ts"
import type { TierServices } from "./tier_services.ts"

/** How urgent a request is; the higher the sooner. */
export const hydrationPriority: {
  readonly promotion: 0
  readonly ahead: 1
  readonly repair: 2
  readonly prefetch: 3
  readonly reader: 4
} = { promotion: 0, ahead: 1, repair: 2, prefetch: 3, reader: 4 }

/** Requests that are carried out at once: while one decodes, another fetches. */
const runsMax = 2
/** How often a whole object that does not check is fetched again: one bit of it may have been damaged on its way. */
const refetchesMax = 1

interface Request {
  readonly residency: Residency
  readonly target: HydrationTarget
  readonly sequence: number
  readonly done: Deferred.Deferred<void, AofError>
  readonly sinceMs: number
  priority: number
  waiters: number
  /** Goes on although nobody waits. */
  isAhead: boolean
  fiber: Fiber.Fiber<void, AofError> | undefined
}

export class Hydrator implements NeedServer {
  readonly #services: TierServices
  readonly #requests: Map<string, Request> = new Map()
  readonly #frames: SingleFlight<string, void>
  /** What passes through memory. */
  readonly scans: ScanAhead
  /** What somebody waits for, and lets go of by interrupting. */
  readonly #awaited: WeakSet<ColdNeed> = new WeakSet()
  #sequence = 0
  #running = 0
  #isWarned = false
  #isClosed = false
  /** Called after each end of a request. */
  onEnd: () => void = () => {}

  constructor(services: TierServices) {
    this.#services = services
    this.scans = new ScanAhead(services, services.tier0.config.frameCacheBytes / 2)
    this.#frames = new SingleFlight(services.fork)
  }

  /** Segments that are waited for or being brought. */
  get queueDepth(): number {
    return this.#requests.size
  }

  /** Brings what a read was missing. */
  satisfy(need: ColdNeed): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const { residency, kind } = need
      this.#awaited.add(need)
      if (this.#isClosed) return Effect.fail(closed("manager"))
      if (kind === "look") return this.#look(residency)
      if (kind === "hot") return this.request(residency, "tier0", hydrationPriority.reader)
      const brought = kind === "scan" ? this.#scan(need) : this.#fetchFrames(need)
      return this.#services.isReadOnly ? this.#orLook(residency, brought) : brought
    })
  }

  #look({ streamId }: Residency): Effect.Effect<void, AofError> {
    return this.#services.segments.stream(streamId)?.look ?? Effect.void
  }

  /** An object that is not there may have been replaced, or its segment trimmed, by the writer: whoever reads tries again then. */
  #orLook(residency: Residency, brought: Effect.Effect<void, AofError>): Effect.Effect<void, AofError> {
    const key = residency.cold?.key
    return Effect.catch(brought, (error: AofError) => {
      if (error._tag !== "NotFound") return Effect.fail(error)
      const isElsewhere = (): boolean => residency.isGone || residency.cold?.key !== key
      return Effect.flatMap(this.#look(residency), () => (isElsewhere() ? Effect.void : Effect.fail(error)))
    })
  }

  /** One scan passes through memory; what is scanned again comes to Tier 1, if there is room. */
  #scan({ residency, offset, scannedTo = 0 }: ColdNeed): Effect.Effect<void, AofError> {
    const pass = this.scans.bring(residency, offset)
    const isDoubted = residency.objectDoubt.isBelieved(this.#services.clock.currentTimeMillisUnsafe())
    if (offset >= scannedTo || isDoubted || !this.#fitsTier1(residency)) return pass
    this.#readAhead(residency)
    return Effect.catch(this.request(residency, "tier1", hydrationPriority.reader), (error: AofError) => {
      if (error._tag !== "Corrupt" || residency.cold === undefined) return Effect.fail(error)
      // What is left of an object that is damaged is read where it is.
      residency.objectDoubt.note(this.#services.clock.currentTimeMillisUnsafe())
      return pass
    })
  }

  /** Starts to bring it for a caller who does not wait. One who does begins to right away, and may end it again. */
  begin(need: ColdNeed): void {
    if (this.#isClosed || need.kind === "look") return
    // A scan that has gone on meanwhile found what it needs.
    const isLeft = Effect.sync(
      () => !this.#awaited.has(need) && (need.scannedTo === undefined || need.scannedTo === need.residency.scannedTo),
    )
    // Its end is for the next try to find out.
    const brought = Effect.flatMap(isLeft, (isWanted) => (isWanted ? Effect.ignore(this.satisfy(need)) : Effect.void))
    this.#services.fork(Effect.andThen(Effect.yieldNow, brought))
  }

  /** Brings a segment to a tier; joins a request that is under way. Interrupting it may cancel that. */
  request(residency: Residency, target: HydrationTarget, priority: number): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      if (this.#isClosed) return Effect.fail(closed("manager"))
      const request = this.#take(residency, target, priority)
      request.waiters++
      this.#pump()
      return Effect.onInterrupt(Deferred.await(request.done), () => this.#leave(request))
    })
  }

  /** Asks for a segment ahead of its use: it is brought although nobody waits. */
  prefetch(residency: Residency, target: HydrationTarget, priority: number): void {
    if (this.#isClosed || residency.isGone) return
    const request = this.#take(residency, target, priority)
    request.isAhead = true
    this.#pump()
  }

  /** Ends the requests for a segment that goes; returns what still has to be interrupted. */
  abandon(residency: Residency): ReadonlyArray<Fiber.Fiber<void, AofError>> {
    const fibers: Array<Fiber.Fiber<void, AofError>> = []
    for (const request of [...this.#requests.values()]) {
      if (request.residency !== residency) continue
      if (request.fiber !== undefined) fibers.push(request.fiber)
      this.#end(request, Exit.fail(notFound("segment", residency.index, "what is left of the stream")))
    }
    return fibers
  }

  /** True while a segment is asked for. */
  isRequested(residency: Residency): boolean {
    return this.#requests.has(keyOf(residency, "tier0")) || this.#requests.has(keyOf(residency, "tier1"))
  }

  /** Ends everything; who waits is told `Closed`. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.#isClosed = true
    const fibers: Array<Fiber.Fiber<void, AofError>> = []
    for (const request of [...this.#requests.values()]) {
      if (request.fiber !== undefined) fibers.push(request.fiber)
      this.#end(request, Exit.fail(closed("manager")))
    }
    return Effect.andThen(Effect.andThen(Fiber.interruptAll(fibers), this.#frames.close), this.scans.close)
  })

  #take(residency: Residency, target: HydrationTarget, priority: number): Request {
    const key = keyOf(residency, target)
    const known = this.#requests.get(key)
    if (known !== undefined) {
      known.priority = Math.max(known.priority, priority)
      return known
    }
    const request: Request = {
      residency,
      target,
      sequence: ++this.#sequence,
      done: Deferred.makeUnsafe<void, AofError>(),
      sinceMs: this.#services.clock.currentTimeMillisUnsafe(),
      priority,
      waiters: 0,
      isAhead: false,
      fiber: undefined,
    }
    this.#requests.set(key, request)
    this.#warn()
    return request
  }

  #warn(): void {
    const { activationQueueWarnThreshold } = this.#services.tier0.config
    const isLong = this.queueDepth > activationQueueWarnThreshold
    if (isLong && !this.#isWarned) {
      const reason = `${this.queueDepth} segments are waited for, the threshold is ${activationQueueWarnThreshold}`
      this.#services.emit({ name: "tier0_activation_queue_warning", level: "warn", reason })
    }
    this.#isWarned = isLong
  }

  #pump(): void {
    while (this.#running < runsMax) {
      const next = this.#mostUrgent()
      if (next === undefined) return
      this.#running++
      next.residency.isBusy = true
      next.fiber = this.#services.fork(this.#carryOut(next))
      next.fiber.addObserver((exit) => {
        this.#running--
        next.residency.isBusy = false
        this.#end(next, exit)
        this.#pump()
        this.onEnd()
      })
    }
  }

  /** The most urgent request that waits and whose segment nobody works on. */
  #mostUrgent(): Request | undefined {
    let best: Request | undefined
    for (const one of this.#requests.values()) {
      if (one.fiber !== undefined || one.residency.isBusy) continue
      const isBetter = best === undefined || one.priority > best.priority
      if (isBetter || (one.priority === best!.priority && one.sequence < best!.sequence)) best = one
    }
    return best
  }

  /** A segment that was busy is free again. */
  wake(): void {
    this.#pump()
  }

  #carryOut(request: Request): Effect.Effect<void, AofError> {
    const { residency, target } = request
    const { retriesMax, retryBackoffMs } = this.#services.tier1
    const { counters, clock, emit } = this.#services
    const { stream, index: segmentIndex } = residency
    const attemptAt = (attempt: number): Effect.Effect<void, AofError> =>
      Effect.catch(hydrateSegment(this.#services, residency, target), (error: AofError) => {
        const isBad = error._tag === "Corrupt" && residency.cold !== undefined
        // A warm file that does not check is fetched again, and so is an object, which may have been damaged on its way.
        const isLost = isBad && residency.isWarm
        if (isLost) this.#services.reader.loseWarm(residency, "Corrupt")
        const mayHelp = error.retryable || isLost || (isBad && attempt <= refetchesMax)
        if (!mayHelp || attempt > retriesMax) return this.#giveUp(request, error, attempt)
        const delayMs = retryBackoffMs * 2 ** (attempt - 1)
        counters.hydrationRetries++
        const reason = error.message
        emit({ name: "tier1_hydration_retry_scheduled", level: "warn", stream, segmentIndex, attempt, delayMs, reason })
        return Effect.andThen(Effect.sleep(delayMs), attemptAt(attempt + 1))
      })
    return Effect.map(attemptAt(1), () => {
      // The copy that is here now is the better one.
      this.scans.forget(residency)
      const durationMs = Math.max(0, clock.currentTimeMillisUnsafe() - request.sinceMs)
      counters.hydrations++
      counters.hydrationLatency.note(durationMs)
      const bytes = residency.form?.fileBytes
      emit({ name: "tier1_hydration_success", level: "info", stream, segmentIndex, bytes, durationMs })
    })
  }

  #giveUp(request: Request, error: AofError, attempts: number): Effect.Effect<never, AofError> {
    const { residency, target } = request
    if (!residency.isGone && error._tag !== "Closed") {
      const { stream, index: segmentIndex } = residency
      this.#services.counters.hydrationFailures++
      noteHydrationFailed(this.#services, residency, { target, attempts, error })
      const detail = { stream, segmentIndex, attempt: attempts, reason: error.message }
      if (error.retryable) this.#services.emit({ name: "tier1_hydration_retry_exhausted", level: "error", ...detail })
      this.#services.emit({ name: "tier1_hydration_failed", level: "error", ...detail })
    }
    // What is gone is no failure of the disk, whatever a job found in the place of its files.
    return Effect.fail(residency.isGone ? notFound("segment", residency.index, "what trims have left") : error)
  }

  #leave(request: Request): Effect.Effect<void> {
    return Effect.suspend(() => {
      request.waiters--
      if (request.waiters > 0 || request.isAhead) return Effect.void
      // Whoever asks from now on asks anew: this run is over.
      this.#end(request, Exit.void)
      return request.fiber === undefined ? Effect.void : Fiber.interrupt(request.fiber)
    })
  }

  #end(request: Request, exit: Exit.Exit<void, AofError>): void {
    const key = keyOf(request.residency, request.target)
    if (this.#requests.get(key) === request) this.#requests.delete(key)
    this.#warn()
    const answer = Exit.hasInterrupts(exit) ? Exit.fail(closed("manager")) : exit
    Deferred.doneUnsafe(request.done, Exit.asVoid(answer))
  }

  /** A warm file may overdraw the budget of Tier 1 by itself, but not on top of others. */
  #fitsTier1(residency: Residency): boolean {
    if (this.#services.isReadOnly) return false
    return residency.isWarm || this.#services.segments.warmBytes <= this.#services.tier1.bytesMax
  }

  #readAhead(residency: Residency): void {
    const next = this.#services.segments.next(residency)
    if (next === undefined || next.isHot || next.isWarm || next.cold === undefined || !this.#fitsTier1(next)) return
    this.prefetch(next, "tier1", hydrationPriority.ahead)
  }

  #fetchFrames(need: ColdNeed): Effect.Effect<void, AofError> {
    const key = `${need.residency.uid}:${need.offset}:${need.length}`
    return this.#frames.run(key, fetchFrames(this.#services, need))
  }
}

/** The same for as long as there is the segment: its warm form may be made anew while a request for it is under way. */
const keyOf = ({ streamId, index }: Residency, target: HydrationTarget): string => `${streamId}:${index}:${target}`
