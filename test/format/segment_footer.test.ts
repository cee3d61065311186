// Footer, index and producer entries: round trip, each byte flipped, each length cut.

import { describe, expect, test } from "bun:test"
import {
  decodeSegmentFooter,
  encodeSegmentFooter,
  indexEntry,
  producerEntry,
  type SegmentFooter,
  segmentFooter,
} from "../../src/format/segment_footer.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const footer: SegmentFooter = {
  flags: 1,
  streamId: 12,
  segmentIndex: 3,
  fileGeneration: 2,
  firstRecordNumber: 10,
  recordCount: 20,
  durableBytes: 65_536,
  indexOffset: 65_536,
  indexCount: 1,
  producerCount: 1,
  lastRecordId: 3 * 2 ** 28 + 60_000,
  firstTimestampMs: 1_700_000_000_000,
  lastTimestampMs: 1_700_000_000_001,
  timestampMsMax: 1_700_000_000_002,
  extIdMax: 2n ** 63n,
  coordinatorWatermark: 4n,
  writerEpoch: 1,
  sealedMs: 1_700_000_000_003,
  tailChecksum: 0x12345678,
}
const seed = 0xcafe0001
const bytes = new Uint8Array(segmentFooter.sizeBytes)
encodeSegmentFooter(bytes, 0, footer, seed)

describe("decodeSegmentFooter()", () => {
  const accepts = (source: Uint8Array): boolean => decodeSegmentFooter(source, 0, seed) !== undefined

  test("gives what was encoded, and leaves the last 8 bytes to the checksum of the file", () => {
    expect(decodeSegmentFooter(bytes, 0, seed)).toMatchObject({ ...footer, checksum64: 0n })
    new DataView(bytes.buffer).setBigUint64(segmentFooter.at.checksum64, 0x123456789abcdef0n, true)
    expect(decodeSegmentFooter(bytes, 0, seed)).toMatchObject({ ...footer, checksum64: 0x123456789abcdef0n })
    expect(segmentFooter.at.checksum64 + 8).toBe(segmentFooter.sizeBytes)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts, 0, segmentFooter.at.checksum64))
  test("rejects each cut", () => expectCutsRejected(bytes, accepts))
  test("rejects another seed", () => expect(decodeSegmentFooter(bytes, 0, seed - 1)).toBeUndefined())
})

describe("index and producer entries", () => {
  test("give what was encoded", () => {
    const target = new Uint8Array(64)
    const entry = { frameOffset: 70_000, firstRecordNumber: 2 ** 50, timestampMsMax: 5, extIdMax: 2n ** 64n - 1n }
    const producer = { producerId: 2n ** 64n - 1n, producerEpoch: 3, sequence: 2 ** 52, lastRecordId: 2 ** 50 }
    indexEntry.encode(target, 0, entry)
    producerEntry.encode(target, 32, producer)
    expect(indexEntry.decode(target, 0)).toEqual(entry)
    expect(producerEntry.decode(target, 32)).toEqual(producer)
    expect([indexEntry.sizeBytes, producerEntry.sizeBytes]).toEqual([32, 32])
  })

  test("an index entry with a spare byte that is not zero does not decode", () => {
    const target = new Uint8Array(32)
    target[4] = 1
    expect(indexEntry.decode(target, 0)).toBeUndefined()
  })
})
