/**
 * Says where a small sync is made. The thread pool keeps the main thread free, but handing a sync over and hearing of its end takes as long as
 * half a sync of a fast disk. So where syncs are short, and the event loop has nothing else to do meanwhile, the main thread makes them itself.
 *
 * Invariants: what the main thread waits for syncs that are longer than the limit is at most a small part of its time, as it rests from syncing for
 * many times as long after each. It does not begin before the thread pool has shown that syncs can be short.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { attempt } from "../flow/attempt.ts"
import { monotonicMs } from "../flow/steady_clock.ts"

/** A group with more is not small. */
const smallBytesMax = 128 * 1024
/** How much each new figure counts. */
const weight = 1 / 8
/** How fast the shortest syncs of the thread pool are learned and forgotten: what it takes to come back from there varies, and says little of the disk. */
const learning = 1 / 2
const forgetting = 1 / 32
/** A figure counts for no more than this many times the limit. */
const outlier = 3
/** One sync may take so many times the limit without a rest, as long as they do not on average. */
const slow = 10
/** They may take so many times the limit on average, once they were shorter: elsewhere they would take longer too. */
const tolerance = 2
/** How many times as long a rest is as the sync before it. */
const rest = 50
/** Turns of the event loop that take so many times as long as a sync have work that the thread pool leaves room for. */
const busyTurn = 3
/** Who has had a sync so short a time ago will want another one. */
const inUseMs = 250
/** No sync is taken for shorter than this. */
const shortMs = 0.05

export class SyncGauge {
  /** Syncs that the main thread has made. */
  inlineSyncs = 0
  readonly #limitMs: number
  readonly #clock: Clock.Clock
  /** The shortest syncs of the thread pool, and what those of the main thread take. */
  #poolMs: number
  #inlineMs = 0
  #turnMs = 0
  #restUntilMs = Number.NEGATIVE_INFINITY
  #lastMs = Number.NEGATIVE_INFINITY
  /** Syncs that are on their way, and when the last one ended. */
  #running = 0
  #lastUseMs = Number.NEGATIVE_INFINITY

  /** `limitMs`: what a sync may take on average to be made on the main thread; 0 for never. */
  constructor(limitMs: number, clock: Clock.Clock) {
    this.#limitMs = limitMs
    this.#clock = clock
    this.#poolMs = limitMs * outlier
  }

  /** Milliseconds of a clock that only goes forward, with fractions. */
  get nowMs(): number {
    return monotonicMs(this.#clock)
  }

  /** True while appends have their bytes synced again and again, by whatever thread. */
  get isInUse(): boolean {
    return this.#running > 0 || this.nowMs - this.#lastUseMs < inUseMs
  }

  /** True when the main thread has made a sync since `ageMs` ago. */
  isFresh(ageMs: number): boolean {
    return this.nowMs - this.#lastMs < ageMs
  }

  /** Makes a sync of `bytes` where it is best made. `mayWait`: the caller has a turn of the event loop for itself. */
  sync(file: SegmentFile, bytes: number, mayWait: boolean): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const startMs = this.nowMs
      if (bytes > smallBytesMax || this.#limitMs === 0) return this.#counted(file.syncData)
      const isInline = mayWait && this.#isInline(startMs) && file.syncDataUnsafe !== undefined
      const sync = isInline ? attempt(() => file.syncDataUnsafe?.()) : file.syncData
      const noted = Effect.map(sync, () => {
        const nowMs = this.nowMs
        if (isInline) this.#noteInline(nowMs, nowMs - startMs)
        else this.#notePool(nowMs - startMs)
      })
      // The main thread has stood still all the same.
      return isInline
        ? Effect.tapError(noted, () => Effect.sync(() => this.#noteRest(this.nowMs, startMs)))
        : this.#counted(noted)
    })
  }

  #counted<A, E>(sync: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      this.#running++
      return Effect.ensuring(
        sync,
        Effect.sync(() => {
          this.#running--
          this.#lastUseMs = this.nowMs
        }),
      )
    })
  }

  /** The turn that was asked for at `startMs` has come. */
  noteTurn(startMs: number): void {
    this.#turnMs += (this.#capped(this.nowMs - startMs) - this.#turnMs) * weight
  }

  #isInline(nowMs: number): boolean {
    if (this.#poolMs >= this.#limitMs || nowMs < this.#restUntilMs) return false
    return this.#turnMs <= Math.max(this.#inlineMs, shortMs) * busyTurn
  }

  #noteInline(nowMs: number, tookMs: number): void {
    this.inlineSyncs++
    this.#lastMs = nowMs
    this.#lastUseMs = nowMs
    this.#inlineMs += (this.#capped(tookMs) - this.#inlineMs) * weight
    this.#noteRest(nowMs, nowMs - tookMs)
  }

  #noteRest(nowMs: number, startMs: number): void {
    const tookMs = nowMs - startMs
    const isLong = this.#inlineMs > this.#limitMs * tolerance
    const tooLongMs = tookMs > this.#limitMs * slow ? tookMs : isLong ? this.#limitMs : 0
    this.#restUntilMs = nowMs + tooLongMs * rest
  }

  #notePool(tookMs: number): void {
    const changeMs = this.#capped(tookMs) - this.#poolMs
    this.#poolMs += changeMs < 0 ? changeMs * learning : changeMs * forgetting
  }

  #capped(tookMs: number): number {
    return Math.min(tookMs, this.#limitMs * outlier)
  }
}
