/**
 * What is known of a segment's frames while it is resident: a frame that checked once is trusted until it is forgotten, as a
 * database trusts a page. For point reads a frame also has samples of where its records start, so that an id is proven to be a
 * record start by a short walk.
 */

/** Record starts of one frame: each 16th, as distances from the frame's header. */
export interface FrameSamples {
  readonly firstRecordNumber: number
  readonly timestampMs: number
  readonly starts: Uint16Array
}

/** Every how many records a start is kept. */
export const sampleStride = 16

/** Entries kept at most; beyond, everything is forgotten and checked anew. */
const entriesMax = 65536

export class VerifiedFrames {
  readonly #frames: Map<number, FrameSamples | undefined> = new Map()
  readonly #batches: Set<number> = new Set()

  has(frameOffset: number): boolean {
    return this.#frames.has(frameOffset)
  }

  add(frameOffset: number): void {
    if (this.#frames.size >= entriesMax) this.clear()
    this.#frames.set(frameOffset, undefined)
  }

  samples(frameOffset: number): FrameSamples | undefined {
    return this.#frames.get(frameOffset)
  }

  addSamples(frameOffset: number, samples: FrameSamples): void {
    if (this.#frames.size >= entriesMax) this.clear()
    this.#frames.set(frameOffset, samples)
  }

  hasBatch(batchOffset: number): boolean {
    return this.#batches.has(batchOffset)
  }

  addBatch(batchOffset: number): void {
    if (this.#batches.size >= entriesMax) this.clear()
    this.#batches.add(batchOffset)
  }

  clear(): void {
    this.#frames.clear()
    this.#batches.clear()
  }
}
