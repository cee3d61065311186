// Every decoder of the formats is given random bytes, and valid ones that were changed: it gives a value, or undefined, or its one typed error;
// it ends; and it allocates no more than it was given, whatever lengths and counts say. BOP_AOF_FUZZ_RUNS=100000 for longer runs.

import { beforeAll, describe, expect, test } from "bun:test"
import fc from "fast-check"
import { decodeFrameUnsafe, loadCodec } from "../../src/compressor/frame_codec.ts"
import { replayManifest } from "../../src/core/manifest/manifest_load.ts"
import { rebuildHeader } from "../../src/core/repair/repair_header.ts"
import { crc32 } from "../../src/format/checksum.ts"
import { frameHeader, isFrameHeader, isFrameIntact } from "../../src/format/frame.ts"
import { decodeCommitSlots, decodeManifestHeader } from "../../src/format/manifest_chunk.ts"
import {
  decodeManifestRecord,
  decodeManifestRecordUnsafe,
  encodeManifestRecord,
} from "../../src/format/manifest_record.ts"
import { correctRootFile, decodeRootFile } from "../../src/format/root_file.ts"
import { decodeSealedPointer } from "../../src/format/sealed_pointer.ts"
import { decodeSeekTable, encodeSeekTable, isZstdFrame, seekTableBytesOf } from "../../src/format/seekable_zstd.ts"
import { decodeSegmentFooter, segmentFooter } from "../../src/format/segment_footer.ts"
import { decodeSegmentHeader, decodeSlots } from "../../src/format/segment_header.ts"
import { salvageZstdFrames, walkZstdFrames } from "../../src/format/zstd_walk.ts"
import { Corrupt, corrupt } from "../../src/model/errors.ts"
import { scanManifestFile } from "../../src/state/manifest_replay.ts"
import { RecordScanner } from "../../src/state/record_scanner.ts"
import { decodedIndex, searchIndex } from "../../src/state/segment_index.ts"
import { fuzzOptions, hostile, withAllocationLimit } from "../support/fuzz.ts"
import { makeSampleStore } from "../support/sample_store.ts"

beforeAll(async () => {
  await loadCodec()
})

/** What one decoder may allocate beyond the size of its input: tables and small values. */
const spareBytes = 16 * 1024

const decodes = (bytes: fc.Arbitrary<Uint8Array>, runs: number, decode: (bytes: Uint8Array) => unknown): void => {
  fc.assert(
    fc.property(bytes, (input) => {
      const limit = 2 * input.length + spareBytes
      withAllocationLimit(limit, () => decode(input))
    }),
    fuzzOptions(runs),
  )
}

const file = (name: string): Uint8Array => {
  const found = [...makeSampleStore()].find(([path]) => path.endsWith(name))
  if (found === undefined) throw new Error(`no file ${name} in the sample store`)
  return found[1]
}

test("an allocation beyond the limit is found", () => {
  const makes: ReadonlyArray<() => unknown> = [
    () => new Uint8Array(101),
    () => new Uint32Array(26),
    () => new ArrayBuffer(101),
  ]
  for (const make of makes) {
    expect(() => withAllocationLimit(100, make)).toThrow("allocated")
  }
  expect(withAllocationLimit(100, () => new Uint8Array(100)).length).toBe(100)
})

describe("small files", () => {
  test("a root file, also where one byte is tried to be put right", () => {
    const valid = file("ROOT")
    const { rootId } = decodeRootFile(valid)!
    decodes(hostile(valid), 1500, decodeRootFile)
    decodes(hostile(valid), 1500, (bytes) => correctRootFile(bytes, rootId))
  })

  test("a pointer", () => decodes(hostile(file("current.sealed")), 1500, decodeSealedPointer))
})

describe("segments", () => {
  test("a header with its slots", () => {
    const valid = file("0000000003.seg").slice(0, 1536)
    decodes(hostile(valid), 1500, (bytes) => {
      const header = decodeSegmentHeader(bytes)
      decodeSlots(bytes, header?.checksumSeed ?? 0)
    })
  })

  test("a header that is made anew from whatever is there", () => {
    const valid = file("0000000003.seg")
    const known = {
      rootId: new Uint8Array(16),
      streamId: 1,
      segmentIndex: 3,
      fileGeneration: 0,
      firstRecordNumber: undefined,
      baseOffset: 0,
      extIdMax: 0n,
      timestampMsMax: 0,
    }
    decodes(hostile(valid), 400, (bytes) =>
      rebuildHeader((offset, length) => bytes.subarray(offset, offset + length), bytes.length, known),
    )
  })

  test("a footer and an index", () => {
    const valid = file("0000000001.seg")
    const seed = decodeSegmentHeader(valid)!.checksumSeed
    decodes(hostile(valid.slice(-segmentFooter.sizeBytes)), 1500, (bytes) => decodeSegmentFooter(bytes, 0, seed))
    const entries = valid.slice(valid.length - segmentFooter.sizeBytes - 64, valid.length - segmentFooter.sizeBytes)
    const { indexCount, indexOffset } = decodeSegmentFooter(valid, valid.length - segmentFooter.sizeBytes, seed)!
    const index = valid.slice(indexOffset, indexOffset + indexCount * 32)
    expect(searchIndex(decodedIndex(index), { by: "number", value: 3 }, 1536)).toBeGreaterThanOrEqual(1536)
    expect(entries.length).toBe(64)
  })

  /** Walks a frame as readers do, with the checksum made right: as if somebody had meant to. */
  class Walk extends RecordScanner {
    walk(bytes: Uint8Array): number {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      if (!isFrameHeader(view, 0, 0, bytes.length)) return -1
      const end = view.getUint32(frameHeader.at.lengthBytes, true)
      view.setUint32(0, crc32(bytes.subarray(4, end), 7), true)
      if (!isFrameIntact(bytes, view, 0, 7)) return -1
      this.enterFrame(bytes, view, 0, 0)
      let count = 0
      while (this.recordsLeft > 0 && this.step()) {
        if (this.payloadEnd > bytes.length || this.payloadStart > this.payloadEnd) throw new Error("leaves the buffer")
        count += this.extId >= 0n ? 1 : 0
      }
      return count
    }
    protected override nextFrame(): boolean {
      return false
    }
    protected override recordLeavesFrame(): never {
      throw corrupt("frame", "a record leaves its frame")
    }
  }

  test("a frame whose checksum is right and whose records are anything", () => {
    const segment = file("0000000003.seg")
    const view = new DataView(segment.buffer, segment.byteOffset)
    const frame = segment.slice(1536, 1536 + view.getUint32(1536 + 4, true))
    new DataView(frame.buffer).setUint32(8, 0, true)
    expect(new Walk().walk(frame.slice())).toBeGreaterThan(0)
    let corrupted = 0
    decodes(hostile(frame), 3000, (input) => {
      const bytes = input.slice()
      if (bytes.length >= 44) {
        // As far as the header is looked at, it is one.
        const head = new DataView(bytes.buffer)
        head.setUint32(4, bytes.length, true)
        head.setUint32(8, 0, true)
        head.setUint16(42, 56, true)
      }
      try {
        new Walk().walk(bytes)
      } catch (error) {
        if (!(error instanceof Corrupt)) throw error
        corrupted++
      }
    })
    expect(corrupted).toBeGreaterThan(100)
  })
})

describe("the manifest", () => {
  test("a header block, records, whole files, and what they add up to", () => {
    const chunk = file(".chunk")
    const snapshot = file(".snapshot")
    const rootId = decodeManifestHeader(chunk)!.rootId
    decodes(hostile(chunk.slice(0, 1536)), 1500, (bytes) => [decodeManifestHeader(bytes), decodeCommitSlots(bytes)])
    const records = chunk.slice(1536)
    decodes(hostile(records), 1500, (bytes) => {
      for (let at = 0; at < bytes.length; at += 8) {
        decodeManifestRecord(bytes, at, bytes.length)
        decodeManifestRecordUnsafe(bytes, at, bytes.length)
      }
    })
    decodes(hostile(chunk, snapshot), 600, (bytes) => {
      scanManifestFile(bytes, { lastSequence: 0, durableBefore: undefined })
      scanManifestFile(bytes, { lastSequence: 2, durableBefore: 9 })
    })
    fc.assert(
      fc.property(hostile(snapshot), hostile(chunk), (one, other) => {
        const files = [
          { name: "0000000001.snapshot", chunkSequence: 1, bytes: one },
          { name: "0000000002.chunk", chunkSequence: 2, bytes: other },
        ]
        const names = files.map(({ name }) => name)
        const { damage, state } = replayManifest({ names, files }, { rootId })
        for (const { from, to } of damage) if (!(from <= to)) throw new Error("a range ends before it begins")
        for (const stream of state.streams.values()) if (!(stream.streamId >= 0)) throw new Error("a stream without id")
      }),
      fuzzOptions(300),
    )
  })

  test("a record whose checksum is right and whose payload is anything is read and written back byte for byte", () => {
    const types = fc.integer({ min: 0, max: 40 })
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 600 }), (typeNumber, payload) => {
        const head = { streamId: 1, reasonCode: 0, sequence: 5, timestampMs: 9, rest: undefined }
        const padded = new Uint8Array((payload.length + 7) & ~7)
        padded.set(payload)
        const bytes = encodeManifestRecord({ ...head, type: "Raw", typeNumber, payload: padded })
        const record = decodeManifestRecord(bytes, 0, bytes.length)
        if (record === undefined) throw new Error("a record that checks is not read")
        // Names are read leniently since the first version, and not always written back the same.
        if (record.type === "StreamCreated") return
        expect(encodeManifestRecord(record)).toEqual(bytes)
      }),
      fuzzOptions(2000),
    )
  })
})

describe("warm files", () => {
  const content = new TextEncoder().encode("some text that is compressed ".repeat(40))

  test("a seek table", () => {
    const table = encodeSeekTable([100, 200, 300], [1000, 2000, 3000])
    decodes(hostile(table), 3000, (bytes) => {
      seekTableBytesOf(bytes, bytes.length + 600)
      const found = decodeSeekTable(bytes, { fileBytes: bytes.length + 600 })
      if (found === undefined) return
      for (let index = 0; index < found.frameCount; index++) found.frame(index)
      for (const offset of [0, 1, 999, found.contentBytes - 1]) found.frameAt(offset)
    })
  })

  test("zstd frames: walked, salvaged, judged and decoded", async () => {
    const codec = await loadCodec()
    const frame = codec.compress(content, 3)
    const two = new Uint8Array(2 * frame.length + 9 + 8 + 16)
    two.set(frame)
    two.set(frame, frame.length)
    two.set(encodeSeekTable([frame.length, frame.length], [content.length, content.length]), 2 * frame.length)
    decodes(hostile(two, frame), 1500, (bytes) => {
      const read = (offset: number, length: number): Uint8Array => bytes.subarray(offset, offset + length)
      const bounds = { fileBytes: bytes.length, contentBytes: 2 * content.length, frameCount: 2 }
      walkZstdFrames(read, bounds)
      const salvaged = salvageZstdFrames(read, bounds)
      if (salvaged?.contentBytes !== 2 * content.length) throw new Error("salvaging does not cover the segment")
      isZstdFrame(bytes, content.length)
    })
    fc.assert(
      fc.property(hostile(frame), fc.constantFrom(content.length, 1, 70_000), (bytes, length) => {
        try {
          const decoded = decodeFrameUnsafe(bytes, length)
          if (decoded.length !== length) throw new Error("another length than was asked for")
        } catch (error) {
          if (!(error instanceof Corrupt)) throw error
        }
      }),
      fuzzOptions(1500),
    )
  })
})
