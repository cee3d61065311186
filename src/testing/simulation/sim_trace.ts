/**
 * What happened in a simulation, as one running hash: two runs are the same when their hashes are. FNV-1a in two lanes of 32 bits,
 * over numbers and the units of strings. The last lines are kept for people, and all of them on request.
 */

const linesMax = 400

export class SimTrace {
  #low = 0x811c9dc5
  #high = 0x1000193
  #count = 0
  #lines: Array<string> = []
  readonly #keepsAll: boolean

  constructor(keepsAll: boolean) {
    this.#keepsAll = keepsAll
  }

  /** Events so far. */
  get count(): number {
    return this.#count
  }

  /** The hash of all events so far, 16 hexadecimal digits. */
  get hash(): string {
    return [this.#high, this.#low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("")
  }

  /** The last events, or all. */
  get lines(): ReadonlyArray<string> {
    return this.#lines
  }

  /** Takes an event in. */
  note(timeMs: number, what: string, ...values: ReadonlyArray<string | number>): void {
    this.#count++
    this.#mix(Math.round(timeMs * 1000))
    this.#text(what)
    for (const value of values) typeof value === "number" ? this.#mix(value) : this.#text(value)
    this.#lines.push(`${timeMs.toFixed(3).padStart(12)} ${what} ${values.join(" ")}`)
    if (!this.#keepsAll && this.#lines.length > 2 * linesMax) this.#lines = this.#lines.slice(-linesMax)
  }

  #text(text: string): void {
    for (let at = 0; at < text.length; at++) this.#unit(text.charCodeAt(at))
    this.#unit(0xffff)
  }

  #mix(value: number): void {
    this.#unit(value % 2 ** 32)
    this.#unit(Math.floor(value / 2 ** 32))
  }

  #unit(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193)
    this.#high = Math.imul(this.#high ^ value ^ (this.#low >>> 15), 0x01000193)
  }
}
