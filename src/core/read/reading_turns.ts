/**
 * Shares the turns of the event loop among all who go through many records that are at hand and those who decode them, one of them in each turn. Without
 * it every one would do its part in the same turn, and appends and answers of the disk would wait for all of them.
 */
import * as Effect from "effect/Effect"
import type { EventLoop } from "../../port/event_loop.ts"

/** What a reader hands out without a pause, in bytes: a millisecond at most. */
export const turnBytes: number = 1024 * 1024
/** The same while somebody waits for a sync, or did a moment ago: the steps of an append take several turns. */
const urgentTurnBytes = 128 * 1024
/** How long a moment is: who appends all the time is met between two syncs too. */
const urgentMs = 50
/** What a reader may hand out as soon as what it has waited for is there, which may be the same moment for many. */
export const wokenBytes: number = 128 * 1024
/** What a record costs beside its bytes. */
export const recordCostBytes: number = 1024

/** What those who read out of other tiers may do together meanwhile, before they leave the event loop to all others for a moment. */
const coldBytes = 1024 * 1024
const coldPauseMs = 1

export class ReadingTurns {
  /** Tells whether somebody else waits for the turns of the event loop. */
  isUrgent: () => boolean = () => false
  readonly #eventLoop: EventLoop
  readonly #nowMs: () => number
  readonly #run: (effect: Effect.Effect<void>) => void
  readonly #waiting: Array<(bytes: number) => void> = []
  /** Readers of other tiers that wait for the end of the pause. */
  readonly #paused: Array<(bytes: number) => void> = []
  #isPlanned = false
  #coldSpentBytes = 0
  #urgentUntilMs = Number.NEGATIVE_INFINITY

  constructor(options: {
    readonly eventLoop: EventLoop
    readonly nowMs: () => number
    readonly run: (effect: Effect.Effect<void>) => void
  }) {
    this.#eventLoop = options.eventLoop
    this.#nowMs = options.nowMs
    this.#run = options.run
  }

  /** True while somebody waits for a sync, or did a moment ago. */
  get isLive(): boolean {
    const nowMs = this.#nowMs()
    if (this.isUrgent()) this.#urgentUntilMs = nowMs + urgentMs
    // A clock that was put back makes nobody slow for long.
    return nowMs <= this.#urgentUntilMs && this.#urgentUntilMs - nowMs <= urgentMs
  }

  /** Waits for a turn of one's own to bring part of a scan from another tier; gives what may be done in it, in bytes. */
  readonly nextOfScan: Effect.Effect<number> = Effect.callback((resume) =>
    this.wait((bytes) => resume(Effect.succeed(bytes)), true),
  )

  /** The same for somebody who waits for a few frames: before all scans. */
  readonly nextOfPoint: Effect.Effect<number> = Effect.callback((resume) => {
    this.#waiting.unshift((bytes) => resume(Effect.succeed(bytes)))
    this.#plan()
  })

  /** Calls back in a turn of the reader's own, with what it may hand out in it. `isCold`: out of another tier. */
  wait(callback: (bytes: number) => void, isCold: boolean): void {
    if (isCold && this.#coldSpentBytes >= coldBytes && this.isLive) {
      this.#paused.push(callback)
      if (this.#paused.length === 1) this.#pause()
      return
    }
    this.#waiting.push(isCold ? this.#counted(callback) : callback)
    this.#plan()
  }

  #counted(callback: (bytes: number) => void): (bytes: number) => void {
    return (bytes) => {
      this.#coldSpentBytes += bytes
      callback(bytes)
    }
  }

  #pause(): void {
    const end = Effect.sync(() => {
      this.#coldSpentBytes = 0
      for (const callback of this.#paused.splice(0)) this.wait(callback, true)
    })
    // Nobody is left behind when the manager closes meanwhile.
    this.#run(Effect.ensuring(Effect.sleep(coldPauseMs), end))
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#eventLoop.nextTurn(() => {
      this.#isPlanned = false
      const next = this.#waiting.shift()
      if (this.#waiting.length > 0) this.#plan()
      next?.(this.isLive ? urgentTurnBytes : turnBytes)
    })
  }
}
