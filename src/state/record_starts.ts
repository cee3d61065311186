/**
 * Where the records of the checked frames of one segment start, so that an id is proven to be a record start by a short walk. All in a few
 * arrays, one line of numbers for each frame: what a read at random costs is what it touches that is in no cache of the processor.
 */

/** Every how many records a start is kept at most. */
const strideMax = 16
/** So many bytes and at most one record more lie between two starts: a start takes two bytes, a fiftieth of that. */
export const sampleBytes = 100

/** Every how many records a start is kept in a frame of so many records and bytes. */
const strideOf = (recordCount: number, frameBytes: number): number =>
  Math.min(strideMax, Math.ceil((sampleBytes * recordCount) / frameBytes))

/** What is known of a frame. */
export interface FrameFacts {
  readonly frameOffset: number
  readonly lengthBytes: number
  readonly recordCount: number
  readonly firstRecordNumber: number
  readonly timestampMs: number
}

/** Numbers of a frame: 64 bytes. */
const width = 8
const [offsetAt, lengthAt, strideAt, fromAt, countAt, numberAt, timestampAt] = [0, 1, 2, 3, 4, 5, 6] as const

/** Blocks of 64 KiB: of small records a frame has about as many bytes. */
const blockShift = 16

export class RecordStarts {
  /** Frames by offset, where `#lately` does not know. */
  readonly #frames: Map<number, number> = new Map()
  /** For each 64 KiB of the segment: the frame that begins there and was asked for last, counted from 1. */
  #lately = new Int32Array(16)
  #numbers = new Float64Array(8 * width)
  #starts = new Uint16Array(512)
  #frameCount = 0
  #startCount = 0

  /** Number of frames. */
  get size(): number {
    return this.#frameCount
  }

  /** The frame that begins at `frameOffset`, or -1. */
  find(frameOffset: number): number {
    const lately = this.#lately[frameOffset >>> blockShift] ?? 0
    if (lately > 0 && this.#numbers[(lately - 1) * width + offsetAt] === frameOffset) return lately - 1
    const frame = this.#frames.get(frameOffset)
    if (frame === undefined) return -1
    this.#note(frameOffset, frame)
    return frame
  }

  /** Takes a frame in. `next` gives the distances of its records from its header, one by one, and undefined behind the last. */
  add(facts: FrameFacts, next: () => number | undefined): number {
    const stride = strideOf(facts.recordCount, facts.lengthBytes)
    const frame = this.#frameCount++
    const from = this.#startCount
    for (let record = 0, distance = next(); distance !== undefined; record++, distance = next()) {
      if (record % stride === 0) this.#keep(distance)
    }
    const at = frame * width
    if (at === this.#numbers.length) this.#numbers = grown(this.#numbers, new Float64Array(2 * at))
    this.#numbers[at + offsetAt] = facts.frameOffset
    this.#numbers[at + lengthAt] = facts.lengthBytes
    this.#numbers[at + strideAt] = stride
    this.#numbers[at + fromAt] = from
    this.#numbers[at + countAt] = this.#startCount - from
    this.#numbers[at + numberAt] = facts.firstRecordNumber
    this.#numbers[at + timestampAt] = facts.timestampMs
    this.#frames.set(facts.frameOffset, frame)
    this.#note(facts.frameOffset, frame)
    return frame
  }

  /** Time of a frame, Unix milliseconds. */
  timestampMs(frame: number): number {
    return this.#numbers[frame * width + timestampAt]!
  }

  /** The last start of a frame that is at most `target` bytes behind its header; -1 when there is none. Looks first where it is when records are of one size. */
  nearest(frame: number, target: number): number {
    const at = frame * width
    const from = this.#numbers[at + fromAt]!
    const count = this.#numbers[at + countAt]!
    const starts = this.#starts
    let low = Math.min(count - 1, Math.floor((target * count) / this.#numbers[at + lengthAt]!))
    let high = low
    for (let step = 1; low >= 0 && starts[from + low]! > target; step *= 2) {
      high = low
      low -= step
    }
    if (low < 0) low = -1
    for (let step = 1; high === low || (high < count && starts[from + high]! <= target); step *= 2) {
      low = high
      high = low + step
    }
    // Now the start at `low` is at most `target`, and that at `high` is above it.
    high = Math.min(high, count)
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (starts[from + middle]! <= target) low = middle
      else high = middle
    }
    return low
  }

  /** Distance of a start from its frame's header. */
  distance(frame: number, start: number): number {
    return this.#starts[this.#numbers[frame * width + fromAt]! + start]!
  }

  /** Number of the record at a start. */
  recordNumber(frame: number, start: number): number {
    const at = frame * width
    return this.#numbers[at + numberAt]! + start * this.#numbers[at + strideAt]!
  }

  #keep(distance: number): void {
    if (this.#startCount === this.#starts.length) {
      this.#starts = grown(this.#starts, new Uint16Array(2 * this.#startCount))
    }
    this.#starts[this.#startCount++] = distance
  }

  #note(frameOffset: number, frame: number): void {
    const block = frameOffset >>> blockShift
    if (block >= this.#lately.length) {
      this.#lately = grown(this.#lately, new Int32Array(Math.max(2 * this.#lately.length, block + 1)))
    }
    this.#lately[block] = frame + 1
  }
}

const grown = <A extends Float64Array | Uint16Array | Int32Array>(old: A, larger: A): A => {
  larger.set(old)
  return larger
}
