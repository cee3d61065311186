/**
 * What is known of a segment's frames while it is resident: a frame that checked once is trusted until it is forgotten, as a
 * database trusts a page. For point reads it is also known where the records of a frame start.
 */
import { type FrameFacts, RecordStarts } from "./record_starts.ts"

/** Entries kept at most; beyond, everything is forgotten and checked anew. */
const entriesMax = 65536

const noFrames: Set<number> = new Set()
const noBatches: Set<number> = new Set()
const noNext: Map<number, number> = new Map()
const noStarts: RecordStarts = new RecordStarts()

export class VerifiedFrames {
  // Made when there is something to keep: of very many segments nothing is ever read.
  #frames: Set<number> = noFrames
  #batches: Set<number> = noBatches
  /** Of batches with several frames: where each checked frame leads, 0 for the last one. */
  #next: Map<number, number> = noNext
  /** Of the frames that records were read of by id. */
  #starts: RecordStarts = noStarts

  has(frameOffset: number): boolean {
    return this.#frames.has(frameOffset)
  }

  add(frameOffset: number): void {
    if (this.#frames.size >= entriesMax) this.clear()
    if (this.#frames === noFrames) this.#frames = new Set()
    this.#frames.add(frameOffset)
  }

  /** Starts of records, of the frames that `addStarts` has taken in. */
  get starts(): RecordStarts {
    return this.#starts
  }

  /** Takes in where the records of a checked frame start; gives its number in `starts`. */
  addStarts(facts: FrameFacts, next: () => number | undefined): number {
    if (this.#starts.size >= entriesMax) this.clear()
    if (this.#starts === noStarts) this.#starts = new RecordStarts()
    return this.#starts.add(facts, next)
  }

  hasBatch(batchOffset: number): boolean {
    return this.#batches.has(batchOffset)
  }

  addBatch(batchOffset: number): void {
    if (this.#batches.size >= entriesMax) this.clear()
    if (this.#batches === noBatches) this.#batches = new Set()
    this.#batches.add(batchOffset)
  }

  /** Where the checked frame at `frameOffset` leads, 0 when its batch ends in it, undefined when it was not checked for that. */
  nextOf(frameOffset: number): number | undefined {
    return this.#next.get(frameOffset)
  }

  addNext(frameOffset: number, nextOffset: number): void {
    if (this.#next.size >= entriesMax) this.clear()
    if (this.#next === noNext) this.#next = new Map()
    this.#next.set(frameOffset, nextOffset)
  }

  clear(): void {
    this.#frames = noFrames
    this.#batches = noBatches
    this.#next = noNext
    this.#starts = noStarts
  }
}
