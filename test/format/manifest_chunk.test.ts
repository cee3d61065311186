// Header and commit slots of manifest files: round trip, each byte flipped, each length cut, order of slots, file names.

import { describe, expect, test } from "bun:test"
import { crc64 } from "../../src/format/checksum.ts"
import {
  commitSlot,
  commitSlotOffset,
  decodeCommitSlots,
  decodeManifestHeader,
  encodeCommitSlot,
  encodeManifestHeader,
  manifestFileName,
  manifestHeader,
  manifestHeaderBytes,
  manifestKindSnapshot,
  parseManifestFileName,
} from "../../src/format/manifest_chunk.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const header = {
  kind: 0,
  rootId: Uint8Array.from({ length: 16 }, (_, index) => index + 1),
  chunkSequence: 12,
  firstRecordSequence: 3456,
  createdMs: 1_700_000_000_000,
}
const bytes = encodeManifestHeader(header)

describe("decodeManifestHeader()", () => {
  const accepts = (source: Uint8Array): boolean => decodeManifestHeader(source) !== undefined

  test("gives what was encoded", () => {
    expect(decodeManifestHeader(bytes)).toMatchObject(header)
    expect(bytes.length).toBe(manifestHeaderBytes)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts, 0, manifestHeader.sizeBytes))
  test("rejects each cut", () => expectCutsRejected(bytes.slice(0, manifestHeader.sizeBytes), accepts))
})

describe("decodeCommitSlots()", () => {
  const second = { sequence: 2, committedBytes: 96, recordCount: 2, checksum64: 0xfedcba9876543210n }
  const withSecond = bytes.slice()
  encodeCommitSlot(withSecond, commitSlotOffset(2), second)

  test("finds a first slot in a new file that commits no bytes, whose checksum is 0", () => {
    expect(decodeCommitSlots(bytes)).toMatchObject([{ sequence: 1, committedBytes: 0, recordCount: 0, checksum64: 0n }])
    expect(crc64()).toBe(0n)
  })

  test("gives the newer slot first, wherever it lies", () => {
    expect(decodeCommitSlots(withSecond).map((slot) => slot.sequence)).toEqual([2, 1])
    const third = withSecond.slice()
    encodeCommitSlot(third, commitSlotOffset(3), { ...second, sequence: 3 })
    expect(decodeCommitSlots(third).map((slot) => slot.sequence)).toEqual([3, 2])
    expect([1, 2, 3, 4].map(commitSlotOffset)).toEqual([512, 1024, 512, 1024])
  })

  test("leaves out a slot for each flipped byte, each cut and a sequence at the other's place", () => {
    const accepts = (source: Uint8Array): boolean => decodeCommitSlots(source).some((slot) => slot.sequence === 2)
    expectFlipsRejected(withSecond, accepts, 1024, 1024 + commitSlot.sizeBytes)
    expectCutsRejected(withSecond.slice(0, 1024 + commitSlot.sizeBytes), accepts)
    const misplaced = bytes.slice()
    encodeCommitSlot(misplaced, 512, second)
    expect(decodeCommitSlots(misplaced)).toEqual([])
  })
})

describe("file names", () => {
  test("have ten digits and tell chunk from snapshot", () => {
    expect(manifestFileName(0, 1)).toBe("0000000001.chunk")
    expect(manifestFileName(manifestKindSnapshot, 123)).toBe("0000000123.snapshot")
    expect(parseManifestFileName("0000000123.snapshot")).toEqual({ kind: 1, chunkSequence: 123 })
    expect(parseManifestFileName("0000000001.chunk")).toEqual({ kind: 0, chunkSequence: 1 })
    for (const name of ["1.chunk", "0000000001.chunk.tmp", "x0000000001.chunk", "0000000001.chunks", "ROOT"]) {
      expect(parseManifestFileName(name)).toBeUndefined()
    }
  })
})
