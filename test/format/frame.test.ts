// A frame, built by hand from the tables: its checksum covers every byte, its place and its segment.

import { describe, expect, test } from "bun:test"
import { crc32 } from "../../src/format/checksum.ts"
import {
  alignFrame,
  type FrameHeader,
  frameHasProducer,
  frameHeader,
  frameHeaderBytes,
  frameProducer,
  isFrameHeader,
  isFrameIntact,
} from "../../src/format/frame.ts"
import { recordHasExtId, recordHeader } from "../../src/format/record.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const seed = 0x600dbeef
const offset = 4096
const header: Omit<FrameHeader, "checksum" | "lengthBytes"> = {
  offset,
  recordCount: 2,
  firstRecordNumber: 2 ** 40 + 1,
  timestampMs: 1_700_000_000_000,
  watermark: 2 ** 30,
  flags: 0,
  headerBytes: frameHeaderBytes,
  lastRecordDistance: frameHeaderBytes + 13,
  batchOffset: offset,
}

/** A frame with two records: "hello" and one with an extId and an empty payload. */
const makeFrame = (): Uint8Array => {
  const bytes = new Uint8Array(frameHeaderBytes + 8 + 5 + 8 + 8)
  const lengthBytes = bytes.length
  frameHeader.encode(bytes, 0, { ...header, checksum: 0, lengthBytes })
  recordHeader.encode(bytes, 56, { lengthAndFlags: 5, frameDistance: 56, timestampDelta: 0 })
  bytes.set(new TextEncoder().encode("hello"), 64)
  recordHeader.encode(bytes, 69, { lengthAndFlags: recordHasExtId, frameDistance: 69, timestampDelta: 7 })
  new DataView(bytes.buffer).setBigUint64(77, 99n, true)
  frameHeader.encode(bytes, 0, { ...header, checksum: crc32(bytes.subarray(4), seed), lengthBytes })
  return bytes
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const accepts = (bytes: Uint8Array): boolean =>
  isFrameHeader(viewOf(bytes), 0, offset, 8192) && isFrameIntact(bytes, viewOf(bytes), 0, seed)

describe("a frame", () => {
  const bytes = makeFrame()

  test("is intact and gives what was encoded", () => {
    expect(accepts(bytes)).toBe(true)
    expect(frameHeader.decode(bytes, 0)).toMatchObject(header)
    expect(recordHeader.decode(bytes, 69)).toEqual({
      lengthAndFlags: recordHasExtId,
      frameDistance: 69,
      timestampDelta: 7,
    })
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts))
  test("rejects each cut", () => expectCutsRejected(bytes, accepts))

  test("rejects another seed, another place and an end behind the limit", () => {
    expect(isFrameIntact(bytes, viewOf(bytes), 0, seed + 1)).toBe(false)
    expect(isFrameHeader(viewOf(bytes), 0, offset + 8, 8192)).toBe(false)
    expect(isFrameHeader(viewOf(bytes), 0, offset, offset + bytes.length - 1)).toBe(false)
    expect(isFrameHeader(viewOf(bytes), 0, offset, offset + bytes.length)).toBe(true)
  })

  test("allows two lengths of header and no other", () => {
    const other = bytes.slice()
    const view = viewOf(other)
    for (const [headerBytes, isAllowed] of [
      [56, true],
      [88, true],
      [64, false],
      [0, false],
    ] as const) {
      view.setUint16(frameHeader.at.headerBytes, headerBytes, true)
      expect(isFrameHeader(view, 0, offset, 8192)).toBe(isAllowed)
    }
  })
})

describe("the layouts", () => {
  test("have the sizes that offsets on disk rely on", () => {
    expect([frameHeaderBytes, frameProducer.sizeBytes, recordHeader.sizeBytes]).toEqual([56, 32, 8])
    expect(frameHasProducer).toBe(2)
    expect([0, 1, 7, 8, 9].map(alignFrame)).toEqual([0, 8, 8, 8, 16])
  })

  test("a producer block gives what was encoded", () => {
    const target = new Uint8Array(32)
    const producer = { producerId: 2n ** 64n - 2n, producerEpoch: 7, sequence: 2 ** 53 - 1 }
    frameProducer.encode(target, 0, producer)
    expect(frameProducer.decode(target, 0)).toEqual(producer)
  })
})
