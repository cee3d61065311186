// The store of the job, with budgets so small that segments move while it runs, and what it keeps in it: the stream `lines` with one record a line, and the stream `runs`, which says what
// lines alone can't: where each run begins and ends, its checksum, and which lines had no LF.

import { type Aof, AofManager } from "bop-aof"

/** The longest line; also what the store takes by default. */
export const lineBytesMax: number = 8 * 1024 * 1024

export type RunEvent =
  | { readonly type: "begin"; readonly run: number; readonly firstNumber: number; readonly title: string }
  | { readonly type: "noLineFeed"; readonly run: number; readonly recordNumber: number }
  | { readonly type: "end"; readonly run: number; readonly endNumber: number; readonly sha256: string }

/** A run as its events tell it: record numbers from `firstNumber` up to but not including `endNumber`. */
export interface Run {
  readonly run: number
  readonly title: string
  readonly firstNumber: number
  /** Undefined for a run that did not come to its end. */
  endNumber: number | undefined
  sha256: string | undefined
  /** Numbers of the records whose line had no LF. */
  readonly withoutLineFeed: Set<number>
}

export interface Store {
  readonly manager: AofManager
  readonly lines: Aof
  readonly runs: Aof<RunEvent>
}

/** Where a store lies: its root, and beside it the directory that is its object store. */
export interface Place {
  readonly root: string
  readonly tier2: string
}

const MiB = 1024 * 1024

/** Small, so that tens of MiB make several segments; each has room for the longest line. */
const segmentBytes = 9 * MiB
/** Four segments: one is written, one sealed, one compressed, one evicted. */
export const tier0Bytes: number = 4 * segmentBytes
/** Some three segments of text. */
export const tier1Bytes: number = 8 * MiB

export async function openStore({ root, tier2 }: Place): Promise<Store> {
  const manager = await AofManager.open({
    root,
    segmentBytes,
    recordBytesMax: lineBytesMax,
    // The smallest cache: random reads are to show what it costs to fetch.
    tier0: { bytesMax: tier0Bytes, frameCacheBytes: MiB },
    tier1: { bytesMax: tier1Bytes, residencyMsMin: 0 },
    tier2: { store: { directory: tier2 } },
  })
  try {
    const lines = await manager.stream("lines")
    return { manager, lines, runs: (await manager.stream("runs", { codec: "json" })) as Aof<RunEvent> }
  } catch (error) {
    await manager.close()
    throw error
  }
}

/** All runs of the store, oldest first. */
export async function readRuns(store: Store): Promise<ReadonlyArray<Run>> {
  const runs: Array<Run> = []
  for await (const { value } of store.runs.read()) {
    if (value.type === "begin") {
      const { run, title, firstNumber } = value
      runs[run] = { run, title, firstNumber, endNumber: undefined, sha256: undefined, withoutLineFeed: new Set() }
    } else if (value.type === "noLineFeed") {
      runs[value.run]!.withoutLineFeed.add(value.recordNumber)
    } else {
      const run = runs[value.run]!
      run.endNumber = value.endNumber
      run.sha256 = value.sha256
    }
  }
  return runs
}

/** Begins a run behind what the store holds. */
export async function beginRun(store: Store, title: string): Promise<Run> {
  const run = (await readRuns(store)).length
  const firstNumber = store.lines.info().nextRecordNumber
  await store.runs.append({ type: "begin", run, firstNumber, title })
  return { run, title, firstNumber, endNumber: undefined, sha256: undefined, withoutLineFeed: new Set() }
}
