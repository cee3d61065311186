/**
 * Has segments that are behind the commit journal catch up: many of them in batches, few by syncs of their own.
 *
 * Invariants: a segment is taken by one of both at a time. Syncs of their own leave a thread of the runtime to the journal while groups go to it.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { startFlushing } from "../append/flusher.ts"
import { makeFileLater } from "../append/rollover.ts"
import type { SegmentsBehind } from "./segments_behind.ts"
import type { SettleBatch } from "./settle_batch.ts"
import { type Settling, showUnseen, sweepMs, toSettle } from "./settle_order.ts"

/** Streams that catch up at the same time by themselves: less than the threads that a runtime has for syncs, of which the journal needs one. */
const settlesAtOnce = 3
/** The same while nobody commits: their syncs of directories end up in one transaction of the file system. */
const settlesAtOnceIdle = 24
/** How long a moment is in which memory is short; while some comes back and others still wait, it begins anew. */
const shortMs = 100
/** Nobody else waits longer for a batch. */
const batchMsMax = 500

/** What it works with. */
export interface SettlerOptions {
  readonly behind: SegmentsBehind
  readonly batch: SettleBatch
  readonly clock: Clock.Clock
  readonly run: (effect: Effect.Effect<void>) => void
  /** True while groups go to the journal. */
  readonly isBusy: () => boolean
  /** True while a group waits for segments to catch up. */
  readonly isUrgent: () => boolean
  /** Called when one sync has done for a batch. */
  readonly onSync: () => void
}

export class Settler {
  readonly #options: SettlerOptions
  #isWatching = false
  #shortSinceMs = Number.NEGATIVE_INFINITY

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /** Segments that sync their own files to catch up. */
  get flushing(): number {
    const { behind, batch } = this.#options
    return Math.max(0, behind.settling.size - batch.files)
  }

  /** As long as segments are behind, those that fell quiet catch up. */
  watch(): void {
    const { behind, run } = this.#options
    if (!this.#isWatching && behind.dirty.size > 0) run(this.#sweep)
  }

  /** Staging memory is short, and what only the journal has is kept in it: all catch up, for a moment. */
  hurry(): void {
    this.#shortSinceMs = this.#nowMs
    this.more()
  }

  /** Starts as many as may catch up at once. */
  more(): void {
    const { behind, batch, run, isBusy, isUrgent } = this.#options
    const agoMs = Math.abs(this.#nowMs - batch.sinceMs)
    // As long as a batch took the disk is left to others.
    const restMs = isUrgent() || this.#isShort ? 0 : Math.min(2 * batch.tookMs, batchMsMax)
    if (agoMs < (batch.isWriting ? batchMsMax : restMs)) return
    if (behind.dirty.size >= batch.filesMin && batch.isReady) {
      const many = this.#take(batch.filesMax)
      if (many.length >= batch.filesMin) return run(Effect.andThen(this.#write(many), this.#goOn))
      this.#giveBack(many)
    }
    const most = isBusy() && !isUrgent() ? settlesAtOnce : settlesAtOnceIdle
    for (const one of this.#take(most - this.flushing)) {
      const { writing, stream } = one
      if (writing.segment.maker === undefined) startFlushing(stream)
      else run(Effect.map(makeFileLater(stream, writing.segment), () => this.#startFlushing(one)))
    }
  }

  /** Has all that are behind now catch up, as far as batches do it. */
  get all(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { behind, batch } = this.#options
      const all = [...behind.dirty].map(([writing, { stream }]): Settling => ({ writing, stream }))
      for (let next = 0; all.length - next >= batch.filesMin; next += batch.filesMax) {
        while (batch.isWriting) yield* Effect.sleep(1)
        if (!batch.isReady) return
        const many = all
          .slice(next, next + batch.filesMax)
          .filter(({ writing }) => behind.dirty.has(writing) && !behind.settling.has(writing))
        for (const { writing } of many) behind.settling.add(writing)
        yield* this.#write(many)
      }
    })
  }

  /** Ends when no batch is on its way; there is none afterwards. */
  get close(): Effect.Effect<void> {
    return this.#options.batch.close
  }

  get #isShort(): boolean {
    return Math.abs(this.#nowMs - this.#shortSinceMs) < shortMs
  }

  get #nowMs(): number {
    return this.#options.clock.currentTimeMillisUnsafe()
  }

  readonly #goOn: Effect.Effect<void> = Effect.sync(() => this.more())

  readonly #sweep: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const { behind } = this.#options
    this.#isWatching = true
    while (behind.dirty.size > 0) {
      yield* Effect.sleep(sweepMs(behind.dirty.size))
      showUnseen(behind, this.#nowMs)
      this.more()
    }
    this.#isWatching = false
  })

  readonly #write: (many: ReadonlyArray<Settling>) => Effect.Effect<void> = Effect.fnUntraced(
    { self: this },
    function* (this: Settler, many: ReadonlyArray<Settling>) {
      if (yield* this.#options.batch.write(many)) this.#options.onSync()
      this.#giveBack(many.filter(({ stream }) => !stream.isFlushing))
    },
  )

  #take(most: number): ReadonlyArray<Settling> {
    const taken: Array<Settling> = []
    if (most <= 0) return taken
    const { behind, isBusy } = this.#options
    for (const one of toSettle(behind, { nowMs: this.#nowMs, isBusy: isBusy(), isShort: this.#isShort })) {
      behind.settling.add(one.writing)
      if (taken.push(one) === most) break
    }
    return taken
  }

  #giveBack(taken: ReadonlyArray<Settling>): void {
    for (const { writing } of taken) this.#options.behind.settling.delete(writing)
  }

  #startFlushing({ writing, stream }: Settling): void {
    if (stream.closedAs === undefined) startFlushing(stream)
    else this.#options.behind.settling.delete(writing)
  }
}
