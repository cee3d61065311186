/** Segments that are in the bucket and that no HEAD knows of yet: their local copies stay until one does. */
import type { Residency } from "../tiers/residency.ts"

export class WaitingSegments {
  readonly #waiting: Map<Residency, number> = new Map()

  /** The object is there; `sequence` is that of the record that says so. */
  add(residency: Residency, sequence: number): void {
    this.#waiting.set(residency, sequence)
    residency.isUntold = true
  }

  /** Those whose bytes still lie in Tier 1 for it. */
  *held(): IterableIterator<Residency> {
    for (const residency of this.#waiting.keys()) if (residency.isWarm && !residency.isGone) yield residency
  }

  /** A HEAD knows all records up to `sequence`: returns the segments whose copies may go now. */
  known(sequence: number): ReadonlyArray<Residency> {
    const known: Array<Residency> = []
    for (const [residency, uploaded] of this.#waiting) {
      if (uploaded > sequence) continue
      this.#waiting.delete(residency)
      residency.isUntold = false
      if (!residency.isGone) known.push(residency)
    }
    return known
  }
}
