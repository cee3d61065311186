/**
 * One open file. `…Unsafe` calls are synchronous, throw `Unavailable` and serve the hot path; the others run off the main
 * thread where the runtime can. Positions and lengths are bytes.
 */
import type * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"

/** An open file. */
export interface SegmentFile {
  /** Where it was opened. */
  readonly path: string
  /** Writes all of `buffer[start, end)` at `position` (a short write goes on), or throws `Unavailable`. */
  readonly writeUnsafe: (buffer: Uint8Array, start: number, end: number, position: number) => void
  /** Reads into `buffer[start, end)`; returns the bytes read, fewer only at the end of the file. */
  readonly readUnsafe: (buffer: Uint8Array, start: number, end: number, position: number) => number
  /** The current length. */
  readonly sizeUnsafe: () => number
  /**
   * The first `length` bytes as read-only memory, or undefined where the runtime cannot. Only for files that never shrink
   * again. The memory stays valid for as long as any view of it is held, also after close and unlink.
   */
  readonly mapUnsafe: (length: number) => Uint8Array | undefined
  /** `readUnsafe` off the main thread. The buffer is the file's until the effect has ended, which an interruption waits for. */
  readonly read: (
    buffer: Uint8Array,
    start: number,
    end: number,
    position: number,
  ) => Effect.Effect<number, Unavailable>
  /** `writeUnsafe` off the main thread. The buffer is the file's until the effect has ended, which an interruption waits for. */
  readonly write: (buffer: Uint8Array, start: number, end: number, position: number) => Effect.Effect<void, Unavailable>
  /** Makes everything written before the call durable (fdatasync). */
  readonly syncData: Effect.Effect<void, Unavailable>
  /** The same on the thread that calls, which waits for the disk; missing where that cannot be. Throws `Unavailable`. */
  readonly syncDataUnsafe?: () => void
  /** Writes zeros to `[from, to)` and syncs them. */
  readonly zeroFill: (from: number, to: number) => Effect.Effect<void, Unavailable>
  /** Cuts or extends the file to `length`; not yet synced. */
  readonly truncate: (length: number) => Effect.Effect<void, Unavailable>
  /** Releases the descriptor; a second close does nothing. */
  readonly closeUnsafe: () => void
}
