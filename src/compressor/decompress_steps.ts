/**
 * From a warm file back to the segment. Nothing of the file is believed: its length, its table, each frame, its checksum, and the
 * length and the checksum of what comes out are all compared with what the job says.
 */
import { crc64Start } from "../format/checksum.ts"
import {
  decodeSeekTable,
  type SeekTable,
  seekTableBytes,
  seekTableBytesOf,
  type ZstdFrame,
} from "../format/seekable_zstd.ts"
import { assert } from "../model/assert.ts"
import { Corrupt, corrupt } from "../model/errors.ts"
import type { DecompressJob } from "../port/compressor.ts"
import type { FrameCodec } from "./checked_codec.ts"
import {
  checkFileBytes,
  checkSegmentBytes,
  type JobFile,
  type JobMeans,
  readAll,
  SegmentChecksum,
  type Steps,
} from "./job.ts"

/** Restores the segment. `target` is empty. */
export function* decompressSteps(
  source: JobFile,
  target: JobFile,
  { codec, syncBytes }: JobMeans,
  job: DecompressJob,
): Steps<undefined> {
  assert(job.source !== job.target, "a segment is another file than its warm file")
  checkSegmentBytes(job.source, job.targetBytes)
  checkFileBytes(job.source, source, job.sourceBytes)
  const { table, bytes: tableBytes } = readTable(source, job)
  const sourceChecksum = crc64Start()
  const targetChecksum = new SegmentChecksum(job.targetBytes)
  let buffer = new Uint8Array(0)
  let syncedBytes = 0
  let needsRest = false
  for (let index = 0; index < table.frameCount; index++) {
    const frame = table.frame(index)!
    if (buffer.length < frame.compressedBytes) buffer = new Uint8Array(frame.compressedBytes)
    const compressed = buffer.subarray(0, frame.compressedBytes)
    readAll(job.source, source, compressed, compressed.length, frame.compressedOffset)
    sourceChecksum.update(compressed)
    const content = decode(codec, compressed, frame, job)
    targetChecksum.update(content)
    if (needsRest) yield "rest"
    target.writeUnsafe(content, 0, content.length, frame.contentOffset)
    const writtenBytes = frame.contentOffset + content.length
    needsRest = writtenBytes - syncedBytes >= syncBytes()
    if (needsRest) syncedBytes = writtenBytes
    yield needsRest ? "sync" : "turn"
  }
  sourceChecksum.update(tableBytes)
  const checksum64 = sourceChecksum.digest()
  if (checksum64 !== job.sourceChecksum64) {
    const [actual, expected] = [checksum64, job.sourceChecksum64].map((value) => value.toString(16))
    throw corrupt(job.source, `has the checksum ${actual}, expected is ${expected}`)
  }
  targetChecksum.check(job.source, job.targetChecksum64)
  yield "sync"
  return undefined
}

const decode = (codec: FrameCodec, compressed: Uint8Array, frame: ZstdFrame, job: DecompressJob): Uint8Array => {
  try {
    return codec.decompress(compressed, frame.contentBytes)
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error
    throw corrupt(job.source, `frame ${frame.index} at ${frame.compressedOffset}: ${error.detail}`)
  }
}

/** Reads the table and keeps its bytes for the checksum of the file. */
const readTable = (source: JobFile, job: DecompressJob): { readonly table: SeekTable; readonly bytes: Uint8Array } => {
  const fileBytes = job.sourceBytes
  const end = new Uint8Array(Math.min(seekTableBytes(0), fileBytes))
  readAll(job.source, source, end, end.length, fileBytes - end.length)
  const tableBytes = seekTableBytesOf(end, fileBytes)
  if (tableBytes !== undefined) {
    const bytes = new Uint8Array(tableBytes)
    readAll(job.source, source, bytes, tableBytes, fileBytes - tableBytes)
    const table = decodeSeekTable(bytes, { fileBytes, contentBytes: job.targetBytes })
    if (table !== undefined) return { table, bytes }
  }
  throw corrupt(job.source, `has no seek table for ${fileBytes} bytes of file and ${job.targetBytes} of segment`)
}
