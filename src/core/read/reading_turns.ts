/**
 * Shares the turns of the event loop among all who go through many records that are at hand, one reader in each turn. Without it every one of
 * them would do its part in the same turn, and appends and answers of the disk would wait for all of them.
 */
import type { EventLoop } from "../../port/event_loop.ts"

/** What a reader hands out without a pause, in bytes: a millisecond at most. */
export const turnBytes: number = 1024 * 1024
/** The same while somebody waits for a sync, whose steps take several turns. */
const urgentTurnBytes = 128 * 1024
/** What a record costs beside its bytes. */
export const recordCostBytes: number = 1024

export class ReadingTurns {
  readonly #eventLoop: EventLoop
  readonly #isUrgent: () => boolean
  readonly #waiting: Array<(bytes: number) => void> = []
  #isPlanned = false

  /** `isUrgent` tells whether somebody else waits for the turns of the event loop. */
  constructor(eventLoop: EventLoop, isUrgent: () => boolean) {
    this.#eventLoop = eventLoop
    this.#isUrgent = isUrgent
  }

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
      next?.(this.#isUrgent() ? urgentTurnBytes : turnBytes)
    })
  }
}
