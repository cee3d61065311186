// Manifest records: round trip of each type, unknown types and longer payloads kept, each byte flipped, each length cut.

import { describe, expect, test } from "bun:test"
import {
  decodeManifestRecord,
  decodeManifestRecordUnsafe,
  encodeManifestRecord,
  type ManifestRecord,
  type ManifestRecordOf,
  manifestRecordLength,
  manifestTypeNumber,
  manifestTypes,
} from "../../src/format/manifest_record.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"
import { sampleRecords } from "../support/manifest_samples.ts"

const head = { streamId: 7, reasonCode: 3, sequence: 2 ** 41, timestampMs: 1_700_000_000_000, rest: undefined }
const seal: ManifestRecordOf<"SealSegment"> = {
  ...head,
  type: "SealSegment",
  segmentIndex: 9,
  fileGeneration: 1,
  firstRecordNumber: 1000,
  recordCount: 10,
  baseOffset: 2 ** 40,
  durableBytes: 4096,
  fileBytes: 8192,
  flags: 1,
  checksumSeed: 0xffffffff,
  lastRecordId: 9 * 2 ** 28 + 4000,
  firstTimestampMs: 1,
  lastTimestampMs: 2,
  timestampMsMax: 3,
  extIdMax: 2n ** 64n - 1n,
  coordinatorWatermark: 2n ** 63n,
  sealedMs: 4,
  checksum64: 0xae8b14860a799888n,
}
const opened = { segmentIndex: 1, fileGeneration: 2, firstRecordNumber: 3, baseOffset: 4 }
const marker = { coversSequence: 9, nextStreamId: 10, streamCount: 2, recordCount: 8 }
const records: ReadonlyArray<ManifestRecord> = [
  { ...head, type: "SegmentOpened", ...opened },
  seal,
  { ...head, type: "Trim", firstRecordId: 2 ** 50, firstRecordNumber: 77 },
  { ...head, type: "StreamCreated", name: "orders.v1" },
  { ...head, type: "StreamDeleted" },
  { ...head, type: "SnapshotMarker", ...marker },
  { ...head, type: "Raw", typeNumber: 6, payload: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) },
  { ...head, type: "Raw", typeNumber: 60_000, payload: new Uint8Array(0) },
]
const seeds = [1, 2, 3, 4, 5, 6, 7, 8]
const decode = (bytes: Uint8Array): ManifestRecord | undefined => decodeManifestRecord(bytes, 0, bytes.length)
const accepts = (bytes: Uint8Array): boolean => decode(bytes) !== undefined

describe("decodeManifestRecord()", () => {
  for (const record of records) {
    const name = `type ${manifestTypeNumber(record)}`
    test(`gives what was encoded: ${name}`, () => {
      const bytes = encodeManifestRecord(record)
      expect(bytes.length % 8).toBe(0)
      expect(decode(bytes)).toEqual(record)
      expect(decodeManifestRecordUnsafe(bytes, 0, bytes.length)).toEqual(record)
    })
    test(`rejects each flipped byte: ${name}`, () => expectFlipsRejected(encodeManifestRecord(record), accepts))
    test(`rejects each cut: ${name}`, () => expectCutsRejected(encodeManifestRecord(record), accepts))
  }

  test("keeps what a later version has put behind a known payload", () => {
    const rest = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 2])
    for (const record of records.filter(({ type }) => type !== "Raw")) {
      const longer: ManifestRecord = { ...record, rest }
      expect(decode(encodeManifestRecord(longer))).toEqual(longer)
    }
  })

  test("carries a known type whose payload is too short as it is", () => {
    const short: ManifestRecord = { ...head, type: "Raw", typeNumber: 1, payload: new Uint8Array(24).fill(9) }
    expect(decode(encodeManifestRecord(short))).toEqual(short)
  })

  test("gives what was encoded, for each type with values from a seed", () => {
    for (const seed of seeds) {
      for (const record of sampleRecords(seed)) expect(decode(encodeManifestRecord(record))).toEqual(record)
    }
  })

  test("rejects each flipped byte and each cut of each type", () => {
    for (const record of sampleRecords(1)) {
      const bytes = encodeManifestRecord(record)
      if (bytes.length > 1000) continue
      expectFlipsRejected(bytes, accepts)
      expectCutsRejected(bytes, accepts)
    }
  })

  test("carries as it is what does not fit its table, and writes the same bytes again", () => {
    const key = { ...head, type: "Tier2Deleted", segmentIndex: 1, key: "key" } as const
    const payloadOf = (record: ManifestRecord): Uint8Array => encodeManifestRecord(record).slice(40)
    const edits: ReadonlyArray<readonly [ManifestRecord, (payload: Uint8Array) => void]> = [
      [key, (payload) => (payload[4] = 0)], // a key without bytes
      [key, (payload) => (payload[4] = 9)], // longer than the record
      [key, (payload) => (payload[5] = 0xff)], // longer than any key
      [key, (payload) => (payload[6] = 1)], // a byte that has to be zero
      [key, (payload) => (payload[8] = 0xff)], // no UTF-8
      [key, (payload) => (payload[15] = 1)], // padding that is not zero
      [{ ...head, type: "CustomEvent", kind: 1, payload: new Uint8Array(4096) }, (payload) => (payload[4] = 1)],
      [{ ...head, type: "LocalEvicted", segmentIndex: 1, tier: 0, bytes: 7 }, (payload) => (payload[15] = 0x20)],
    ]
    for (const [record, edit] of edits) {
      const payload = payloadOf(record)
      edit(payload)
      const raw: ManifestRecord = { ...head, type: "Raw", typeNumber: manifestTypeNumber(record), payload }
      const bytes = encodeManifestRecord(raw)
      expect(decode(bytes)).toEqual(raw)
      expect(encodeManifestRecord(decode(bytes)!)).toEqual(bytes)
    }
  })

  test("reads at an offset and not behind the end that it is given", () => {
    const bytes = encodeManifestRecord(seal)
    const target = new Uint8Array(bytes.length + 16).fill(0xff)
    target.set(bytes, 8)
    expect(decodeManifestRecord(target, 8, target.length)).toEqual(seal)
    expect(decodeManifestRecord(target, 8, 8 + bytes.length - 8)).toBeUndefined()
    expect(manifestRecordLength(target, 0, target.length)).toBe(0)
  })
})

describe("the types", () => {
  test("have the numbers of the design", () => {
    const numbers = {
      SegmentOpened: 0,
      SealSegment: 1,
      SnapshotMarker: 14,
      Trim: 16,
      StreamCreated: 18,
      StreamDeleted: 19,
    }
    for (const [type, number] of Object.entries(numbers)) expect(manifestTypes[number]).toBe(type)
    expect(manifestTypes.length).toBe(20)
  })

  test("texts and payloads out of bounds are mistakes of the program", () => {
    const delete1 = { ...head, type: "Tier2Deleted", segmentIndex: 1 } as const
    expect(() => encodeManifestRecord({ ...delete1, key: "" })).toThrow("1 to 1024 bytes, not 0")
    expect(() => encodeManifestRecord({ ...delete1, key: "ä".repeat(513) })).toThrow("not 1026")
    const event = { ...head, type: "CustomEvent", kind: 1, payload: new Uint8Array(4097) } as const
    expect(() => encodeManifestRecord(event)).toThrow("0 to 4096 bytes, not 4097")
  })

  test("a record that is too large is a mistake of the program", () => {
    const payload = new Uint8Array(8192)
    expect(() => encodeManifestRecord({ ...head, type: "Raw", typeNumber: 15, payload })).toThrow("at most 8192 bytes")
  })
})
