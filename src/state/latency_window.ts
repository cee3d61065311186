/** The latest durations of something, and their percentiles. Bounded: old ones are overwritten. */

const samplesMax = 1024

export class LatencyWindow {
  readonly #samples: Float64Array = new Float64Array(samplesMax)
  #count = 0

  /** How many were ever noted. */
  get count(): number {
    return this.#count
  }

  /** Notes one duration in milliseconds. */
  note(durationMs: number): void {
    this.#samples[this.#count % samplesMax] = durationMs
    this.#count++
  }

  /** The duration below which `share` of the latest 1 024 lie; 0 when there are none. Nearest rank. */
  percentile(share: number): number {
    const length = Math.min(this.#count, samplesMax)
    if (length === 0) return 0
    const sorted = this.#samples.slice(0, length).sort()
    return sorted[Math.min(length - 1, Math.max(0, Math.ceil(share * length) - 1))]!
  }
}
