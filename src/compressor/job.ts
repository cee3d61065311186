/**
 * The jobs as steps, so that a worker, which may block, and the main thread, which must not, run the same code. A step ends after
 * each zstd frame; whoever runs it looks whether the job is still wanted, and syncs the target when it is asked to.
 */
import { type Crc64, crc64Start } from "../format/checksum.ts"
import { assert } from "../model/assert.ts"
import { corrupt } from "../model/errors.ts"
import { segmentSpan } from "../model/record_id.ts"
import type { ChecksumJob, Compressed, CompressJob, DecompressJob } from "../port/compressor.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import type { FrameCodec } from "./checked_codec.ts"

/** What a job does with a file; syncing is left to whoever runs it. */
export type JobFile = Pick<SegmentFile, "readUnsafe" | "writeUnsafe" | "sizeUnsafe">

/**
 * What has to happen before the next step: nothing, the rest that the disk is given after a sync, or a sync of the target. Much is
 * written only behind a `rest`, so whoever runs the job may wait as late as there; it may also not wait at all.
 */
export type Step = "turn" | "rest" | "sync"

/** A job under way; `next` throws `Corrupt`, or what the files throw. */
export type Steps<A> = Generator<Step, A, void>

/** How a job is to be done. */
export interface JobMeans {
  readonly codec: FrameCodec
  /** Bytes after which the target is to be synced, as it is now. */
  readonly syncBytes: () => number
}

/** Which job, and its description. */
export type JobRequest =
  | { readonly kind: "compress"; readonly job: CompressJob }
  | { readonly kind: "decompress"; readonly job: DecompressJob }
  | { readonly kind: "checksum"; readonly job: ChecksumJob }

/** What comes of a job; nothing of a decompression. */
export type JobResult = Compressed | bigint | undefined

/** The file that a job reads. */
export const sourceOf = ({ kind, job }: JobRequest): string => (kind === "checksum" ? job.path : job.source)

/** The file that a job makes, if it makes one. */
export const targetOf = ({ kind, job }: JobRequest): string | undefined =>
  kind === "checksum" ? undefined : job.target

/** What a job does, for error messages. */
export const operationOf = ({ kind }: JobRequest): string =>
  ({ compress: "compressing", decompress: "decompressing", checksum: "checksumming" })[kind]

/** Bytes that are read at once. */
export const pieceBytes: number = 512 * 1024

/** Throws `Corrupt` unless the length of a segment, which comes from a disk, is one that a segment may have. */
export const checkSegmentBytes = (path: string, bytes: number): void => {
  if (Number.isInteger(bytes) && bytes > segmentChecksumBytes && bytes <= segmentSpan) return
  throw corrupt(path, `is said to hold a segment of ${bytes} bytes, which may have ${segmentSpan}`)
}

/** Throws `Corrupt` unless a file has the length that it should have. */
export const checkFileBytes = (path: string, file: JobFile, expected: number): void => {
  const bytes = file.sizeUnsafe()
  if (bytes !== expected) throw corrupt(path, `has ${bytes} bytes instead of ${expected}`)
}

/** Fills `buffer[0, length)` from a file, or throws `Corrupt`. */
export const readAll = (path: string, file: JobFile, buffer: Uint8Array, length: number, position: number): void => {
  const count = file.readUnsafe(buffer, 0, length, position)
  if (count !== length) throw corrupt(path, `ends at ${position + count}, before ${position + length}`)
}

/** A segment file ends with the checksum of all bytes before. */
const segmentChecksumBytes = 8

/** Checks the bytes of a segment as they pass, in order. */
export class SegmentChecksum {
  readonly #crc = crc64Start()
  readonly #stored = new Uint8Array(segmentChecksumBytes)
  readonly #segmentBytes: number
  #position = 0

  /** For a segment of so many bytes, more than 8. */
  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes
  }

  /** Takes the next bytes in, and into `other` as well; they are not kept. */
  updateBoth(other: Crc64, bytes: Uint8Array): void {
    if (this.#position + bytes.length <= this.#segmentBytes - segmentChecksumBytes) {
      this.#crc.updateBoth(other, bytes)
      this.#position += bytes.length
      return
    }
    this.update(bytes)
    other.update(bytes)
  }

  /** Takes the next bytes in; they are not kept. */
  update(bytes: Uint8Array): void {
    const storedAt = this.#segmentBytes - segmentChecksumBytes
    const covered = Math.max(0, Math.min(bytes.length, storedAt - this.#position))
    if (covered > 0) this.#crc.update(bytes.subarray(0, covered))
    if (covered < bytes.length) this.#stored.set(bytes.subarray(covered), this.#position + covered - storedAt)
    this.#position += bytes.length
  }

  /** Throws `Corrupt` unless the bytes have the checksum that was expected, and end with it. */
  check(path: string, expected: bigint): void {
    const actual = this.#crc.digest()
    const stored = new DataView(this.#stored.buffer).getBigUint64(0, true)
    if (this.#position === this.#segmentBytes && actual === expected && stored === expected) return
    const [actualHex, storedHex, expectedHex] = [actual, stored, expected].map((value) => value.toString(16))
    throw corrupt(path, `has the checksum ${actualHex} and says ${storedHex}, expected is ${expectedHex}`)
  }
}

/** The checksum of a stretch of a file. */
export function* checksumSteps(source: JobFile, job: ChecksumJob): Steps<bigint> {
  assert(Number.isSafeInteger(job.lengthBytes) && job.lengthBytes >= 0, "the bytes to checksum are a safe integer")
  const { offset = 0, before = 0n } = job
  assert(Number.isSafeInteger(offset) && offset >= 0, "the bytes to checksum start at a safe integer")
  const crc = crc64Start(before)
  const buffer = new Uint8Array(Math.min(pieceBytes, job.lengthBytes))
  const end = offset + job.lengthBytes
  for (let position = offset; position < end; ) {
    const length = Math.min(buffer.length, end - position)
    readAll(job.path, source, buffer, length, position)
    crc.update(buffer.subarray(0, length))
    position += length
    yield "turn"
  }
  if (job.suffix !== undefined) crc.update(job.suffix)
  return crc.digest()
}
