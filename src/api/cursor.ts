/** The cursor of the promise dress. */
import { type CoreCursor, cursorReady } from "../core/read/cursor.ts"
import type { RecordView } from "../core/read/record_view.ts"
import { runWith, type WaitOptions } from "./promise.ts"

/** Walks records without an object for each; the fields of the current record live until the next move. */
export interface Cursor extends RecordView {
  /**
   * Moves to the next record. False at the watermark (later it may be true again), at the limit and at the end. Throws `Corrupt` once for
   * each damaged range and goes on behind it, `NotFound` when the next record was trimmed, `Closed` after close.
   */
  readonly next: () => boolean
  /** Resolves when `next` may be true again; at once when it may be now or never will be. */
  readonly ready: (options?: WaitOptions) => Promise<void>
  /** `Tail` when appended records lie above the watermark. */
  readonly blocked: "Tail" | undefined
  /** Gives everything back; a second close does nothing. */
  readonly close: () => void
  /** The same as `close`, for `using`. */
  readonly [Symbol.dispose]: () => void
}

/** Dresses a cursor of the core. */
export const dressCursor = (cursor: CoreCursor): Cursor =>
  Object.assign(cursor, {
    ready: (options?: WaitOptions): Promise<void> => runWith(() => cursorReady(cursor), options),
    [Symbol.dispose]: (): void => cursor.close(),
  })
