/**
 * A world without real time: what can run now, and what waits for a moment to come. Effect's fibers run on it, by the services that it
 * gives, and so does everything that answers later. Time stands still while anything can run, and jumps to the next moment when not.
 *
 * Invariants: everything runs within `run`, one task after the other, in an order that the seed decides; what a dead process left behind is
 * dropped with `clear` and never runs.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Random from "effect/Random"
import type * as Scheduler from "effect/Scheduler"
import type { SimRandom } from "./sim_random.ts"

interface Timer {
  readonly atMs: number
  readonly order: number
  run: (() => void) | undefined
}

/** How `run` came to an end. */
export type LoopEnd = "done" | "stuck" | "late" | "endless"

/** Tasks without any time going by, after which a run counts as endless. */
const tasksAtOnceMax = 60_000
/** Operations after which a fiber lets others run, as outside of simulations, and what that counts for. */
const operationsMax = 2048
const tasksOfYield = 100
/** How far ahead of the others a task may be taken. */
const aheadMax = 12

export class SimLoop {
  /** Milliseconds since the world began; never goes back. */
  nowMs = 0
  /** What the wall clock shows at the beginning; may be changed at any time, as people do with clocks. */
  wallMs: number
  readonly scheduler: Scheduler.Scheduler
  readonly clock: Clock.Clock
  readonly chance: Random.Random
  readonly #random: SimRandom
  readonly #disorder: number
  #ready: Array<() => void> = []
  #head = 0
  #timers: Array<Timer> = []
  #order = 0
  /** Tasks that have run since time went on. */
  #tasks = 0

  /** `disorder` is how often a task is taken before others that came first, 0 to 1. */
  constructor(options: { readonly random: SimRandom; readonly disorder: number; readonly wallMs: number }) {
    const { random, disorder, wallMs } = options
    this.#random = random
    this.#disorder = disorder
    this.wallMs = wallMs
    this.scheduler = {
      executionMode: "async",
      shouldYield: (fiber) => {
        if (fiber.currentOpCount < operationsMax) return false
        // A fiber that goes round and round is told from one that has much to do by how often it comes here.
        this.#tasks += tasksOfYield
        return true
      },
      makeDispatcher: () => ({ scheduleTask: (task) => this.schedule(task), flush: () => {} }),
    }
    this.clock = this.#makeClock()
    this.chance = {
      nextIntUnsafe: () => random.next32() * 2 ** 20 + (random.next32() >>> 12) - 2 ** 51,
      nextDoubleUnsafe: () => random.double(),
    }
  }

  /** What the wall clock shows, in milliseconds. */
  get wallNowMs(): number {
    return Math.floor(this.wallMs + this.nowMs)
  }

  /** Runs `task` when those before it have run, or a little earlier. */
  schedule(task: () => void): void {
    this.#ready.push(task)
  }

  /** Runs `task` after `delayMs`; the result forgets it. */
  later(delayMs: number, task: () => void): () => void {
    const timer: Timer = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, run: task }
    this.#push(timer)
    return () => {
      timer.run = undefined
    }
  }

  /** Drops everything that waits: its process is dead. */
  clear(): void {
    this.#ready = []
    this.#head = 0
    this.#timers = []
  }

  /** Runs until `isDone`, until nothing is left that could, or until a moment has come. */
  run(isDone: () => boolean, untilMs: number): LoopEnd {
    this.#tasks = 0
    while (!isDone()) {
      const task = this.#take()
      if (task !== undefined) {
        if (++this.#tasks > tasksAtOnceMax) return "endless"
        task()
        continue
      }
      const timer = this.#pop()
      if (timer === undefined) return "stuck"
      if (timer.run === undefined) continue
      if (timer.atMs > untilMs) return "late"
      if (timer.atMs > this.nowMs) this.#tasks = 0
      this.nowMs = Math.max(this.nowMs, timer.atMs)
      timer.run()
    }
    return "done"
  }

  #take(): (() => void) | undefined {
    const { length } = this.#ready
    if (this.#head === length) {
      if (length > 0) {
        this.#ready = []
        this.#head = 0
      }
      return undefined
    }
    if (length - this.#head > 1 && this.#disorder > 0 && this.#random.chance(this.#disorder)) {
      const at = this.#head + this.#random.below(Math.min(aheadMax, length - this.#head))
      const task = this.#ready[at] as () => void
      this.#ready.copyWithin(this.#head + 1, this.#head, at)
      this.#head++
      return task
    }
    return this.#ready[this.#head++]
  }

  #makeClock(): Clock.Clock {
    const nanos = (milliseconds: number): bigint => BigInt(Math.floor(milliseconds)) * 1_000_000n
    const now = (): number => this.wallNowMs
    return {
      currentTimeMillisUnsafe: now,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanosUnsafe: () => nanos(now()),
      currentTimeNanos: Effect.sync(() => nanos(now())),
      monotonicTimeNanosUnsafe: () => nanos(this.nowMs),
      monotonicTimeNanos: Effect.sync(() => nanos(this.nowMs)),
      sleep: (duration) => {
        const milliseconds = Duration.toMillis(duration)
        if (!Number.isFinite(milliseconds)) return Effect.never
        if (milliseconds <= 0) return Effect.yieldNow
        return Effect.callback<void>((resume) => {
          const forget = this.later(milliseconds, () => resume(Effect.void))
          return Effect.sync(forget)
        })
      },
    }
  }

  /** A binary heap, the earliest first, and of those at one moment the one that was asked for first. */
  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as Timer, timer)) break
      heap[at] = heap[parent] as Timer
      at = parent
    }
    heap[at] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#timers
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child++
      if (isBefore(last, heap[child] as Timer)) break
      heap[at] = heap[child] as Timer
      at = child
    }
    heap[at] = last
    return first
  }
}

const isBefore = (one: Timer, other: Timer): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
