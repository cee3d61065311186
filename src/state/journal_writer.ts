/** Builds one group of the commit journal in a buffer: plain and synchronous, on the path of every shared sync. */
import { crc32 } from "../format/checksum.ts"
import { alignGroup, journalEntry, journalGroup } from "../format/journal_block.ts"
import { assert } from "../model/assert.ts"

const entryAt = journalEntry.at
const noBytes: Uint8Array = new Uint8Array(0)
const noView: DataView = new DataView(noBytes.buffer)

/** Which bytes of a segment an entry holds. */
export interface EntryPlace {
  readonly streamId: number
  readonly segmentIndex: number
  readonly offset: number
  readonly lengthBytes: number
}

/** One group at a time; the buffer is used again for the next. */
export class JournalWriter {
  /** The most that a group takes, padding included. */
  readonly groupBytesMax: number
  #bytes: Uint8Array = noBytes
  #view: DataView = noView
  #end = journalGroup.sizeBytes
  #count = 0

  constructor(groupBytesMax: number) {
    this.groupBytesMax = groupBytesMax
  }

  /** The group so far; made when there is a first one. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Starts a new group. */
  begin(): void {
    if (this.#bytes === noBytes) {
      this.#bytes = new Uint8Array(this.groupBytesMax)
      this.#view = new DataView(this.#bytes.buffer)
    }
    this.#end = journalGroup.sizeBytes
    this.#count = 0
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  /** Of the group so far, without padding. */
  get lengthBytes(): number {
    return this.#end
  }

  /** True when entries that hold `lengthBytes` in all still fit. */
  fits(lengthBytes: number, entryCount: number): boolean {
    return alignGroup(this.#end + lengthBytes + entryCount * journalEntry.sizeBytes) <= this.groupBytesMax
  }

  /** Adds an entry, which fits, and returns where in `bytes` its bytes belong. */
  add({ streamId, segmentIndex, offset, lengthBytes }: EntryPlace): number {
    assert(this.fits(lengthBytes, 1), "a journal entry fits its group")
    const view = this.#view
    const at = this.#end
    view.setUint32(at + entryAt.streamId, streamId >>> 0, true)
    view.setUint32(at + entryAt.streamId + 4, Math.floor(streamId / 4294967296), true)
    view.setUint32(at + entryAt.segmentIndex, segmentIndex, true)
    view.setUint32(at + entryAt.offset, offset, true)
    view.setUint32(at + entryAt.lengthBytes, lengthBytes, true)
    view.setUint32(at + entryAt.lengthBytes + 4, 0, true)
    this.#count++
    this.#end = at + journalEntry.sizeBytes + lengthBytes
    return at + journalEntry.sizeBytes
  }

  /** Ends the group, which will lie at `offset` of a file with this seed; returns how many bytes to write, padding included. */
  end(offset: number, seed: number): number {
    journalGroup.encode(this.bytes, 0, { checksum: 0, lengthBytes: this.#end, offset, entryCount: this.#count })
    this.#view.setUint32(0, crc32(this.bytes.subarray(4, this.#end), seed), true)
    const padded = alignGroup(this.#end)
    this.bytes.fill(0, this.#end, padded)
    return padded
  }
}
