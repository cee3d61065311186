/** Syncs of work that nobody waits for, beside appends that somebody waits for. */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import type { SegmentFile } from "./segment_file.ts"

/** Makes durable what was written, and then leaves the disk to others for as long as that took: who syncs meanwhile waits for one of these at most. */
export const syncPolitely = (file: SegmentFile): Effect.Effect<void, Unavailable> =>
  Effect.flatMap(Effect.timed(file.syncData), ([duration]) => Effect.sleep(duration))
