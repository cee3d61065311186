// What the parts of one job share, and how they open the store.

import type { Cursor } from "bop-aof"
import { move } from "./cursor_move.ts"
import type { Input } from "./input.ts"
import type { MemoryWatch } from "./memory.ts"
import { duration } from "./numbers.ts"
import type { Progress } from "./progress.ts"
import { openStore, type Place, type Store } from "./store.ts"
import { tierNames, tierPicture } from "./tier_picture.ts"

export interface Job {
  readonly place: Place
  readonly input: Input
  readonly signal: AbortSignal
  readonly progress: Progress
  readonly memory: { readonly own: MemoryWatch; child: MemoryWatch | undefined }
  /** Rows of the table at the end. */
  readonly rows: Array<readonly [string, string]>
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Where the segments are, behind a line of the output. */
export function placesOf(store: Store): string {
  return `[${tierPicture(store.lines.segments())}]`
}

export interface Reopened {
  readonly store: Store
  readonly cursor: Cursor
  readonly ms: number
}

/** What a time of `reopen` is of, with where the first record was. */
export function reopenedText({ store, ms }: Reopened): string {
  const { isClean } = store.manager.recovery
  const tier = store.lines.segments()[0]?.tier
  const opening = isClean ? "opening, nothing to recover" : "opening and recovery"
  return `${duration(ms)}: ${opening}, first record from ${tier === undefined ? "the segment being written" : tierNames[tier]}`
}

/** Opens the store and moves to its first record: as fast as a program can have its data after a crash. */
export async function reopen({ place, signal }: Pick<Job, "place" | "signal">): Promise<Reopened> {
  const startedMs = performance.now()
  const store = await openStore(place)
  try {
    const cursor = store.lines.cursor({ from: "start" })
    while (move(cursor) === "away") await cursor.ready({ signal })
    const ms = performance.now() - startedMs
    cursor.close()
    // The caller wants to read the first record as well.
    return { store, cursor: store.lines.cursor({ from: "start" }), ms }
  } catch (error) {
    await store.manager.close()
    throw error
  }
}
