/**
 * Walks the records of verified frames: the hot path of reading. Plain, synchronous, and without an object for each record:
 * the fields describe the current one until the next move. Where frames come from is for the class that extends it.
 */
import { frameHeader } from "../format/frame.ts"
import {
  payloadLengthMask,
  recordHasExtId,
  recordHasTimestamp,
  recordHeaderBytes,
  recordIsControl,
} from "../format/record.ts"

const at = frameHeader.at
const nothing: Uint8Array = new Uint8Array(0)

/** What a record does not say of itself. */
export interface EnteredRecord {
  readonly recordId: number
  readonly recordNumber: number
  readonly frameTimestampMs: number
}

export abstract class RecordScanner {
  /** The memory that holds the current record; valid until the next move, and never to be written. */
  buffer: Uint8Array = nothing
  /** Where the payload starts in `buffer`. */
  payloadStart = 0
  /** Where the payload ends in `buffer`. */
  payloadEnd = 0
  recordId = 0
  /** Ordinal in the stream, from 0. */
  recordNumber = -1
  /** Unix time in milliseconds. */
  timestampMs = 0

  protected view: DataView = new DataView(nothing.buffer)
  /** Where the next record starts in `buffer`. */
  protected recordPosition = 0
  protected recordsLeft = 0
  /** Where the frame ends in `buffer`. */
  protected frameEnd = 0
  /** Add to a place in `buffer` to get a record id. */
  protected idBase = 0
  #frameTimestampMs = 0
  /** Where the extId lies in `buffer`, or -1. */
  #extIdPosition = -1

  /** The caller's own number, 0n when there is none. */
  get extId(): bigint {
    return this.#extIdPosition < 0 ? 0n : this.view.getBigUint64(this.#extIdPosition, true)
  }

  /** Enters the next frame with `enterFrame` and returns true, or false when there is none now. */
  protected abstract nextFrame(): boolean

  /** Called when a checked frame holds a record that leaves it, which no writer makes. */
  protected abstract recordLeavesFrame(): never

  /** Moves to the next record; false when there is none now. */
  protected step(): boolean {
    for (;;) {
      if (this.recordsLeft === 0 && !this.nextFrame()) return false
      const flags = this.parse(this.recordPosition)
      this.recordPosition = this.payloadEnd
      this.recordsLeft--
      this.recordNumber++
      if ((flags & recordIsControl) === 0) return true
    }
  }

  /** Fills the fields from the record at `start` of `buffer`, but for its number. Returns the flags. */
  protected parse(start: number): number {
    const view = this.view
    if (start + recordHeaderBytes > this.frameEnd) this.recordLeavesFrame()
    const head = view.getUint32(start, true)
    let position = start + recordHeaderBytes
    if (head <= payloadLengthMask) {
      this.#extIdPosition = -1
      this.timestampMs = this.#frameTimestampMs + view.getUint16(start + 6, true)
    } else {
      position = this.#parseExtras(head, start)
    }
    const end = position + (head & payloadLengthMask)
    if (end > this.frameEnd) this.recordLeavesFrame()
    this.recordId = this.idBase + start
    this.payloadStart = position
    this.payloadEnd = end
    return head & ~payloadLengthMask
  }

  #parseExtras(head: number, start: number): number {
    const view = this.view
    let position = start + recordHeaderBytes
    this.#extIdPosition = -1
    const extraBytes = ((head & recordHasExtId) === 0 ? 0 : 8) + ((head & recordHasTimestamp) === 0 ? 0 : 8)
    if (position + extraBytes > this.frameEnd) this.recordLeavesFrame()
    if ((head & recordHasExtId) !== 0) {
      this.#extIdPosition = position
      position += 8
    }
    if ((head & recordHasTimestamp) !== 0) {
      this.timestampMs = view.getUint32(position, true) + view.getUint32(position + 4, true) * 4294967296
      position += 8
    } else {
      this.timestampMs = this.#frameTimestampMs + view.getUint16(start + 6, true)
    }
    return position
  }

  /** Sets up one record of a verified frame without its neighbours; `start` is where it starts in `buffer`. */
  protected enterRecord(buffer: Uint8Array, view: DataView, start: number, record: EnteredRecord): void {
    this.buffer = buffer
    this.view = view
    this.idBase = record.recordId - start
    this.#frameTimestampMs = record.frameTimestampMs
    this.frameEnd = buffer.length
    this.recordsLeft = 0
    this.parse(start)
    this.recordNumber = record.recordNumber
  }

  /** Passes over all records of the frame just entered at `start` but the last one. */
  protected skipToLast(start: number): void {
    this.recordPosition = start + this.view.getUint32(start + at.lastRecordDistance, true)
    this.recordNumber += this.recordsLeft - 1
    this.recordsLeft = 1
  }

  /** Sets up the verified frame at `start` of `buffer`; `position` is the id position of the buffer's first byte. */
  protected enterFrame(buffer: Uint8Array, view: DataView, start: number, position: number): void {
    this.buffer = buffer
    this.view = view
    this.idBase = position
    this.recordsLeft = view.getUint32(start + at.recordCount, true)
    this.recordPosition = start + view.getUint16(start + at.headerBytes, true)
    this.frameEnd = start + view.getUint32(start + at.lengthBytes, true)
    this.#frameTimestampMs =
      view.getUint32(start + at.timestampMs, true) + view.getUint32(start + at.timestampMs + 4, true) * 4294967296
    this.recordNumber =
      view.getUint32(start + at.firstRecordNumber, true) +
      view.getUint32(start + at.firstRecordNumber + 4, true) * 4294967296 -
      1
  }
}
