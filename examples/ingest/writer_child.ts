// The process that gets killed. It is told what to append, appends it, and reports what is durable; it does not know when
// it will be killed. When the parent is gone or wants an end, the channel between the two closes, and it ends in order.

import { appendLines } from "./append_lines.ts"
import { describe, exitCodes } from "./failure.ts"
import type { Input } from "./input.ts"
import { placesOf } from "./job.ts"
import { LineReader } from "./line_reader.ts"
import { lineBytesMax, openStore, type Place, type Run } from "./store.ts"

/** What the parent sends first. */
export interface WriterJob {
  readonly place: Place
  readonly run: Omit<Run, "withoutLineFeed">
  readonly files: Input["files"]
  /** Where to wait for the end: the parent is to have something left to do, even if it is slow to kill. */
  readonly bytesMax: number
}

/** What the child sends. */
export type WriterReport =
  | {
      readonly type: "acknowledged"
      /** The last record that is durable, as the store acknowledged it. */
      readonly recordId: number
      readonly recordNumber: number
      /** Bytes of input that are durable with it, and bytes of input that are appended. */
      readonly durableBytes: number
      readonly appendedBytes: number
      /** Where the segments are now. */
      readonly tiers: string
    }
  /** Its part is done, or there was nothing to do. */
  | { readonly type: "waiting" }
  | { readonly type: "failed"; readonly message: string; readonly exitCode: number }

const stop = new AbortController()
const report = (message: WriterReport): void => {
  // The parent may be gone, which is seen by `disconnect`.
  if (process.connected) process.send!(message, undefined, {}, () => {})
}

// Ctrl-C in a terminal reaches this process too: the parent decides.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => {})
const disconnected = new Promise<void>((resolve) => {
  process.on("disconnect", () => {
    stop.abort(new Error("the parent ended the work"))
    resolve()
  })
})

process.once("message", (job: WriterJob) => {
  work(job).then(
    () => process.exit(exitCodes.ok),
    (error) => {
      report({ type: "failed", ...describe(error) })
      // The parent closes the channel when it has the report, or has closed it to get here.
      disconnected.then(() => process.exit(exitCodes.failed))
    },
  )
})

async function work(job: WriterJob): Promise<void> {
  const store = await openStore(job.place)
  const input: Input = { title: job.run.title, files: job.files, bytes: 0, dispose: async () => {} }
  const reader = new LineReader(input, lineBytesMax)
  const progress = { lines: 0, recordId: 0 }
  try {
    let acknowledging: Promise<void> | undefined
    let reportedId = 0
    const acknowledge = async (): Promise<void> => {
      const { recordId } = progress
      const durableBytes = reader.takenBytes
      const { recordNumber } = await store.lines.durable(recordId)
      reportedId = recordId
      const tiers = placesOf(store)
      report({ type: "acknowledged", recordId, recordNumber, durableBytes, appendedBytes: reader.takenBytes, tiers })
    }
    // One group commit after another, while appending goes on: each covers all that was appended when it started.
    const onAppended = (): void => {
      if (acknowledging !== undefined || progress.recordId === reportedId) return
      acknowledging = acknowledge().finally(() => {
        acknowledging = undefined
      })
      acknowledging.catch((error) => stop.abort(error))
    }
    const run: Run = { ...job.run, withoutLineFeed: new Set() }
    await appendLines(store, run, reader, progress, {
      bytesMax: job.bytesMax,
      signal: stop.signal,
      onAppended,
    })
    await acknowledging
    if (progress.recordId !== reportedId) await acknowledge()
    report({ type: "waiting" })
    await disconnected
  } finally {
    await reader.close()
    await store.manager.close()
  }
}
