/** How far a stream has come at one level. Moves forward only, and to batch ends only. */
import { assert } from "../model/assert.ts"

/** A place between two batches. */
export interface Mark {
  /** Position (segment index * 2^28 + offset) at which the next frame starts. */
  readonly position: number
  /** Number of the record that follows. */
  readonly nextRecordNumber: number
  /** The last record before it; 0 when there is none. */
  readonly lastRecordId: number
  readonly lastTimestampMs: number
  /** Maxima over all records of the stream before it. */
  readonly timestampMsMax: number
  readonly extIdMax: number | bigint
}

/** Before the first record. */
export const startMark: Mark = {
  position: 0,
  nextRecordNumber: 0,
  lastRecordId: 0,
  lastTimestampMs: 0,
  timestampMsMax: 0,
  extIdMax: 0,
}

export class Watermark {
  #mark: Mark

  constructor(mark: Mark) {
    this.#mark = mark
  }

  get mark(): Mark {
    return this.#mark
  }

  get position(): number {
    return this.#mark.position
  }

  /** Moves to `mark`; returns false when it is there already. */
  advance(mark: Mark): boolean {
    assert(mark.position >= this.#mark.position, "a watermark never moves back")
    assert(mark.nextRecordNumber >= this.#mark.nextRecordNumber, "a watermark never takes records back")
    if (mark.position === this.#mark.position) return false
    this.#mark = mark
    return true
  }
}
