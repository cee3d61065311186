// The loop that appends, for the process that gets killed and for the one that goes on after it.

import { setImmediate } from "node:timers/promises"
import { failed } from "./failure.ts"
import type { LineReader } from "./line_reader.ts"
import type { Run, Store } from "./store.ts"

export interface AppendProgress {
  /** Lines of the input taken so far, those included that the store already had. */
  lines: number
  /** The last record appended here; 0 before the first one. */
  recordId: number
}

export interface AppendLinesOptions {
  /** Ends early when this many bytes of the input are taken. */
  readonly bytesMax?: number
  readonly signal: AbortSignal
  /** Called now and then, when some lines are appended; not awaited. */
  readonly onAppended?: () => void
}

/**
 * Appends the lines of the input as records of a run. `tryAppend` costs no promise; a negative result says that the disk is
 * behind, and `ready` waits until it is not. Waiting for the next block of input lets everything else have its turn:
 * syncs, the follower, Ctrl-C.
 */
export async function appendLines(
  store: Store,
  run: Run,
  reader: LineReader,
  progress: AppendProgress,
  { bytesMax = Number.POSITIVE_INFINITY, signal, onAppended }: AppendLinesOptions,
): Promise<void> {
  do {
    while (reader.next()) {
      if (!reader.hasLineFeed) await noteMissingLineFeed(store, run, run.firstNumber + progress.lines)
      let recordId = store.lines.tryAppend(reader.line)
      while (recordId < 0) {
        await store.lines.ready({ signal })
        recordId = store.lines.tryAppend(reader.line)
      }
      progress.recordId = recordId
      progress.lines++
      if (reader.takenBytes >= bytesMax) return
    }
    onAppended?.()
    // Reading from the page cache may be answered at once; a turn of the event loop is due all the same.
    await setImmediate()
    signal.throwIfAborted()
  } while (await reader.fill())
}

/** Passes over the lines that the store already has, up to `lines` of them. */
export async function skipLines(
  store: Store,
  run: Run,
  reader: LineReader,
  progress: AppendProgress,
  { lines, signal }: { readonly lines: number; readonly signal: AbortSignal },
): Promise<void> {
  while (progress.lines < lines) {
    if (reader.next()) {
      // The killed process may not have come to note it durably.
      if (!reader.hasLineFeed) await noteMissingLineFeed(store, run, run.firstNumber + progress.lines)
      progress.lines++
    } else if (await reader.fill()) signal.throwIfAborted()
    else throw failed(`the store holds ${lines} records of this run, the input has ${progress.lines} lines now`)
  }
}

/** Once a record: the killed process may have noted it already. It becomes durable with the flush before the run's end. */
async function noteMissingLineFeed(store: Store, run: Run, recordNumber: number): Promise<void> {
  if (run.withoutLineFeed.has(recordNumber)) return
  run.withoutLineFeed.add(recordNumber)
  await store.runs.append({ type: "noLineFeed", run: run.run, recordNumber }, { level: "buffered" })
}
