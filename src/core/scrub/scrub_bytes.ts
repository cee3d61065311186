/**
 * Reads files piece by piece at the pace of a scrub, past every cache of the store: what counts is what lies on the disk. Reading is
 * left to the thread pool, and the checksums of large files to the compressor's worker, so that no step holds the event loop for long.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { crc32, crc64Start } from "../../format/checksum.ts"
import { alignFrame, frameHeader, frameHeaderBytes, isFrameHeader } from "../../format/frame.ts"
import type { AofError } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import type { TierServices } from "../tiers/tier_services.ts"
import type { ScrubPace } from "./scrub_pace.ts"

/** What reading needs. */
export type ScrubServices = Pick<TierServices, "directory" | "compressor" | "eventLoop">

/** Below this a file is checksummed here: that takes less than a worker's start. */
const workerBytesMin = 1024 * 1024
/** Bytes checksummed here in one turn of the event loop: less than a millisecond. */
const sliceBytes = 256 * 1024

/** A file opened to be read for as long as the scope is open. */
export const openToRead = (directory: Directory, path: string): Effect.Effect<SegmentFile, AofError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt(() => directory.openUnsafe(path, "read")),
    (file) => Effect.sync(() => file.closeUnsafe()),
  )

/** CRC-64/NVME of the first `lengthBytes` of a file. `Corrupt` when it is shorter. */
export const pacedChecksum: (
  services: ScrubServices,
  pace: ScrubPace,
  file: { readonly path: string; readonly lengthBytes: number },
) => Effect.Effect<bigint, AofError> = Effect.fnUntraced(function* (services, pace, { path, lengthBytes }) {
  const piece = Math.min(pace.pieceBytes, lengthBytes < workerBytesMin ? sliceBytes : pace.pieceBytes)
  let before = 0n
  for (let offset = 0; offset < lengthBytes; offset += piece) {
    const count = Math.min(piece, lengthBytes - offset)
    yield* pace.take(count)
    before =
      lengthBytes < workerBytesMin
        ? yield* checksumHere(services, { path, offset, count, before })
        : yield* services.compressor.checksum({ path, offset, lengthBytes: count, before })
  }
  return before
})

/** CRC-64/NVME of the first `lengthBytes` of a file, as fast as it is read. `Corrupt` when it is shorter. */
export const fileChecksum = (
  services: ScrubServices,
  path: string,
  lengthBytes: number,
): Effect.Effect<bigint, AofError> =>
  lengthBytes < workerBytesMin
    ? Effect.suspend(() => checksumHere(services, { path, offset: 0, count: lengthBytes, before: 0n }))
    : services.compressor.checksum({ path, lengthBytes })

const checksumHere = (
  { directory }: ScrubServices,
  { path, offset, count, before }: { path: string; offset: number; count: number; before: bigint },
): Effect.Effect<bigint, AofError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* openToRead(directory, path)
      const buffer = new Uint8Array(count)
      const read = yield* file.read(buffer, 0, count, offset)
      const crc = crc64Start(before)
      crc.update(buffer.subarray(0, read))
      return crc.digest()
    }),
  )

/** CRC-64/NVME of bytes that are in memory already, continued from `before`. */
export const slicedChecksum: (
  services: Pick<ScrubServices, "eventLoop">,
  bytes: Uint8Array,
  before: bigint,
) => Effect.Effect<bigint> = Effect.fnUntraced(function* ({ eventLoop }, bytes, before) {
  const crc = crc64Start(before)
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    crc.update(bytes.subarray(at, at + sliceBytes))
    if (at + sliceBytes < bytes.length) yield* nextTurn(eventLoop)
  }
  return crc.digest()
})

/** A stretch of a file, as offsets. */
export interface Stretch {
  readonly from: number
  readonly to: number
}

/** Where the frames of a segment file lie. */
export interface FrameBounds {
  /** Offset of the first frame. */
  readonly from: number
  /** Offset at which the frames end. */
  readonly to: number
  /** Start value of their checksums. */
  readonly seed: number
}

/** Walks the frames of an open segment file and returns the stretches in which none checks. */
export const findBadFrames = (
  services: Pick<ScrubServices, "eventLoop">,
  pace: ScrubPace,
  file: SegmentFile,
  bounds: FrameBounds,
): Effect.Effect<ReadonlyArray<Stretch>, AofError> => new FrameWalk(services, pace, file, bounds).run()

/** Frames are looked at without ever being in memory whole: they may be as large as a segment. */
class FrameWalk {
  readonly #services: Pick<ScrubServices, "eventLoop">
  readonly #pace: ScrubPace
  readonly #file: SegmentFile
  readonly #bounds: FrameBounds
  readonly #buffer: Uint8Array
  readonly #view: DataView
  #base = 0
  #end = 0

  constructor(services: Pick<ScrubServices, "eventLoop">, pace: ScrubPace, file: SegmentFile, bounds: FrameBounds) {
    this.#services = services
    this.#pace = pace
    this.#file = file
    this.#bounds = bounds
    this.#buffer = new Uint8Array(Math.min(pace.pieceBytes, sliceBytes))
    this.#view = new DataView(this.#buffer.buffer)
  }

  run(): Effect.Effect<ReadonlyArray<Stretch>, AofError> {
    return Effect.gen({ self: this }, function* () {
      const { from, to } = this.#bounds
      const bad: Array<Stretch> = []
      let badFrom = -1
      for (let offset = from; offset < to; ) {
        const end = yield* this.#frameEnd(offset)
        if (end === undefined) {
          if (badFrom < 0) badFrom = offset
          offset = yield* this.#nextHeader(offset + 8)
          continue
        }
        if (badFrom >= 0) bad.push({ from: badFrom, to: offset })
        badFrom = -1
        offset = end
      }
      if (badFrom >= 0) bad.push({ from: badFrom, to })
      return bad
    })
  }

  /** Where the frame at `offset` ends; undefined when it does not check. */
  #frameEnd(offset: number): Effect.Effect<number | undefined, AofError> {
    return Effect.gen({ self: this }, function* () {
      if (!(yield* this.#has(offset, frameHeaderBytes))) return undefined
      const { seed, to } = this.#bounds
      const at = offset - this.#base
      if (!isFrameHeader(this.#view, at, offset, to)) return undefined
      const end = offset + this.#view.getUint32(at + frameHeader.at.lengthBytes, true)
      const expected = this.#view.getUint32(at, true)
      let checksum = seed
      for (let next = offset + 4; next < end; ) {
        if (!(yield* this.#has(next, 1))) return undefined
        const count = Math.min(end, this.#end) - next
        checksum = crc32(this.#buffer.subarray(next - this.#base, next - this.#base + count), checksum)
        next += count
      }
      return checksum === expected ? alignFrame(end) : undefined
    })
  }

  /** The first offset from `from` on at which a frame header may stand, or the end. */
  #nextHeader(from: number): Effect.Effect<number, AofError> {
    return Effect.gen({ self: this }, function* () {
      const { to } = this.#bounds
      for (let offset = alignFrame(from); offset < to; offset += 8) {
        if (!(yield* this.#has(offset, frameHeaderBytes))) return to
        const last = this.#end - frameHeaderBytes
        for (; offset <= last; offset += 8) {
          if (isFrameHeader(this.#view, offset - this.#base, offset, to)) return offset
        }
        offset -= 8
      }
      return to
    })
  }

  /** Makes the buffer hold `[offset, offset + length)`; false when the file ends before. */
  #has(offset: number, length: number): Effect.Effect<boolean, AofError> {
    return Effect.suspend(() => {
      if (offset >= this.#base && offset + length <= this.#end) return Effect.succeed(true)
      return Effect.gen({ self: this }, function* () {
        const wanted = Math.min(this.#buffer.length, this.#bounds.to - offset)
        yield* this.#pace.take(wanted)
        this.#end = this.#base = offset
        const count = yield* this.#file.read(this.#buffer, 0, wanted, offset)
        this.#end = offset + count
        yield* nextTurn(this.#services.eventLoop)
        return count >= length
      })
    })
  }
}
