/**
 * Builds frames in a staging buffer: the hot path of append. Plain and synchronous; it never touches a file. What it cannot
 * do by itself it answers with a negative code and the caller brings a buffer or a segment. Frames lie whole in one buffer.
 */
import { crc32 } from "../format/checksum.ts"
import {
  alignFrame,
  frameBytesMax,
  frameContinues,
  frameHeader,
  frameHeaderBytes,
  frameIsPlain,
} from "../format/frame.ts"
import {
  frameDistanceMax,
  recordHasExtId,
  recordHasTimestamp,
  recordHeaderBytes,
  timestampDeltaMax,
} from "../format/record.ts"
import { segmentHeaderBytes } from "../format/segment_header.ts"
import { assert } from "../model/assert.ts"
import { segmentSpan } from "../model/record_id.ts"
import { IndexBuilder } from "./index_builder.ts"

/** The record does not fit the staging buffer: bring another one. */
export const NEEDS_BUFFER = -11
/** The record does not fit the segment: bring the next one. */
export const NEEDS_SEGMENT = -12

/** Bytes that a record takes beside its payload at most. */
export const recordOverheadMax: number = recordHeaderBytes + 16
/** What a frame costs at most beside its records: its header and the padding before it. */
export const frameOverheadMax: number = frameHeaderBytes + 8

const at = frameHeader.at
const encoder: TextEncoder = new TextEncoder()
/** Up to this length a string is copied by a loop, which beats the call of an encoder. */
const loopLengthMax = 96

const noBytes: Uint8Array = new Uint8Array(0)
const noView: DataView = new DataView(noBytes.buffer)

/** What goes on from one segment to the next. */
export interface WriterState {
  nextRecordNumber: number
  lastRecordId: number
  lastTimestampMs: number
  timestampMsMax: number
  extIdMax: number | bigint
}

export class SegmentWriter {
  readonly segmentIndex: number
  readonly index: IndexBuilder = new IndexBuilder()
  readonly #idBase: number
  readonly #seed: number
  /** Offset at which frames must end. */
  readonly #framesEndMax: number
  readonly #now: () => number
  readonly #state: WriterState
  readonly firstRecordNumber: number
  firstTimestampMs = 0

  /** The current buffer: offset `#base` of the segment lies at its start. */
  #bytes: Uint8Array = noBytes
  #view: DataView = noView
  #base: number
  #position = 0
  readonly #bufferBytes: number

  #frameStart = -1
  #frameCount = 0
  #frameTimestampMs = 0
  #frameClockMs = 0
  /** True while no record of the open frame differs from its frame in time or has an extId. */
  #isPlain = true
  #lastRecordStart = 0
  /** Offset of the first frame of the batch being written, or -1. */
  #batchOffset = -1
  /** Durable position, repeated in frame headers. */
  watermark = 0

  constructor(options: {
    readonly segmentIndex: number
    readonly seed: number
    readonly framesEndMax: number
    /** Size of the buffers that `useBuffer` brings, but for larger records. */
    readonly bufferBytes: number
    readonly now: () => number
    readonly state: WriterState
    readonly offset?: number
  }) {
    this.segmentIndex = options.segmentIndex
    this.#idBase = options.segmentIndex * segmentSpan
    this.#seed = options.seed
    this.#framesEndMax = options.framesEndMax
    this.#bufferBytes = options.bufferBytes
    this.#now = options.now
    this.#state = options.state
    this.firstRecordNumber = options.state.nextRecordNumber
    this.#base = options.offset ?? segmentHeaderBytes
  }

  /** Offset behind the last appended byte. */
  get endOffset(): number {
    return this.#base + this.#position
  }

  /** Offset at which the next frame would start if the open one were closed now. */
  get closedOffset(): number {
    return this.#frameStart < 0 ? this.endOffset : this.#base + this.#frameStart
  }

  /** True when a buffer is there. */
  get hasBuffer(): boolean {
    return this.#bytes.length > 0
  }

  /** True while a batch of several frames is incomplete. */
  get isInBatch(): boolean {
    return this.#batchOffset >= 0
  }

  /** Bytes of the segment that are still free for frames. */
  get freeBytes(): number {
    return this.#framesEndMax - this.endOffset
  }

  /** Takes the buffer away; no frame may be open. */
  dropBuffer(): void {
    assert(this.#frameStart < 0, "no frame is open when the buffer goes")
    this.#base = this.endOffset
    this.#bytes = noBytes
    this.#view = noView
    this.#position = 0
  }

  /** Gives the writer a buffer for what follows; the open frame must be closed. The writer owns it until the next call. */
  useBuffer(bytes: Uint8Array): void {
    assert(this.#frameStart < 0, "no frame is open when the buffer changes")
    this.#base = this.endOffset
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#position = 0
  }

  /**
   * Appends one record and returns its id, or `NEEDS_BUFFER` or `NEEDS_SEGMENT`, whereupon nothing was changed. Arguments are
   * checked already: `extId` 0 is none, `timestampMs` below 0 is the clock's.
   */
  append(payload: Uint8Array | string, extId: number | bigint, timestampMs: number): number {
    if (typeof payload !== "string") return this.#appendBytes(payload, extId, timestampMs)
    const sizeMax = payload.length * 3 + recordOverheadMax
    if (sizeMax > frameBytesMax - frameHeaderBytes)
      return this.#appendBytes(encoder.encode(payload), extId, timestampMs)
    const placed = this.#place(sizeMax)
    if (placed < 0) {
      // The bound is generous; the exact size may still fit.
      return this.#appendBytes(encoder.encode(payload), extId, timestampMs)
    }
    const start = this.#writeHeader(extId, timestampMs)
    const length = this.#writeText(payload)
    this.#view.setUint32(start, this.#view.getUint32(start, true) | length, true)
    return this.#idBase + this.#base + start
  }

  /**
   * Starts a batch whose records take at most `sizeBytes`, headers included. Returns 0, `NEEDS_BUFFER` or `NEEDS_SEGMENT`. A
   * batch that fits a frame lies in one; a larger one starts a frame of its own and its frames name their first.
   */
  beginBatch(sizeBytes: number): number {
    const isOpen = this.#frameStart >= 0
    const used = isOpen ? this.#position - this.#frameStart : frameHeaderBytes
    if (used + sizeBytes <= frameBytesMax) return this.#place(sizeBytes)
    if (frameHeaderBytes + sizeBytes <= frameBytesMax) {
      this.closeFrame()
      return this.#place(sizeBytes)
    }
    if (batchBytesMax(sizeBytes, this.#bufferBytes) > this.freeBytes) return NEEDS_SEGMENT
    this.closeFrame()
    this.#batchOffset = this.endOffset
    return 0
  }

  /** Ends the batch: what was appended since its begin becomes visible together. */
  endBatch(): void {
    if (this.#batchOffset >= 0) this.#close(false)
    this.#batchOffset = -1
  }

  /** Closes the open frame, if any: writes its header and checksum and pads to a multiple of 8. */
  closeFrame(): void {
    this.#close(this.#batchOffset >= 0)
  }

  #close(continues: boolean): void {
    const start = this.#frameStart
    if (start < 0) return
    const view = this.#view
    view.setUint32(start + at.lengthBytes, this.#position - start, true)
    const offset = this.#base + start
    view.setUint32(start + at.offset, offset, true)
    view.setUint32(start + at.recordCount, this.#frameCount, true)
    setNumber(view, start + at.firstRecordNumber, this.#state.nextRecordNumber - this.#frameCount)
    setNumber(view, start + at.timestampMs, this.#frameTimestampMs)
    setNumber(view, start + at.watermark, this.watermark)
    view.setUint16(start + at.flags, (continues ? frameContinues : 0) | (this.#isPlain ? frameIsPlain : 0), true)
    view.setUint16(start + at.headerBytes, frameHeaderBytes, true)
    view.setUint32(start + at.lastRecordDistance, this.#lastRecordStart - start, true)
    view.setUint32(start + at.batchOffset, this.#batchOffset >= 0 ? this.#batchOffset : offset, true)
    view.setUint32(start + frameHeaderBytes - 4, 0, true)
    view.setUint32(start, crc32(this.#bytes.subarray(start + 4, this.#position), this.#seed), true)
    this.#frameStart = -1
    const padded = alignFrame(this.#position)
    while (this.#position < padded) this.#bytes[this.#position++] = 0
  }

  #appendBytes(payload: Uint8Array, extId: number | bigint, timestampMs: number): number {
    const length = payload.length
    const placed = this.#place(length + recordOverheadMax)
    if (placed < 0) return placed
    const start = this.#writeHeader(extId, timestampMs)
    const view = this.#view
    view.setUint32(start, view.getUint32(start, true) | length, true)
    this.#bytes.set(payload, this.#position)
    this.#position += length
    return this.#idBase + this.#base + start
  }

  /** Makes room for `size` bytes of record in an open frame. Returns 0 or a code. */
  #place(size: number): number {
    const used = this.#position - this.#frameStart
    if (this.#frameStart >= 0 && used + size <= frameBytesMax && used <= frameDistanceMax) {
      return this.#base + this.#position + size > this.#framesEndMax
        ? NEEDS_SEGMENT
        : this.#position + size + 8 > this.#bytes.length
          ? NEEDS_BUFFER
          : 0
    }
    const need = size + frameOverheadMax
    if (this.#base + this.#position + need > this.#framesEndMax) return NEEDS_SEGMENT
    if (this.#position + need + 8 > this.#bytes.length) return NEEDS_BUFFER
    this.closeFrame()
    this.#openFrame()
    return 0
  }

  #openFrame(): void {
    this.#frameStart = this.#position
    this.#frameCount = 0
    this.#frameClockMs = this.#now()
    this.#frameTimestampMs = -1
    this.#isPlain = true
    const state = this.#state
    this.index.note(this.#base + this.#position, state.nextRecordNumber, state.timestampMsMax, state.extIdMax)
    this.#position += frameHeaderBytes
  }

  /** Writes a record header with length 0 and returns where it starts in the buffer. */
  #writeHeader(extId: number | bigint, timestampMs: number): number {
    const view = this.#view
    const start = this.#position
    const state = this.#state
    const timestamp = timestampMs >= 0 ? timestampMs : this.#frameClockMs
    if (this.#frameTimestampMs < 0) this.#frameTimestampMs = timestamp
    const delta = timestamp - this.#frameTimestampMs
    const fits = delta >= 0 && delta <= timestampDeltaMax
    if (delta !== 0) this.#isPlain = false
    let flags = 0
    let position = start + recordHeaderBytes
    if (extId) {
      this.#isPlain = false
      flags = recordHasExtId
      if (typeof extId === "number") setNumber(view, position, extId)
      else view.setBigUint64(position, extId, true)
      state.extIdMax = extId
      position += 8
    }
    if (!fits) {
      flags |= recordHasTimestamp
      setNumber(view, position, timestamp)
      position += 8
    }
    view.setUint32(start, flags, true)
    view.setUint32(start + 4, (start - this.#frameStart) | ((fits ? delta : 0) << 16), true)
    this.#position = position
    this.#lastRecordStart = start
    this.#frameCount++
    if (state.nextRecordNumber++ === this.firstRecordNumber) this.firstTimestampMs = timestamp
    state.lastRecordId = this.#idBase + this.#base + start
    state.lastTimestampMs = timestamp
    if (timestamp > state.timestampMsMax) state.timestampMsMax = timestamp
    return start
  }

  /** Copies text as UTF-8; room for three bytes a unit is there. Returns the bytes written. */
  #writeText(text: string): number {
    const bytes = this.#bytes
    const length = text.length
    const start = this.#position
    let position = start
    if (length <= loopLengthMax) {
      let i = 0
      for (; i < length; i++) {
        const unit = text.charCodeAt(i)
        if (unit > 127) break
        bytes[position++] = unit
      }
      if (i === length) {
        this.#position = position
        return length
      }
    }
    const written = encoder.encodeInto(text, bytes.subarray(start, start + length * 3)).written
    this.#position = start + written
    return written
  }
}

/** Bytes of segment that a batch of several frames takes at most; two frames in a row hold more than one full frame. */
export const batchBytesMax = (sizeBytes: number, bufferBytes: number): number => {
  const frames = Math.ceil(sizeBytes / (Math.min(frameBytesMax, bufferBytes) / 2)) + 1
  return sizeBytes + frames * frameOverheadMax
}

const setNumber = (view: DataView, position: number, value: number): void => {
  view.setUint32(position, value >>> 0, true)
  view.setUint32(position + 4, (value / 4294967296) >>> 0, true)
}
