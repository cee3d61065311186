/**
 * Turns sealed segment files into warm ones (seekable zstd) and back. The whole-file jobs run off the main thread where the runtime
 * can; they read and write files by themselves, so that no segment passes through the main thread. A job keeps the process
 * alive until it ends, as any call of the file system does. `decodeFrameUnsafe` and `decodeRunUnsafe` run at once.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Corrupt, Unavailable } from "../model/errors.ts"

/**
 * True while others wait for syncs of the disk that a job writes to: the job leaves it to them half of the time then. Asked every few
 * milliseconds; a job without it takes it for always true.
 */
export type DiskWanted = () => boolean

/** A sealed segment to compress. */
export interface CompressJob {
  /** The sealed segment file. */
  readonly source: string
  /** The file to make; one that is there already is replaced. */
  readonly target: string
  /** Length of `source`. */
  readonly sourceBytes: number
  /** Offset in `source` behind its log frames: a zstd frame starts there, so that index and footer can be fetched alone. */
  readonly framesEnd: number
  /** CRC-64/NVME that the last 8 bytes of `source` hold, over all bytes before; the job fails `Corrupt` when they do not check. */
  readonly checksum64: bigint
  /** zstd level, 1 to 19. */
  readonly level: number
  /** Bytes of segment in one zstd frame, about, 1 KiB to 16 MiB: a frame ends where a log frame ends, a longer log frame is cut. */
  readonly frameBytes: number
  /** Whether others want the disk of `target` now. */
  readonly isDiskWanted?: DiskWanted | undefined
}

/** A warm file that was made: complete, synced, and decoded once for comparison. Its directory entry is not synced. */
export interface Compressed {
  /** Length of the file, seek table included. */
  readonly fileBytes: number
  /** zstd frames with content, without the seek table. */
  readonly frameCount: number
  /** Offset in the file of the zstd frame that starts at `framesEnd` of the segment. */
  readonly tailOffset: number
  /** CRC-64/NVME of the whole file. */
  readonly checksum64: bigint
}

/** A warm file to restore. */
export interface DecompressJob {
  /** The warm file. */
  readonly source: string
  /** The segment file to make; one that is there already is replaced. */
  readonly target: string
  /** Length of `source`; a file of another length is `Corrupt`. */
  readonly sourceBytes: number
  /** CRC-64/NVME of `source`. */
  readonly sourceChecksum64: bigint
  /** Length of the segment. */
  readonly targetBytes: number
  /** CRC-64/NVME in the last 8 bytes of the segment, over all bytes before. */
  readonly targetChecksum64: bigint
  /** Whether others want the disk of `target` now. */
  readonly isDiskWanted?: DiskWanted | undefined
}

/** Bytes of a file to checksum. */
export interface ChecksumJob {
  /** The file. */
  readonly path: string
  /** Bytes of the file that count, from `offset` on; fewer in the file is `Corrupt`. */
  readonly lengthBytes: number
  /** Where they start; default 0. */
  readonly offset?: number | undefined
  /** The checksum of what comes before them, so that a file can be taken piece by piece; default 0, for nothing. */
  readonly before?: bigint | undefined
  /** Bytes that are taken in behind those of the file. */
  readonly suffix?: Uint8Array | undefined
}

/** Compression and whole-file checksums. Interrupting a job ends it soon and leaves at most a partial target, which nobody uses. */
export interface Compressor {
  /** Makes a warm file. `Corrupt` when the source does not check. */
  readonly compress: (job: CompressJob) => Effect.Effect<Compressed, Unavailable | Corrupt>
  /** Makes a segment file out of a warm one, verified and synced; its directory entry is not. `Corrupt` when anything does not check. */
  readonly decompress: (job: DecompressJob) => Effect.Effect<void, Unavailable | Corrupt>
  /** CRC-64/NVME of bytes of a file. Never waits behind a compression. */
  readonly checksum: (job: ChecksumJob) => Effect.Effect<bigint, Unavailable | Corrupt>
  /** One zstd frame, decoded now: exactly `lengthBytes`, in a buffer of its own. Throws `Corrupt`. */
  readonly decodeFrameUnsafe: (frame: Uint8Array, lengthBytes: number) => Uint8Array
  /**
   * zstd frames that lie one behind the other, decoded now into one buffer of its own, which is faster than one by one. Undefined when one
   * of them does not check.
   */
  readonly decodeRunUnsafe: (
    packed: Uint8Array,
    frames: ReadonlyArray<{ readonly compressedBytes: number; readonly contentBytes: number }>,
  ) => Uint8Array | undefined
  /** Starts the workers before they are needed. Where none can be started nothing happens. */
  readonly warmUp: Effect.Effect<void>
  /** Ends the workers that the jobs use; a later job starts them anew. Jobs that run fail `Unavailable` with `ECANCELED`. */
  readonly close: Effect.Effect<void>
}

/** The key under which a context holds the compressor. */
export const Compressor: Context.Service<Compressor, Compressor> = Context.Service("bop-aof/port/Compressor")
