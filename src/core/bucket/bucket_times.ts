/**
 * When which records of the manifest came to be known to the bucket, as far as it matters for objects that wait for their end, and which ones it
 * should know.
 */

export class CommitTimes {
  readonly #graceMs: number
  /** HEADs that are younger than the grace, oldest first. */
  #recent: Array<{ readonly sequence: number; readonly atMs: number }> = []
  /** Records up to this have been known for longer than the grace. */
  #settledSequence = 0
  /** Records up to this are known. */
  sequence = 0
  /** When the last HEAD was noted. */
  headMs = 0
  /** Records up to this are to be told. */
  wanted = 0
  /** Of the last record that is worth a HEAD once the writer goes. */
  news = 0

  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** True while no HEAD knows of something that it is there to tell. */
  get isBehind(): boolean {
    return this.wanted > this.sequence
  }

  /** The same, with what is worth a HEAD only once the writer goes. */
  get hasNews(): boolean {
    return Math.max(this.wanted, this.news) > this.sequence
  }

  /** A HEAD should know all records up to `sequence`. False when that is nothing new. */
  want(sequence: number): boolean {
    if (sequence <= this.wanted) return false
    this.wanted = sequence
    return true
  }

  /** A HEAD knows all records up to `sequence`. */
  note(sequence: number, atMs: number): void {
    this.sequence = Math.max(this.sequence, sequence)
    this.headMs = atMs
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
