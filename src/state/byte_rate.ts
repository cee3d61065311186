/** Spreads bytes over time: whoever wants to move some is told how long to wait first. Pure: whoever asks brings the time. */

/** What may be moved at once after a quiet time, in milliseconds of the rate. */
const burstMs = 100

export class ByteRate {
  readonly bytesPerSecond: number
  /** When all that was taken has had its time. */
  #freeAtMs = Number.NEGATIVE_INFINITY

  constructor(bytesPerSecond: number) {
    this.bytesPerSecond = bytesPerSecond
  }

  /** Takes bytes, and gives the milliseconds to wait before they are moved. */
  take(bytes: number, nowMs: number): number {
    const startMs = Math.max(this.#freeAtMs, nowMs - burstMs)
    this.#freeAtMs = startMs + (bytes * 1000) / this.bytesPerSecond
    return Math.max(0, Math.ceil(startMs - nowMs))
  }
}
