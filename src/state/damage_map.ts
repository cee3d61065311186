/**
 * What of a file in another tier did not check when it was asked for. It is believed for a while only, as a bad line or a store that answers
 * nonsense for a moment must not count as damage for ever; the while grows each time it is found again, so that real damage costs few requests.
 */

/** How long it is believed at first, and at most, in milliseconds. */
export const doubtMsFirst = 1000
/** The same after it was found again and again. */
export const doubtMsMax = 60_000
/** How much longer it is believed each time. */
const growth = 4

/** Something that did not check. */
export class Doubt {
  #holdMs: number
  #nextHoldMs: number
  #untilMs = Number.NEGATIVE_INFINITY

  /** It is believed for so long at first. */
  constructor(holdMs: number = doubtMsFirst) {
    this.#holdMs = holdMs
    this.#nextHoldMs = holdMs
  }

  /** It has just not checked. */
  note(nowMs: number): void {
    if (!this.isBelieved(nowMs)) {
      this.#holdMs = this.#nextHoldMs
      this.#nextHoldMs = Math.min(doubtMsMax, growth * this.#holdMs)
    }
    this.#untilMs = nowMs + this.#holdMs
  }

  /** True while it need not be asked for again. */
  isBelieved(nowMs: number): boolean {
    const leftMs = this.#untilMs - nowMs
    // A clock that was put back holds nobody up for long.
    return leftMs > 0 && leftMs <= this.#holdMs
  }

  /** It is asked for again by whoever needs it next. */
  clear(): void {
    this.#untilMs = Number.NEGATIVE_INFINITY
  }
}

/** Offsets of what did not check; `to` is behind the last. */
export interface DamagedSpan {
  readonly from: number
  readonly to: number
}

interface DoubtedSpan extends DamagedSpan {
  readonly doubt: Doubt
}

export class DamageMap {
  /** In order, none overlaps another. */
  #spans: Array<DoubtedSpan> = []

  get isEmpty(): boolean {
    return this.#spans.length === 0
  }

  /** Notes what has just not checked; true when that is new. Spans that overlap it give way. */
  note({ from, to }: DamagedSpan, nowMs: number): boolean {
    const at = this.#firstBehind(from)
    const known = this.#spans[at]
    const isNew = known === undefined || known.from >= to
    if (known?.from === from && known.to === to) known.doubt.note(nowMs)
    else {
      const doubt = new Doubt()
      doubt.note(nowMs)
      this.#spans.splice(at, this.#countBelow(at, to), { from, to, doubt })
    }
    return isNew
  }

  /** The first span that overlaps a range, believed or not. */
  firstIn(from: number, to: number): DamagedSpan | undefined {
    const span = this.#spans[this.#firstBehind(from)]
    return span !== undefined && span.from < to ? span : undefined
  }

  /** True when a span that overlaps the range is still believed. */
  isBelievedIn(from: number, to: number, nowMs: number): boolean {
    if (this.#spans.length === 0) return false
    for (let at = this.#firstBehind(from); at < this.#spans.length && this.#spans[at]!.from < to; at++) {
      if (this.#spans[at]!.doubt.isBelieved(nowMs)) return true
    }
    return false
  }

  /** True when a span ends there. */
  endsAt(offset: number): boolean {
    return this.firstIn(offset - 1, offset)?.to === offset
  }

  /** What lies in the range has checked. */
  forget(from: number, to: number): void {
    if (this.#spans.length === 0) return
    const at = this.#firstBehind(from)
    this.#spans.splice(at, this.#countBelow(at, to))
  }

  /** Forgets everything. */
  clear(): void {
    this.#spans = []
  }

  /** Number of the first span that ends behind `offset`. */
  #firstBehind(offset: number): number {
    let low = 0
    let high = this.#spans.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#spans[middle]!.to > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Spans from number `at` on that begin below `offset`. */
  #countBelow(at: number, offset: number): number {
    let count = 0
    while (at + count < this.#spans.length && this.#spans[at + count]!.from < offset) count++
    return count
  }
}
