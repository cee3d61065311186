// The writer of frames and the scanner of records against each other: what goes in comes out, at every edge of frame, buffer and segment.

import { describe, expect, test } from "bun:test"
import {
  alignFrame,
  frameBytesMax,
  frameContinues,
  frameHeader,
  frameHeaderBytes,
  isFrameHeader,
  isFrameIntact,
} from "../../src/format/frame.ts"
import { recordIsControl } from "../../src/format/record.ts"
import { segmentHeaderBytes } from "../../src/format/segment_header.ts"
import { recordIdOf } from "../../src/model/record_id.ts"
import { RecordScanner } from "../../src/state/record_scanner.ts"
import {
  batchBytesMax,
  NEEDS_BUFFER,
  NEEDS_SEGMENT,
  recordOverheadMax,
  SegmentWriter,
  type WriterState,
} from "../../src/state/segment_writer.ts"
import { makeRandom } from "../support/api.ts"

const seed = 12345
const index = 3

const makeState = (): WriterState => ({
  nextRecordNumber: 100,
  lastRecordId: 0,
  lastTimestampMs: 0,
  timestampMsMax: 0,
  extIdMax: 0,
})

class Scan extends RecordScanner {
  readonly bytes: Uint8Array
  readonly all: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    super()
    this.bytes = bytes
    this.all = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  next(): boolean {
    return this.step()
  }

  protected override nextFrame(): boolean {
    if (this.#offset >= this.bytes.length) return false
    const start = this.#offset
    expect(isFrameHeader(this.all, start, start + segmentHeaderBytes, this.bytes.length + segmentHeaderBytes)).toBe(
      true,
    )
    expect(isFrameIntact(this.bytes, this.all, start, seed)).toBe(true)
    this.enterFrame(this.bytes, this.all, start, recordIdOf(index, segmentHeaderBytes))
    this.#offset = alignFrame(start + this.all.getUint32(start + frameHeader.at.lengthBytes, true))
    return true
  }

  protected override recordLeavesFrame(): never {
    throw new Error("a record leaves its frame")
  }
}

interface Written {
  readonly id: number
  readonly payload: Uint8Array
  readonly extId: bigint
  readonly timestampMs: number
}

const write = (
  bufferBytes: number,
  seedOf: number,
  count: number,
): { bytes: Uint8Array; written: Array<Written>; state: WriterState } => {
  const random = makeRandom(seedOf)
  const state = makeState()
  const buffer = new Uint8Array(bufferBytes)
  const writer = new SegmentWriter({
    segmentIndex: index,
    seed,
    framesEndMax: 2 ** 27,
    bufferBytes,
    now: () => 5000,
    state,
  })
  writer.useBuffer(buffer)
  const written: Array<Written> = []
  let extId = 0n
  for (let i = 0; i < count; i++) {
    const length = random(10) === 0 ? random(3000) : random(60)
    const text = random(2) === 0 ? "x".repeat(length) : undefined
    const payload = text === undefined ? new Uint8Array(length).map(() => random(256)) : new TextEncoder().encode(text)
    const hasExtId = random(3) === 0
    if (hasExtId) extId += BigInt(random(2 ** 30))
    const timestampMs = random(2) === 0 ? -1 : random(2 ** 31) * random(3)
    const id = writer.append(text ?? payload, hasExtId ? extId : 0, timestampMs)
    if (id === NEEDS_BUFFER) break
    written.push({ id, payload, extId: hasExtId ? extId : 0n, timestampMs: timestampMs < 0 ? -1 : timestampMs })
  }
  writer.closeFrame()
  return { bytes: buffer.slice(0, writer.endOffset - segmentHeaderBytes), written, state }
}

describe("SegmentWriter", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])("what it writes is what the scanner reads, seed %d", (seedOf) => {
    const { bytes, written, state } = write(512 * 1024, seedOf, 4000)
    const scan = new Scan(bytes)
    for (const [i, one] of written.entries()) {
      expect(scan.next()).toBe(true)
      expect(scan.recordId).toBe(one.id)
      expect(scan.recordNumber).toBe(100 + i)
      expect(scan.extId).toBe(one.extId)
      expect(scan.timestampMs).toBe(one.timestampMs < 0 ? 5000 : one.timestampMs)
      expect(Buffer.compare(scan.buffer.subarray(scan.payloadStart, scan.payloadEnd), one.payload)).toBe(0)
    }
    expect(scan.next()).toBe(false)
    expect(state.nextRecordNumber).toBe(100 + written.length)
    expect(state.lastRecordId).toBe(written.at(-1)!.id)
  })

  test("closes a frame before it is larger than it may be, and gives a large record its own", () => {
    const state = makeState()
    const buffer = new Uint8Array(2 * 1024 * 1024)
    const writer = new SegmentWriter({
      segmentIndex: index,
      seed,
      framesEndMax: 2 ** 27,
      bufferBytes: buffer.length,
      now: () => 1,
      state,
    })
    writer.useBuffer(buffer)
    for (let i = 0; i < 3000; i++) writer.append(new Uint8Array(50), 0, -1)
    writer.append(new Uint8Array(1_000_000), 0, -1)
    for (let i = 0; i < 10; i++) writer.append(new Uint8Array(50), 0, -1)
    writer.closeFrame()
    const view = new DataView(buffer.buffer)
    const lengths: Array<number> = []
    const counts: Array<number> = []
    for (let at = 0; at < writer.endOffset - segmentHeaderBytes; at = alignFrame(at + lengths.at(-1)!)) {
      lengths.push(view.getUint32(at + frameHeader.at.lengthBytes, true))
      counts.push(view.getUint32(at + frameHeader.at.recordCount, true))
    }
    expect(lengths.filter((length) => length > frameBytesMax)).toEqual([frameHeaderBytes + 8 + 1_000_000])
    expect(counts.reduce((sum, one) => sum + one, 0)).toBe(3011)
    expect(counts[lengths.findIndex((length) => length > frameBytesMax)]).toBe(1)
  })

  test("answers NEEDS_BUFFER and NEEDS_SEGMENT without changing anything", () => {
    const state = makeState()
    const make = (framesEndMax: number, bufferBytes: number): SegmentWriter => {
      const writer = new SegmentWriter({ segmentIndex: index, seed, framesEndMax, bufferBytes, now: () => 1, state })
      writer.useBuffer(new Uint8Array(bufferBytes))
      return writer
    }
    const before = { ...state }
    const cases: Array<readonly [SegmentWriter, number]> = [
      [make(2 ** 20, 100), NEEDS_BUFFER],
      [make(segmentHeaderBytes + 100, 4096), NEEDS_SEGMENT],
    ]
    for (const [writer, code] of cases) {
      expect(writer.append(new Uint8Array(90), 0, -1)).toBe(code)
      expect(writer.append("x".repeat(90), 5, -1)).toBe(code)
      expect(writer.beginBatch(90 + recordOverheadMax)).toBe(code)
      expect(writer.endOffset).toBe(segmentHeaderBytes)
    }
    expect(state).toEqual(before)
  })

  test("a batch lies in one frame or in frames that name the first; batchBytesMax() bounds it", () => {
    for (const bytes of [1, 40, 700, 30_000, 70_000]) {
      const state = makeState()
      const buffer = new Uint8Array(4 * 1024 * 1024)
      const writer = new SegmentWriter({
        segmentIndex: index,
        seed,
        framesEndMax: 2 ** 27,
        bufferBytes: buffer.length,
        now: () => 1,
        state,
      })
      writer.useBuffer(buffer)
      writer.append("before", 0, -1)
      const count = Math.ceil(200_000 / bytes) > 5000 ? 5000 : Math.ceil(200_000 / bytes)
      const sizeBytes = count * (bytes + recordOverheadMax)
      const from = writer.endOffset
      expect(writer.beginBatch(sizeBytes)).toBe(0)
      for (let i = 0; i < count; i++) expect(writer.append(new Uint8Array(bytes), i + 1, -1)).toBeGreaterThan(0)
      writer.endBatch()
      expect(writer.endOffset - from).toBeLessThanOrEqual(batchBytesMax(sizeBytes, buffer.length))
      writer.append("after", 0, -1)
      writer.closeFrame()
      const view = new DataView(buffer.buffer)
      const frames: Array<{ offset: number; flags: number; batchOffset: number }> = []
      for (
        let at = 0;
        at < writer.endOffset - segmentHeaderBytes;
        at = alignFrame(at + view.getUint32(at + frameHeader.at.lengthBytes, true))
      ) {
        frames.push({
          offset: at + segmentHeaderBytes,
          flags: view.getUint16(at + frameHeader.at.flags, true) & frameContinues,
          batchOffset: view.getUint32(at + frameHeader.at.batchOffset, true),
        })
      }
      const batch = frames.slice(1, -1)
      expect(batch.map((frame) => frame.flags)).toEqual(batch.map((_, i) => (i === batch.length - 1 ? 0 : 1)))
      expect(batch.every((frame) => frame.batchOffset === batch[0]!.offset)).toBe(true)
      for (const frame of [frames[0]!, frames.at(-1)!])
        expect(frame).toMatchObject({ flags: 0, batchOffset: frame.offset })
    }
  })

  test("control records are passed over but counted", () => {
    const { bytes, written } = write(64 * 1024, 9, 20)
    const view = new DataView(bytes.buffer)
    const third = (written[2]!.id % 2 ** 28) - segmentHeaderBytes
    view.setUint32(third, view.getUint32(third, true) | recordIsControl, true)
    const scan = new (class extends Scan {
      protected override nextFrame(): boolean {
        if (this.recordNumber >= 0) return false
        this.enterFrame(bytes, view, 0, recordIdOf(index, segmentHeaderBytes))
        return true
      }
    })(bytes)
    const found: Array<number> = []
    for (let i = 0; i < written.length - 1; i++) if (scan.next()) found.push(scan.recordNumber)
    expect(found.slice(0, 4)).toEqual([100, 101, 103, 104])
  })
})
