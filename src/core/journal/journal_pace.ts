/**
 * Slows groups down while the file before is being drained, so that the journal does not stop when a file is full and the other one is not free yet:
 * a thousand acknowledgements a second less are better than none for seconds.
 */
import type { JournalFile } from "./journal.ts"

/** So much of a file may be filled before any of the one before is drained, 0 to 1; it is full when that is drained. */
const aheadMax = 0.25
/** No group waits longer. */
const waitMsMax = 100
/** A file of which nothing was drained for so long may wait for a segment that cannot be written: then nobody waits for it. */
const stuckMs = 1000

export class JournalPace {
  #sinceMs: number | undefined
  #before: JournalFile | undefined
  #drained = 1
  /** When something was drained last. */
  #drainedMs = 0

  /** True while a group waits. */
  get isWaiting(): boolean {
    return this.#sinceMs !== undefined
  }

  /** True when the next group has to wait: `fill` of its file is used, 0 to 1, and `before` is the file that is being drained. */
  waits(fill: number, before: JournalFile | undefined, nowMs: number): boolean {
    const drained = before === undefined ? 1 : 1 - before.dirty.size / before.dirtyCount
    if (before !== this.#before || drained !== this.#drained || nowMs < this.#drainedMs) {
      this.#before = before
      this.#drained = drained
      this.#drainedMs = nowMs
    }
    const sinceMs = this.#sinceMs ?? nowMs
    const isAhead = fill > aheadMax + (1 - aheadMax) * drained && nowMs - this.#drainedMs < stuckMs
    // A clock that was put back makes nobody wait for long.
    const isWaiting = isAhead && Math.abs(nowMs - sinceMs) < waitMsMax
    this.#sinceMs = isWaiting ? sinceMs : undefined
    return isWaiting
  }
}
