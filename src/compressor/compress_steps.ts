/**
 * From a segment to a warm file. Each zstd frame is decoded right after it was made, and compared: a codec with an error must not
 * cost data. The source is read once, so the bytes whose checksum is checked are those that were compressed.
 */
import { Buffer } from "node:buffer"
import { crc64Start } from "../format/checksum.ts"
import { encodeSeekTable, storedContent, zstdContentBytesMax } from "../format/seekable_zstd.ts"
import { assert } from "../model/assert.ts"
import { corrupt, unavailable } from "../model/errors.ts"
import type { Compressed, CompressJob } from "../port/compressor.ts"
import type { FrameCodec } from "./checked_codec.ts"
import { cutWindowBytes, FrameCutter } from "./frame_cutter.ts"
import {
  checkFileBytes,
  checkSegmentBytes,
  type JobFile,
  type JobMeans,
  pieceBytes,
  readAll,
  SegmentChecksum,
  type Steps,
} from "./job.ts"
import { LevelChoice } from "./level_choice.ts"

/** Smallest size of zstd frames that may be asked for. */
const frameBytesMin = 1024

/** Makes the warm file. `target` is empty. */
export function* compressSteps(
  source: JobFile,
  target: JobFile,
  { codec, syncBytes }: JobMeans,
  job: CompressJob,
): Steps<Compressed> {
  checkJob(job)
  checkFileBytes(job.source, source, job.sourceBytes)
  const window = new SourceWindow(source, job)
  const cutter = new FrameCutter(job)
  const checksum = new SegmentChecksum(job.sourceBytes)
  const choice = new LevelChoice(codec, job.level)
  const writer = new WarmWriter(target)
  let tailOffset: number | undefined
  for (let start = 0; start < job.sourceBytes; ) {
    if (start === job.framesEnd) tailOffset = writer.fileBytes
    window.fill(start)
    const end = cutter.cut(window.bytes, window.offset, start)
    const content = window.bytes.subarray(start - window.offset, end - window.offset)
    writer.addFrame(makeFrame(codec, choice, content, job), content, checksum)
    start = end
    yield "turn"
    if (writer.gatheredBytes >= syncBytes()) yield* writer.write()
  }
  checksum.check(job.source, job.checksum64)
  const result = writer.finish(tailOffset)
  yield* writer.write()
  return result
}

const checkJob = ({ source, target, sourceBytes, framesEnd, level, frameBytes }: CompressJob): void => {
  assert(source !== target, "a warm file is another file than its segment")
  assert(Number.isInteger(level) && level >= 1 && level <= 19, "the level is 1 to 19")
  const isSize = Number.isInteger(frameBytes) && frameBytes >= frameBytesMin && frameBytes <= zstdContentBytesMax / 2
  assert(isSize, `frames have ${frameBytesMin} to ${zstdContentBytesMax / 2} bytes`)
  checkSegmentBytes(source, sourceBytes)
  if (Number.isInteger(framesEnd) && framesEnd >= 0 && framesEnd <= sourceBytes) return
  throw corrupt(source, `has frames up to ${framesEnd} and ${sourceBytes} bytes`)
}

/** One zstd frame, which is known to give its content back. */
const makeFrame = (codec: FrameCodec, choice: LevelChoice, content: Uint8Array, job: CompressJob): Uint8Array => {
  const frame = choice.compress(content)
  let decoded: Uint8Array | undefined
  try {
    decoded = codec.decompress(frame, content.length)
  } catch {
    // Not damage of the segment, so it must not be reported as such.
  }
  if (decoded !== undefined && isEqual(decoded, content)) return frame
  throw unavailable(`comparing what the zstd of ${codec.name} made with its source`, "EIO", job.source)
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** The part of the source that is in memory: what the next frame needs, and a piece ahead of it. */
class SourceWindow {
  bytes: Uint8Array = new Uint8Array(0)
  offset = 0
  readonly #source: JobFile
  readonly #job: CompressJob
  readonly #buffer: Uint8Array
  readonly #needBytes: number

  constructor(source: JobFile, job: CompressJob) {
    this.#source = source
    this.#job = job
    this.#needBytes = cutWindowBytes(job.frameBytes)
    this.#buffer = new Uint8Array(Math.min(job.sourceBytes, this.#needBytes + pieceBytes))
  }

  /** Brings in what is needed from `start` on, which never goes back. */
  fill(start: number): void {
    const { source, sourceBytes } = this.#job
    const end = this.offset + this.bytes.length
    if (end === sourceBytes || end - start >= this.#needBytes) return
    const kept = end - start
    this.#buffer.copyWithin(0, start - this.offset, end - this.offset)
    const length = Math.min(this.#buffer.length - kept, sourceBytes - end)
    readAll(source, this.#source, this.#buffer.subarray(kept), length, end)
    this.bytes = this.#buffer.subarray(0, kept + length)
    this.offset = start
  }
}

/**
 * Gathers frames and then the table, and keeps the lengths and the checksum. What is gathered is written at once and synced at once, so
 * that nothing of it is dirty while the disk is left to others.
 */
class WarmWriter {
  /** Bytes of the file, with those that are still to be written. */
  fileBytes = 0
  readonly #target: JobFile
  readonly #crc = crc64Start()
  readonly #compressedBytes: Array<number> = []
  readonly #contentBytes: Array<number> = []
  #gathered: Array<Uint8Array> = []
  #writtenBytes = 0

  constructor(target: JobFile) {
    this.#target = target
  }

  /** Takes a frame, and its content into the checksum of the segment. */
  addFrame(frame: Uint8Array, content: Uint8Array, checksum: SegmentChecksum): void {
    const stored = storedContent(frame, content.length)
    if (stored === undefined) {
      checksum.update(content)
      this.#crc.update(frame)
    } else {
      // The same bytes, as was compared: those that are written have the checksum of the segment then.
      const at = stored.byteOffset - frame.byteOffset
      this.#crc.update(frame.subarray(0, at))
      checksum.updateBoth(this.#crc, stored)
      this.#crc.update(frame.subarray(at + stored.length))
    }
    this.#gather(frame)
    this.#compressedBytes.push(frame.length)
    this.#contentBytes.push(content.length)
  }

  /** What is still to be written. */
  get gatheredBytes(): number {
    return this.fileBytes - this.#writtenBytes
  }

  /** Writes and syncs what was gathered, when the disk has had its rest. */
  *write(): Steps<void> {
    yield "rest"
    for (const bytes of this.#gathered) {
      this.#target.writeUnsafe(bytes, 0, bytes.length, this.#writtenBytes)
      this.#writtenBytes += bytes.length
    }
    this.#gathered = []
    yield "sync"
  }

  /** Adds the table, which is still to be written. */
  finish(tailOffset: number | undefined): Compressed {
    const tableOffset = this.fileBytes
    const table = encodeSeekTable(this.#compressedBytes, this.#contentBytes)
    this.#crc.update(table)
    this.#gather(table)
    return {
      fileBytes: this.fileBytes,
      frameCount: this.#compressedBytes.length,
      tailOffset: tailOffset ?? tableOffset,
      checksum64: this.#crc.digest(),
    }
  }

  #gather(bytes: Uint8Array): void {
    this.#gathered.push(bytes)
    this.fileBytes += bytes.length
  }
}
