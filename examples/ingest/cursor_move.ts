// One step of a cursor over a log whose older segments may be anywhere.

import { type Cursor, WouldBlock } from "bop-aof"

/**
 * `record`: the cursor stands on the next record. `end`: there is none now. `away`: its segment has to be fetched first, which
 * has begun; `cursor.ready()` waits for it.
 */
export function move(cursor: Cursor): "record" | "end" | "away" {
  try {
    return cursor.next() ? "record" : "end"
  } catch (error) {
    if (error instanceof WouldBlock && error.reason._tag === "Hydration") return "away"
    throw error
  }
}
