/**
 * What is known of a segment's frames while it is resident: a frame that checked once is trusted until it is forgotten, as a
 * database trusts a page. For point reads a frame also has samples of where its records start, so that an id is proven to be a
 * record start by a short walk.
 */

/**
 * Record starts of one frame: each `stride`th, as distances from the frame's header. Whole numbers of up to 31 bits wherever it can be: a runtime
 * keeps others in memory of their own, which is in no cache when reads are at random.
 */
export interface FrameSamples {
  readonly firstRecordNumber: number
  readonly timestampMs: number
  readonly starts: Uint16Array
  readonly stride: number
  /** Length of the frame. */
  readonly lengthBytes: number
}

/** Every how many records a start is kept at most. */
const strideMax = 16
/** So many bytes and at most one record more lie between two starts: a start takes two bytes, a fiftieth of that. */
export const sampleBytes = 100

/** Every how many records a start is kept in a frame of so many records and bytes. */
export const sampleStride = (recordCount: number, frameBytes: number): number =>
  Math.min(strideMax, Math.ceil((sampleBytes * recordCount) / frameBytes))

/** Entries kept at most; beyond, everything is forgotten and checked anew. */
const entriesMax = 65536

const noFrames: Map<number, FrameSamples | undefined> = new Map()
const noBatches: Set<number> = new Set()
const noNext: Map<number, number> = new Map()

export class VerifiedFrames {
  // Made when there is something to keep: of very many segments nothing is ever read.
  #frames: Map<number, FrameSamples | undefined> = noFrames
  #batches: Set<number> = noBatches
  /** Of batches with several frames: where each checked frame leads, 0 for the last one. */
  #next: Map<number, number> = noNext

  has(frameOffset: number): boolean {
    return this.#frames.has(frameOffset)
  }

  add(frameOffset: number): void {
    if (this.#frames.size >= entriesMax) this.clear()
    if (this.#frames === noFrames) this.#frames = new Map()
    this.#frames.set(frameOffset, undefined)
  }

  samples(frameOffset: number): FrameSamples | undefined {
    return this.#frames.get(frameOffset)
  }

  addSamples(frameOffset: number, samples: FrameSamples): void {
    if (this.#frames.size >= entriesMax) this.clear()
    if (this.#frames === noFrames) this.#frames = new Map()
    this.#frames.set(frameOffset, samples)
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
  }
}
