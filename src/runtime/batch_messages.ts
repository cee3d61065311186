/** What the main thread and the thread that writes batches say to each other: one batch at a time, and one answer to each. */
import type { BatchFile, BatchOutcome } from "../port/batch_writer.ts"

/** To the thread. */
export interface BatchRequest {
  readonly files: ReadonlyArray<BatchFile>
  readonly bytes: Uint8Array
  /** A descriptor on the file system that was open before anything of the batch was written; undefined to sync each file by itself. */
  readonly descriptor: number | undefined
}

/** From the thread: it is there, or what became of the files of the batch. */
export type BatchMessage =
  | { readonly type: "ready" }
  | {
      readonly type: "done"
      readonly outcomes: ReadonlyArray<BatchOutcome>
      /** How long the sync of the whole took, ms; undefined when each file was synced by itself. */
      readonly wholeMs: number | undefined
    }
