// A small store made of the codecs alone, the same bytes each time: for golden files and for readers in other languages.

import { crc32, crc64, crc64Start } from "../../src/format/checksum.ts"
import { commitSlotOffset, encodeCommitSlot, encodeManifestHeader } from "../../src/format/manifest_chunk.ts"
import type { SealSegment } from "../../src/format/manifest_payload.ts"
import { encodeManifestRecord, type ManifestEvent, type ManifestRecord } from "../../src/format/manifest_record.ts"
import { encodeRootFile } from "../../src/format/root_file.ts"
import { encodeSealedPointer } from "../../src/format/sealed_pointer.ts"
import { encodeSegmentFooter, type SegmentFooter, segmentFooter } from "../../src/format/segment_footer.ts"
import {
  encodeSegmentHeader,
  encodeWatermarkSlot,
  segmentHeaderBytes,
  slotOffsets,
} from "../../src/format/segment_header.ts"
import { recordIdOf } from "../../src/model/record_id.ts"
import { applyManifestRecord, emptyManifestState, snapshotRecords } from "../../src/state/manifest_state.ts"
import { SegmentWriter, type WriterState } from "../../src/state/segment_writer.ts"

/** A file's path below the root, and its bytes. */
export type SampleFiles = ReadonlyMap<string, Uint8Array>

const rootId = Uint8Array.from({ length: 16 }, (_, index) => 0xa0 + index)
const startMs = 1_700_000_000_000
const streamId = 2

/** The files of a store with a snapshot, a chunk, a stream with a sealed and an open segment. */
export function makeSampleStore(): SampleFiles {
  const files = new Map<string, Uint8Array>()
  const state: WriterState = {
    nextRecordNumber: 0,
    lastRecordId: 0,
    lastTimestampMs: 0,
    timestampMsMax: 0,
    extIdMax: 0,
  }
  const sealed = makeSealed(state)
  const open = makeOpen(state, sealed.seal)
  const segments = "streams/orders/segments"
  files.set("ROOT", encodeRootFile(rootId, startMs))
  files.set(`${segments}/0000000001.seg`, sealed.bytes)
  files.set(`${segments}/0000000003.seg`, open)
  files.set(`${segments}/current.sealed`, encodeSealedPointer({ ...sealed.footer }))
  for (const [name, bytes] of makeManifest(sealed.seal)) files.set(`manifest/${name}`, bytes)
  return files
}

interface Sealed {
  readonly bytes: Uint8Array
  readonly footer: SegmentFooter
  readonly seal: SealSegment
}

function makeSealed(state: WriterState): Sealed {
  const seed = 0x5eed0001
  const writer = makeWriter(state, 1, seed)
  const head = makeHeader({
    segmentIndex: 1,
    seed,
    firstRecordNumber: 0,
    baseOffset: 0,
    extIdMax: 0n,
    timestampMsMax: 0,
  })
  const buffer = new Uint8Array(400_000)
  writer.useBuffer(buffer)
  for (let number = 0; number < 12; number++)
    writer.append(`record ${number}`, number < 4 ? 0 : number * 3, startMs + number)
  writer.closeFrame()
  writer.append(new Uint8Array(70_000).fill(0x61), 40n, startMs - 5000)
  writer.beginBatch(150_000)
  for (const letter of [0x62, 0x63]) writer.append(new Uint8Array(66_000).fill(letter), 41, -1)
  writer.endBatch()
  writer.append("", 2n ** 63n, startMs + 10_000_000)
  writer.closeFrame()
  const end = writer.endOffset
  const index = writer.index.encode()
  const footer: SegmentFooter = {
    flags: 0,
    streamId,
    segmentIndex: 1,
    fileGeneration: 0,
    firstRecordNumber: 0,
    recordCount: state.nextRecordNumber,
    durableBytes: end,
    indexOffset: end,
    indexCount: writer.index.count,
    producerCount: 0,
    lastRecordId: state.lastRecordId,
    firstTimestampMs: writer.firstTimestampMs,
    lastTimestampMs: state.lastTimestampMs,
    timestampMsMax: state.timestampMsMax,
    extIdMax: BigInt(state.extIdMax),
    coordinatorWatermark: 77n,
    writerEpoch: 0,
    sealedMs: startMs + 20_000_000,
    tailChecksum: crc32(index, seed),
  }
  const bytes = new Uint8Array(end + index.length + segmentFooter.sizeBytes)
  bytes.set(head)
  bytes.set(buffer.subarray(0, end - segmentHeaderBytes), segmentHeaderBytes)
  bytes.set(index, end)
  encodeSegmentFooter(bytes, end + index.length, footer, seed)
  const checksum64 = crc64(bytes.subarray(0, bytes.length - 8))
  new DataView(bytes.buffer).setBigUint64(bytes.length - 8, checksum64, true)
  const seal = { ...footer, baseOffset: 0, fileBytes: bytes.length, checksumSeed: seed, checksum64 }
  return { bytes, footer, seal }
}

function makeOpen(state: WriterState, before: SealSegment): Uint8Array {
  const seed = 0x5eed0003
  const head = makeHeader({
    segmentIndex: 3,
    seed,
    firstRecordNumber: state.nextRecordNumber,
    baseOffset: before.durableBytes - segmentHeaderBytes,
    extIdMax: before.extIdMax,
    timestampMsMax: before.timestampMsMax,
  })
  const writer = makeWriter(state, 3, seed)
  const bytes = new Uint8Array(8192)
  bytes.set(head)
  writer.useBuffer(bytes.subarray(segmentHeaderBytes))
  writer.watermark = recordIdOf(1, before.durableBytes)
  for (let number = 0; number < 5; number++) writer.append(`more ${number}`, 0, startMs + 11_000_000 + number)
  writer.closeFrame()
  const slot = {
    ...state,
    watermark: recordIdOf(3, writer.endOffset),
    extIdMax: BigInt(state.extIdMax),
    coordinatorWatermark: 78n,
  }
  const older = { ...slot, watermark: writer.watermark, nextRecordNumber: before.recordCount, lastRecordId: 0 }
  encodeWatermarkSlot(bytes, slotOffsets[0], { ...older, sequence: 1 }, seed)
  encodeWatermarkSlot(bytes, slotOffsets[1], { ...slot, sequence: 2 }, seed)
  writer.watermark = slot.watermark
  writer.append("behind the watermark", 0, startMs + 12_000_000)
  writer.closeFrame()
  return bytes
}

function makeWriter(state: WriterState, segmentIndex: number, seed: number): SegmentWriter {
  const options = { segmentIndex, seed, framesEndMax: 390_000, bufferBytes: 400_000, state }
  return new SegmentWriter({ ...options, now: () => startMs + 9_000_000 })
}

function makeHeader(values: {
  readonly segmentIndex: number
  readonly seed: number
  readonly firstRecordNumber: number
  readonly baseOffset: number
  readonly extIdMax: bigint
  readonly timestampMsMax: number
}): Uint8Array {
  const bytes = new Uint8Array(segmentHeaderBytes)
  const fixed = { rootId, streamId, fileGeneration: 0, writerEpoch: 0, commitMode: 0, journalPosition: 0 }
  encodeSegmentHeader(bytes, { ...fixed, ...values, createdMs: startMs, checksumSeed: values.seed })
  return bytes
}

function makeManifest(seal: SealSegment): ReadonlyArray<readonly [string, Uint8Array]> {
  const opened = { segmentIndex: 1, fileGeneration: 0, firstRecordNumber: 0, baseOffset: 0 }
  const next = { ...opened, segmentIndex: 3, firstRecordNumber: seal.recordCount, baseOffset: seal.durableBytes - 1536 }
  const events: ReadonlyArray<ManifestEvent> = [
    { type: "StreamCreated", streamId: 1, name: "gone" },
    { type: "StreamCreated", streamId, name: "orders" },
    { type: "SegmentOpened", streamId, ...opened },
    { type: "StreamDeleted", streamId: 1, reasonCode: 1 },
    { type: "Raw", streamId, typeNumber: 15, payload: Uint8Array.from({ length: 16 }, (_, index) => index) },
    { type: "SegmentOpened", streamId, ...next },
    { ...seal, type: "SealSegment", streamId },
    { type: "Trim", streamId, firstRecordId: recordIdOf(1, 1608), firstRecordNumber: 1 },
  ]
  const records = events.map(
    (event, index) =>
      ({
        reasonCode: 0,
        ...event,
        sequence: index + 1,
        timestampMs: startMs + index,
        rest: undefined,
      }) as ManifestRecord,
  )
  const covered = 5
  const state = emptyManifestState()
  for (const record of records.slice(0, covered)) applyManifestRecord(state, record)
  const snapshot = snapshotRecords(state, { coversSequence: covered, timestampMs: startMs + 100 })
  return [
    ["0000000001.snapshot", makeManifestFile(1, 1, covered + 1, [snapshot], true)],
    ["0000000002.chunk", makeManifestFile(0, 2, covered + 1, [records.slice(covered, 7), records.slice(7)], true)],
  ]
}

/** A manifest file after one commit for each group of records, and one more slot when it was closed in order. */
function makeManifestFile(
  kind: number,
  chunkSequence: number,
  firstRecordSequence: number,
  commits: ReadonlyArray<ReadonlyArray<ManifestRecord>>,
  isClosed: boolean,
): Uint8Array {
  const parts = [encodeManifestHeader({ kind, rootId, chunkSequence, firstRecordSequence, createdMs: startMs })]
  const slots: Array<{ sequence: number; committedBytes: number; recordCount: number; checksum64: bigint }> = []
  const checksum = crc64Start()
  let committedBytes = 0
  let recordCount = 0
  for (const group of isClosed ? [...commits, []] : commits) {
    for (const record of group) {
      const bytes = encodeManifestRecord(record)
      checksum.update(bytes)
      committedBytes += bytes.length
      recordCount++
      parts.push(bytes)
    }
    slots.push({ sequence: slots.length + 2, committedBytes, recordCount, checksum64: checksum.digest() })
  }
  const bytes = new Uint8Array(Buffer.concat(parts))
  for (const slot of slots) encodeCommitSlot(bytes, commitSlotOffset(slot.sequence), slot)
  return bytes
}
