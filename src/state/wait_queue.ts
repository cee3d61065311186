/**
 * Those who wait for a watermark to pass a position, in order of position, woken in one pass. A waiter is one object with its
 * answers; no promise or fiber is known here. Cancelling marks it, and the pass skips it.
 */
import { nobody, withOne } from "./nobody.ts"

/** Waits until the watermark is above `position`. The queue calls exactly one of `done` and `fail`, unless it was cancelled. */
export interface Waiter {
  readonly position: number
  readonly recordNumber: number
  readonly done: (waiter: Waiter) => void
  readonly fail: (error: unknown) => void
  cancelled: boolean
}

export class WaitQueue {
  #waiters: Array<Waiter> = nobody
  #head = 0

  /** True when nobody waits. */
  get isEmpty(): boolean {
    for (let at = this.#head; at < this.#waiters.length; at++) if (!this.#waiters[at]!.cancelled) return false
    return true
  }

  add(waiter: Waiter): void {
    const waiters = this.#waiters
    let at = waiters.length
    while (at > this.#head && waiters[at - 1]!.position > waiter.position) at--
    if (at === waiters.length) this.#waiters = withOne(waiters, waiter)
    else waiters.splice(at, 0, waiter)
  }

  /** Answers all that wait below `position`. */
  wake(position: number): void {
    const waiters = this.#waiters
    if (waiters.length === 0) return
    while (this.#head < waiters.length) {
      const waiter = waiters[this.#head]!
      if (waiter.position >= position && !waiter.cancelled) break
      this.#head++
      if (!waiter.cancelled) waiter.done(waiter)
    }
    if (this.#head === this.#waiters.length) {
      this.#waiters.length = 0
      this.#head = 0
    } else if (this.#head > 1024) {
      this.#waiters = this.#waiters.slice(this.#head)
      this.#head = 0
    }
  }

  /** Fails all that wait, or only those below `position`. */
  failAll(error: unknown, position: number = Number.POSITIVE_INFINITY): void {
    const all = this.#waiters.slice(this.#head)
    this.#waiters = all.filter((waiter) => waiter.position >= position)
    this.#head = 0
    for (const waiter of all) if (waiter.position < position && !waiter.cancelled) waiter.fail(error)
  }
}
