/**
 * Shares the turns of the event loop among all who go through records that are at hand, one reader in each turn. Without it every one of many
 * readers would do its part in the same turn, and appends and answers of the disk would wait for all of them.
 */
import type { EventLoop } from "../../port/event_loop.ts"

/** What is handed out in one turn, in bytes: well below a millisecond, a thousand small records at most. */
const turnBytes = 1024 * 1024
/** The same while somebody waits for a sync, whose steps take several turns. */
const urgentTurnBytes = 128 * 1024
/** What a record costs beside its bytes. */
const recordBytes = 1024

export class ReadingTurns {
  readonly #eventLoop: EventLoop
  readonly #isUrgent: () => boolean
  readonly #waiting: Array<() => void> = []
  #left = turnBytes
  #isPlanned = false

  /** `isUrgent` tells whether somebody else waits for the turns of the event loop. */
  constructor(eventLoop: EventLoop, isUrgent: () => boolean) {
    this.#eventLoop = eventLoop
    this.#isUrgent = isUrgent
  }

  /** Counts a record of so many bytes. False when the turn is used up by it: whoever reads on waits. */
  take(bytes: number): boolean {
    this.#left -= recordBytes + bytes
    return this.#left > 0
  }

  /** Calls back in a turn of the reader's own. */
  wait(callback: () => void): void {
    this.#waiting.push(callback)
    this.#plan()
  }

  #plan(): void {
    if (this.#isPlanned) return
    this.#isPlanned = true
    this.#eventLoop.nextTurn(() => {
      this.#isPlanned = false
      this.#left = this.#isUrgent() ? urgentTurnBytes : turnBytes
      const next = this.#waiting.shift()
      if (this.#waiting.length > 0) this.#plan()
      next?.()
    })
  }
}
