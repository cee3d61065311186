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

export class ReadingTurns {
  /** Tells whether somebody else waits for the turns of the event loop. */
  isUrgent: () => boolean = () => false
  readonly #eventLoop: EventLoop
  readonly #nowMs: () => number
  readonly #waiting: Array<(bytes: number) => void> = []
  #isPlanned = false
  #urgentUntilMs = Number.NEGATIVE_INFINITY

  constructor(eventLoop: EventLoop, nowMs: () => number) {
    this.#eventLoop = eventLoop
    this.#nowMs = nowMs
  }

  /** Waits for a turn of one's own; gives what may be done in it, in bytes. */
  readonly next: Effect.Effect<number> = Effect.callback((resume) =>
    this.wait((bytes) => resume(Effect.succeed(bytes))),
  )

  /** Calls back in a turn of the reader's own, with what it may hand out in it. */
  wait(callback: (bytes: number) => void): void {
    this.#waiting.push(callback)
    this.#plan()
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#eventLoop.nextTurn(() => {
      this.#isPlanned = false
      const next = this.#waiting.shift()
      if (this.#waiting.length > 0) this.#plan()
      next?.(this.#turnBytes())
    })
  }

  #turnBytes(): number {
    const nowMs = this.#nowMs()
    if (this.isUrgent()) this.#urgentUntilMs = nowMs + urgentMs
    // A clock that was put back makes nobody slow for long.
    return nowMs <= this.#urgentUntilMs && this.#urgentUntilMs - nowMs <= urgentMs ? urgentTurnBytes : turnBytes
  }
}
