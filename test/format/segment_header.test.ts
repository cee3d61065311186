// Segment header and watermark slots: round trip, each byte flipped, each length cut, the newer slot wins.

import { describe, expect, test } from "bun:test"
import {
  decodeNewestSlot,
  decodeSegmentHeader,
  encodeSegmentHeader,
  encodeWatermarkSlot,
  type SegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
  slotOffsets,
  type WatermarkSlot,
  watermarkSlot,
} from "../../src/format/segment_header.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const header: SegmentHeader = {
  rootId: Uint8Array.from({ length: 16 }, (_, index) => 255 - index),
  streamId: 12,
  segmentIndex: 3,
  fileGeneration: 2,
  writerEpoch: 5,
  firstRecordNumber: 1_000_000_007,
  baseOffset: 2 ** 40 + 8,
  extIdMax: 2n ** 64n - 1n,
  timestampMsMax: 1_700_000_000_000,
  commitMode: 0,
  journalPosition: 0,
  createdMs: 1_700_000_000_001,
  checksumSeed: 0xdeadbeef,
}
const slot: WatermarkSlot = {
  sequence: 1,
  watermark: 3 * 2 ** 28 + 1600,
  nextRecordNumber: 1_000_000_008,
  lastRecordId: 3 * 2 ** 28 + 1592,
  lastTimestampMs: 1_700_000_000_002,
  timestampMsMax: 1_700_000_000_003,
  extIdMax: 9n,
  coordinatorWatermark: 10n,
}
const seed = header.checksumSeed
const bytes = new Uint8Array(segmentHeaderBytes)
encodeSegmentHeader(bytes, header)

const withSlots = (...slots: ReadonlyArray<WatermarkSlot>): Uint8Array => {
  const target = bytes.slice()
  slots.forEach((one, index) => {
    encodeWatermarkSlot(target, slotOffsets[index]!, one, seed)
  })
  return target
}

describe("decodeSegmentHeader()", () => {
  const accepts = (source: Uint8Array): boolean => decodeSegmentHeader(source) !== undefined

  test("gives what was encoded", () => {
    expect(decodeSegmentHeader(bytes)).toMatchObject(header)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts, 0, segmentHeader.sizeBytes))
  test("rejects each cut", () => expectCutsRejected(bytes.slice(0, segmentHeader.sizeBytes), accepts))
})

describe("decodeNewestSlot()", () => {
  test("finds none in a new file", () => {
    expect(decodeNewestSlot(bytes, seed)).toBeUndefined()
  })

  test("gives the slot with the higher sequence, wherever it lies", () => {
    const newer = { ...slot, sequence: 2, watermark: slot.watermark + 80 }
    expect(decodeNewestSlot(withSlots(slot, newer), seed)).toMatchObject(newer)
    expect(decodeNewestSlot(withSlots({ ...slot, sequence: 3 }, newer), seed)).toMatchObject({ ...slot, sequence: 3 })
  })

  test("falls back on the older slot for each flipped byte of the newer", () => {
    const newer = { ...slot, sequence: 2 }
    const isNewest = (source: Uint8Array): boolean => decodeNewestSlot(source, seed)?.sequence !== 1
    expectFlipsRejected(withSlots(slot, newer), isNewest, 1024, 1024 + watermarkSlot.sizeBytes)
  })

  test("rejects each cut and another seed", () => {
    const accepts = (source: Uint8Array): boolean => decodeNewestSlot(source, seed) !== undefined
    expectCutsRejected(withSlots(slot).slice(0, slotOffsets[0] + watermarkSlot.sizeBytes), accepts)
    expect(decodeNewestSlot(withSlots(slot), seed + 1)).toBeUndefined()
  })
})
