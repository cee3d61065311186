/**
 * Appends that found no room, in the order of their calls, which is the order in which they are taken. While one waits nothing that is called
 * later is taken: `code` says so, and what the first one waits for. No promise or fiber is known here.
 */
import type { AofError } from "../model/errors.ts"
import { nobody, withOne } from "./nobody.ts"

/** An append that waits for room. */
export interface QueuedAppend {
  /** Tries again: 0 when it is answered, taken or refused, else the negative code of what it waits for. */
  readonly tryAgain: () => number
  readonly fail: (error: AofError) => void
}

export class AppendQueue {
  /** What the first append that waits waits for, a negative code; 0 while none waits. */
  code = 0
  #waiting: Array<QueuedAppend> = nobody
  /** The one that is trying just now. */
  #trying: QueuedAppend | undefined = undefined
  #isTryingGone = false
  #isAskedAgain = false

  /** Puts one behind all others; `code` is what it waits for when there are none. */
  add(one: QueuedAppend, code: number): void {
    this.#waiting = withOne(this.#waiting, one)
    if (this.code === 0) this.code = code
  }

  /** Takes one out that waits no longer; true when it kept others waiting, which may be served now. */
  remove(one: QueuedAppend): boolean {
    if (this.#trying === one) this.#isTryingGone = true
    const at = this.#waiting.indexOf(one)
    if (at >= 0) this.#waiting.splice(at, 1)
    return at === 0
  }

  /** Has all that find room now taken, in order. False when that is under way already, and goes on in place of this call. */
  serve(): boolean {
    this.#isAskedAgain = true
    if (this.#trying !== undefined) return false
    while (this.#isAskedAgain && this.#waiting.length > 0) {
      this.#isAskedAgain = false
      // It is out of the queue while it tries, so that a failure met on the way is not told to it as well.
      const one = this.#waiting.shift()!
      this.#trying = one
      this.#isTryingGone = false
      const code = one.tryAgain()
      this.#trying = undefined
      if (code === 0 || this.#isTryingGone) this.#isAskedAgain = true
      else {
        // All others may have failed meanwhile.
        if (this.#waiting === nobody) this.#waiting = [one]
        else this.#waiting.unshift(one)
        this.code = code
      }
    }
    if (this.#waiting.length === 0) this.code = 0
    return true
  }

  /** Fails all that wait. */
  failAll(error: AofError): void {
    const waiting = this.#waiting
    this.#waiting = nobody
    if (this.#trying === undefined) this.code = 0
    for (const one of waiting) one.fail(error)
  }
}
