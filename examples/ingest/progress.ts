// How far it is: a bar where standard error is a terminal, otherwise a line every two seconds. What it prints goes to
// standard error, so that standard output holds the results alone.

import { count, size } from "./numbers.ts"

export interface ProgressState {
  readonly bytes: number
  readonly records: number
  /** Bytes that are appended but not yet durable, where that is known. */
  readonly lagBytes?: number | undefined
  /** Where the segments are, one character each. */
  readonly tiers?: string | undefined
  /** What is counted where it is not bytes. */
  readonly unit?: string | undefined
}

const terminalIntervalMs = 100
const plainIntervalMs = 2000
const barWidth = 16

export class Progress {
  readonly #isTerminal: boolean = process.stderr.isTTY === true
  readonly #onTick: () => void
  #timer: ReturnType<typeof setInterval> | undefined = undefined
  #label = ""
  #totalBytes = 0
  #state: () => ProgressState = () => ({ bytes: 0, records: 0 })
  #startedMs = 0
  #printedMs = 0
  #fromBytes = 0

  /** `onTick` is called each time it looks, also when nothing is printed. */
  constructor(onTick: () => void) {
    this.#onTick = onTick
  }

  /** Begins a part of the work with `totalBytes` to do, of which `state` says what is done. */
  start(label: string, totalBytes: number, state: () => ProgressState): void {
    this.stop()
    this.#label = label
    this.#totalBytes = totalBytes
    this.#state = state
    this.#startedMs = this.#printedMs = performance.now()
    this.#fromBytes = state().bytes
    this.#timer = setInterval(() => this.#tick(), terminalIntervalMs)
  }

  /** Ends the part; gives the terminal's line back. */
  stop(): void {
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#onTick()
    if (this.#isTerminal) process.stderr.write("\r\x1b[K")
  }

  #tick(): void {
    this.#onTick()
    const nowMs = performance.now()
    if (!this.#isTerminal && nowMs - this.#printedMs < plainIntervalMs) return
    this.#printedMs = nowMs
    const { bytes, records, lagBytes, tiers, unit } = this.#state()
    const part = this.#totalBytes === 0 ? 1 : Math.min(bytes / this.#totalBytes, 1)
    const perSecond = ((bytes - this.#fromBytes) * 1000) / (nowMs - this.#startedMs)
    const words = [
      `${Math.floor(part * 100)}%`.padStart(4),
      ...(tiers === undefined ? [] : [tiers]),
      ...(unit === undefined
        ? [`${size(bytes)} of ${size(this.#totalBytes)}`, `${count(records)} records`, `${size(perSecond)}/s`]
        : [`${count(bytes)} of ${count(this.#totalBytes)} ${unit}`, `${count(perSecond)}/s`]),
      ...(lagBytes === undefined ? [] : [`${size(lagBytes)} not yet durable`]),
    ].join("  ")
    if (!this.#isTerminal) {
      process.stderr.write(`${this.#label} ${words}\n`)
      return
    }
    const filled = Math.round(part * barWidth)
    const line = `${this.#label.padEnd(11)} ${"█".repeat(filled)}${"░".repeat(barWidth - filled)} ${words}`
    // A line that is broken by the terminal can't be overwritten.
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`)
  }
}
