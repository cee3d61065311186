/**
 * The sparse index of a segment while it grows: for each 64 KiB stretch the first frame that starts there, its first record
 * number, and the maxima of timestamp and extId over all records before it. Offsets only rise.
 */

import { type IndexEntry, indexStride } from "../format/segment_footer.ts"
import { encodeIndex } from "./segment_index.ts"

export class IndexBuilder {
  #count = 0
  #nextStretch = 0
  #offsets: Float64Array = new Float64Array(16)
  #numbers: Float64Array = new Float64Array(16)
  #timestamps: Float64Array = new Float64Array(16)
  #extIds: BigUint64Array = new BigUint64Array(16)

  get count(): number {
    return this.#count
  }

  /** Notes that a frame starts; kept when it is the first of its stretch. */
  note(frameOffset: number, firstRecordNumber: number, timestampMsMax: number, extIdMax: number | bigint): void {
    if (frameOffset < this.#nextStretch) return
    const at = this.#count++
    if (at === this.#offsets.length) this.#grow()
    this.#offsets[at] = frameOffset
    this.#numbers[at] = firstRecordNumber
    this.#timestamps[at] = timestampMsMax
    this.#extIds[at] = BigInt(extIdMax)
    this.#nextStretch = (Math.floor(frameOffset / indexStride) + 1) * indexStride
  }

  entry(at: number): IndexEntry {
    return {
      frameOffset: this.#offsets[at]!,
      firstRecordNumber: this.#numbers[at]!,
      timestampMsMax: this.#timestamps[at]!,
      extIdMax: this.#extIds[at]!,
    }
  }

  /** The entries as they are stored. */
  encode(): Uint8Array {
    return encodeIndex(this.#count, (at) => this.entry(at))
  }

  #grow(): void {
    const length = this.#offsets.length * 2
    const copy = (from: Float64Array): Float64Array => {
      const to = new Float64Array(length)
      to.set(from)
      return to
    }
    this.#offsets = copy(this.#offsets)
    this.#numbers = copy(this.#numbers)
    this.#timestamps = copy(this.#timestamps)
    const extIds = new BigUint64Array(length)
    extIds.set(this.#extIds)
    this.#extIds = extIds
  }
}
