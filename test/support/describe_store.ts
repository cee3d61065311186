// Decodes every structure in the files of a small store, for comparison with what was decoded when the files were made.

import { createHash } from "node:crypto"
import { crc64 } from "../../src/format/checksum.ts"
import { alignFrame, frameHeader, isFrameHeader, isFrameIntact } from "../../src/format/frame.ts"
import { decodeCommitSlots, decodeManifestHeader, manifestHeaderBytes } from "../../src/format/manifest_chunk.ts"
import { decodeManifestRecord, manifestRecordLength } from "../../src/format/manifest_record.ts"
import {
  payloadLengthMask,
  recordHasExtId,
  recordHasTimestamp,
  recordHeader,
  recordHeaderBytes,
} from "../../src/format/record.ts"
import { decodeRootFile } from "../../src/format/root_file.ts"
import { decodeSealedPointer } from "../../src/format/sealed_pointer.ts"
import { decodeSegmentFooter, indexEntry, segmentFooter } from "../../src/format/segment_footer.ts"
import { decodeNewestSlot, decodeSegmentHeader, segmentHeaderBytes } from "../../src/format/segment_header.ts"

/** What the files say, by path, as plain JSON: bigints as decimal text, bytes as hexadecimal text. */
export function describeStore(files: ReadonlyMap<string, Uint8Array>): Record<string, unknown> {
  const described: Record<string, unknown> = {}
  for (const [path, bytes] of [...files].sort(([one], [other]) => (one < other ? -1 : 1))) {
    described[path] = toJson(describeFile(path, bytes))
  }
  return described
}

function describeFile(path: string, bytes: Uint8Array): unknown {
  if (path === "ROOT") return decodeRootFile(bytes)
  if (path.endsWith("current.sealed")) return decodeSealedPointer(bytes)
  return path.endsWith(".seg") ? describeSegment(bytes) : describeManifestFile(bytes)
}

function describeManifestFile(bytes: Uint8Array): unknown {
  const records: Array<unknown> = []
  const slots = decodeCommitSlots(bytes)
  for (let at = manifestHeaderBytes; at < bytes.length; at += manifestRecordLength(bytes, at, bytes.length) || 8) {
    records.push(decodeManifestRecord(bytes, at, bytes.length))
  }
  return { header: decodeManifestHeader(bytes), slots, checksum64: crc64(bytes.subarray(manifestHeaderBytes)), records }
}

function describeSegment(bytes: Uint8Array): unknown {
  const header = decodeSegmentHeader(bytes)
  const seed = header?.checksumSeed ?? 0
  const footerAt = bytes.length - segmentFooter.sizeBytes
  const footer = decodeSegmentFooter(bytes, footerAt, seed)
  const index: Array<unknown> = []
  for (let at = footer?.indexOffset ?? footerAt; at < footerAt; at += indexEntry.sizeBytes) {
    index.push(indexEntry.decode(bytes, at))
  }
  const isWhole = footer === undefined ? undefined : crc64(bytes.subarray(0, bytes.length - 8)) === footer.checksum64
  const frames = describeFrames(bytes, footer?.durableBytes ?? bytes.length, seed)
  return { header, slot: decodeNewestSlot(bytes, seed), frames, index, footer, isWhole }
}

function describeFrames(bytes: Uint8Array, end: number, seed: number): ReadonlyArray<unknown> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const frames: Array<unknown> = []
  let at = segmentHeaderBytes
  while (at < end && isFrameHeader(view, at, at, end) && isFrameIntact(bytes, view, at, seed)) {
    const header = frameHeader.decode(bytes, at)!
    const records: Array<unknown> = []
    let place = at + header.headerBytes
    for (let count = 0; count < header.recordCount; count++) {
      const record = describeRecord(bytes, view, place)
      records.push(record.described)
      place = record.end
    }
    frames.push({ header, records, isFilled: place === at + header.lengthBytes })
    at = alignFrame(at + header.lengthBytes)
  }
  return frames
}

function describeRecord(bytes: Uint8Array, view: DataView, start: number): { described: unknown; end: number } {
  const header = recordHeader.decode(bytes, start)!
  let at = start + recordHeaderBytes
  const take = (flag: number): bigint | undefined => {
    if ((header.lengthAndFlags & flag) === 0) return undefined
    at += 8
    return view.getBigUint64(at - 8, true)
  }
  const extId = take(recordHasExtId)
  const timestampMs = take(recordHasTimestamp)
  const end = at + (header.lengthAndFlags & payloadLengthMask)
  const sha256 = createHash("sha256").update(bytes.subarray(at, end)).digest("hex")
  return { described: { start, header, extId, timestampMs, sha256 }, end }
}

function toJson(value: unknown): unknown {
  const text = JSON.stringify(value, (_, one: unknown) => {
    if (typeof one === "bigint") return String(one)
    return one instanceof Uint8Array ? Buffer.from(one).toString("hex") : one
  })
  return text === undefined ? null : JSON.parse(text)
}
