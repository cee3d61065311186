// Segments for the compressor: headers of log frames as it looks at them, around bytes that compress somewhat.

import { crc64 } from "../../src/format/checksum.ts"
import { alignFrame, frameHeader, frameHeaderBytes } from "../../src/format/frame.ts"
import { segmentHeaderBytes } from "../../src/format/segment_header.ts"
import type { CompressJob } from "../../src/port/compressor.ts"

/** A segment, where its log frames start, and what the compressor is told about it. */
export interface SampleSegment {
  readonly bytes: Uint8Array
  readonly frameOffsets: ReadonlyArray<number>
  readonly framesEnd: number
  readonly checksum64: bigint
}

/** Makes a segment with log frames of these lengths, header included, and `tailBytes` behind them. */
export function makeSegment(frameLengths: ReadonlyArray<number>, tailBytes = 200): SampleSegment {
  const frameOffsets: number[] = []
  let end = segmentHeaderBytes
  for (const length of frameLengths) {
    frameOffsets.push(end)
    end = alignFrame(end + length)
  }
  const bytes = new Uint8Array(end + tailBytes)
  fill(bytes)
  frameLengths.forEach((lengthBytes, index) => {
    const offset = frameOffsets[index]!
    frameHeader.encode(bytes, offset, {
      checksum: 1,
      lengthBytes,
      offset,
      recordCount: 1,
      firstRecordNumber: index,
      timestampMs: 0,
      watermark: 0,
      flags: 0,
      headerBytes: frameHeaderBytes,
      lastRecordDistance: frameHeaderBytes,
      batchOffset: offset,
    })
  })
  return { bytes, frameOffsets, framesEnd: end, checksum64: sealBytes(bytes) }
}

/** Writes the checksum of all bytes before into the last eight, and gives it. */
export function sealBytes(bytes: Uint8Array): bigint {
  const checksum64 = crc64(bytes.subarray(0, bytes.length - 8))
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(bytes.length - 8, checksum64, true)
  return checksum64
}

/** The job that compresses a segment. */
export function compressJobOf(
  segment: SampleSegment,
  source: string,
  target: string,
  options: Partial<CompressJob> = {},
): CompressJob {
  const { bytes, framesEnd, checksum64 } = segment
  return { source, target, sourceBytes: bytes.length, framesEnd, checksum64, level: 3, frameBytes: 65536, ...options }
}

/** Half of it random, from a fixed start. */
function fill(bytes: Uint8Array): void {
  let state = 1
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[at] = at & 8 ? state >>> 24 : 0x61 + (at % 20)
  }
}
