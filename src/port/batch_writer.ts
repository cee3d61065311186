/** Writes many files and makes all of it durable at once, on a thread of its own. */
import type * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"

/** What goes into one file. */
export interface BatchFile {
  /** Where it is. */
  readonly path: string
  /** False makes it fail when the file is not there. */
  readonly isNew: boolean
  /** Directories whose entries may not be durable, parents first, and that of the file last; those that are not there are made. Private, as all that is made. */
  readonly folders: ReadonlyArray<string>
  /** Where each piece of bytes goes, in any order. */
  readonly pieces: ReadonlyArray<BatchPiece>
}

/** A piece of the bytes of a batch, and where it goes. */
export interface BatchPiece {
  /** Its first byte in the bytes of the batch, */
  readonly from: number
  /** the byte behind its last one, */
  readonly to: number
  /** and where its first byte goes in the file. */
  readonly position: number
}

/** What became of one file: durable, untouched or written in part but not lost, or perhaps lost by a sync that failed. */
export type BatchOutcome = "durable" | "failed" | "lost"

/** A thread that writes batches, and syncs, one after the other. */
export interface BatchWriter {
  /** Fewer files are as well written and synced one by one. */
  readonly filesMin: number
  /** True while it is not worth while, as others have much to write. */
  readonly isResting: boolean
  /**
   * Writes the pieces of all files and makes them durable, with all that was written to these files before, their lengths and the entries of
   * their directories; answers for each file. Fails with `ENOTSUP` where there is no such thread, `EAGAIN` while it is not worth while, and nothing
   * was written then. `bytes` belong to the writer until the effect has ended, which an interruption waits for.
   */
  readonly write: (
    files: ReadonlyArray<BatchFile>,
    bytes: Uint8Array,
  ) => Effect.Effect<ReadonlyArray<BatchOutcome>, Unavailable>
  /** From now on it is known of each write that is lost; throws `Unavailable`. `write` does it by itself. */
  readonly watchUnsafe: () => void
  /**
   * Makes durable all that was written below the directory between `watchUnsafe` and the call, whoever wrote it, and the entries of all directories; `count` syncs are
   * spared by it. Fails with `ENOTSUP` and `EAGAIN` as `write` does, and with `EIO` when something may have been lost, which is not said again.
   */
  readonly sync: (count: number) => Effect.Effect<void, Unavailable>
  /** Ends the thread. A batch that is on its way is cut off behind the call that it is in, and what became of its files is not known. */
  readonly close: Effect.Effect<void>
}
