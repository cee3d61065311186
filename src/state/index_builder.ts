/**
 * The sparse index of a segment while it grows: for each 64 KiB stretch the first frame that starts there, its first record
 * number, and the maxima of timestamp and extId over all records before it. Offsets only rise.
 */
import { type IndexEntry, indexStride } from "../format/segment_footer.ts"
import { encodeIndex } from "./segment_index.ts"

export class IndexBuilder {
  /** One for each stretch, so nothing is made for most frames, and next to nothing for a stream with few records. */
  #entries: Array<IndexEntry> = []
  #nextStretch = 0

  get count(): number {
    return this.#entries.length
  }

  /** Notes that a frame starts; kept when it is the first of its stretch. */
  note(frameOffset: number, firstRecordNumber: number, timestampMsMax: number, extIdMax: number | bigint): void {
    if (frameOffset < this.#nextStretch) return
    const entry = { frameOffset, firstRecordNumber, timestampMsMax, extIdMax: BigInt(extIdMax) }
    // Room for one at first: an array that grows takes room for seventeen.
    if (this.#entries.length === 0) this.#entries = [entry]
    else this.#entries.push(entry)
    this.#nextStretch = (Math.floor(frameOffset / indexStride) + 1) * indexStride
  }

  entry(at: number): IndexEntry {
    return this.#entries[at]!
  }

  /** The entries as they are stored. */
  encode(): Uint8Array {
    return encodeIndex(this.count, (at) => this.entry(at))
  }
}
