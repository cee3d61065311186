/** When which records of the manifest came to be known to the bucket, as far as it matters for objects that wait for their end. */

export class CommitTimes {
  readonly #graceMs: number
  /** HEADs that are younger than the grace, oldest first. */
  #recent: Array<{ readonly sequence: number; readonly atMs: number }> = []
  /** Records up to this have been known for longer than the grace. */
  #settledSequence = 0
  /** Records up to this are known. */
  sequence = 0

  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** A HEAD knows all records up to `sequence`. */
  note(sequence: number, atMs: number): void {
    this.sequence = Math.max(this.sequence, sequence)
    this.#recent.push({ sequence, atMs })
    this.#settle(atMs)
  }

  /** When an object may go that the record with this sequence has given up; infinite when no HEAD knows of it. */
  deleteAtMs(sequence: number, nowMs: number): number {
    this.#settle(nowMs)
    if (sequence <= this.#settledSequence) return 0
    const known = this.#recent.find((one) => one.sequence >= sequence)
    return known === undefined ? Number.POSITIVE_INFINITY : known.atMs + this.#graceMs
  }

  #settle(nowMs: number): void {
    let count = 0
    for (const { sequence, atMs } of this.#recent) {
      if (nowMs - atMs < this.#graceMs) break
      this.#settledSequence = sequence
      count++
    }
    if (count > 0) this.#recent = this.#recent.slice(count)
  }
}
