// Reading everything back: each finished run must give the checksum that was taken when it was ingested.

import { setImmediate } from "node:timers/promises"
import type { Cursor } from "bop-aof"
import { move } from "./cursor_move.ts"
import { LineHash } from "./line_hash.ts"
import type { Samples } from "./samples.ts"
import type { Run } from "./store.ts"

const recordsPerTurn = 4096

export interface ReadBack {
  records: number
  /** Payload bytes: lines without their LFs. */
  bytes: number
}

export interface RunCheck {
  readonly run: Run
  readonly sha256: string
  readonly isEqual: boolean
}

/**
 * Moves `cursor`, which stands before the first record, to the end and checks the finished runs on the way. Records of
 * a run that did not come to its end are read, but there is nothing to compare them with. Segments that are not on this disk
 * are fetched as they come. `samples` is shown each record.
 */
export async function verifyRuns(
  cursor: Cursor,
  runs: ReadonlyArray<Run>,
  readBack: ReadBack,
  signal: AbortSignal,
  samples?: Samples,
): Promise<ReadonlyArray<RunCheck>> {
  const checks: Array<RunCheck> = []
  const finished = runs.filter((run) => run.endNumber !== undefined)
  let hash = new LineHash()
  let at = 0
  /** Closes the books of each run that ends before `recordNumber`. */
  const settle = (recordNumber: number): void => {
    while (at < finished.length && recordNumber >= finished[at]!.endNumber!) {
      const run = finished[at++]!
      const sha256 = hash.hex()
      checks.push({ run, sha256, isEqual: sha256 === run.sha256 })
      hash = new LineHash()
    }
  }
  for (;;) {
    const moved = move(cursor)
    if (moved === "end") break
    if (moved === "away") {
      await cursor.ready({ signal })
      continue
    }
    const { buffer, payloadStart, payloadEnd, recordNumber } = cursor
    settle(recordNumber)
    const run = finished[at]
    if (run !== undefined && recordNumber >= run.firstNumber) {
      hash.add(buffer, payloadStart, payloadEnd, !run.withoutLineFeed.has(recordNumber))
    }
    samples?.look(cursor)
    readBack.records++
    readBack.bytes += payloadEnd - payloadStart
    if (readBack.records % recordsPerTurn === 0) {
      await setImmediate()
      signal.throwIfAborted()
    }
  }
  settle(Number.POSITIVE_INFINITY)
  return checks
}
