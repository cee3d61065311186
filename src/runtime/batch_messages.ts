/** What the main thread and the thread that writes batches say to each other: one batch at a time, and one answer to each. */
import type { BatchFile, BatchOutcome } from "../port/batch_writer.ts"

/** Given to the thread at its start: one number, which is 1 when it must begin no more files. */
export interface BatchThreadData {
  readonly stopFlag: SharedArrayBuffer
}

/** To the thread. */
export interface BatchRequest {
  readonly files: ReadonlyArray<BatchFile>
  readonly bytes: Uint8Array
  /** A descriptor on their file system that was open before anything of the batch was written. */
  readonly descriptor: number
  /** It is not begun when the system has more than this to write, whoever it is of. */
  readonly dirtyBytesMax: number
}

/** From the thread: it is there, or cannot be of use; and what became of the files of the batch, or that it did not begin, as others have much to write. */
export type BatchMessage =
  | { readonly type: "ready" }
  | { readonly type: "refused" }
  | { readonly type: "busy" }
  | {
      readonly type: "done"
      readonly outcomes: ReadonlyArray<BatchOutcome>
      /** False when a sync has failed, or was left out as the thread was told to stop. */
      readonly isSynced: boolean
      /** How long the sync took, ms. */
      readonly syncMs: number
    }
