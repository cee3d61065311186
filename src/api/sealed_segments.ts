/** The sealed segments of a stream for the promise dress. */
import type { ReadLevel } from "../core/read/reader.ts"
import { checkReadLevel } from "../core/read/reader.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { SegmentWalk } from "../core/tiers/stream_residency.ts"
import { checkNames } from "../model/config_check.ts"
import { invalidArgument } from "../model/errors.ts"
import { type Cursor, dressCursor } from "./cursor.ts"
import { runPromise } from "./promise.ts"

/** Where to begin, and how far records are shown. */
export interface SealedSegmentsOptions {
  /** Index of the first segment; default the first that is left. */
  readonly from?: number | undefined
  /** Default `durable`. */
  readonly level?: ReadLevel | undefined
}

/** Walks sealed segments; each cursor lives until the next step. Leaving the loop closes it. */
export interface SealedSegmentStream extends AsyncIterableIterator<Cursor> {
  /** The cursor of the next sealed segment; undefined when there is none now: later there may be. */
  readonly nextSegment: () => Promise<Cursor | undefined>
  /** Closes the last cursor. */
  readonly close: () => void
  /** The same as `close`, for `await using`. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/** The walk of the core; throws `InvalidArgument`. */
export const planSealedSegments = (state: StreamState, options: SealedSegmentsOptions): SegmentWalk => {
  checkNames("option", options, ["from", "level"])
  const { from = 0 } = options
  if (!Number.isSafeInteger(from) || from < 0) throw invalidArgument("from", from, "an integer of at least 0")
  return new SegmentWalk(state, from, checkReadLevel(options.level))
}

/** Makes the walk; throws `InvalidArgument`. */
export const makeSealedSegments = (state: StreamState, options: SealedSegmentsOptions): SealedSegmentStream => {
  const walk = planSealedSegments(state, options)
  const nextSegment = async (): Promise<Cursor | undefined> => {
    const cursor = await runPromise(walk.next)
    return cursor === undefined ? undefined : dressCursor(cursor)
  }
  const done = { done: true, value: undefined } as const
  return {
    nextSegment,
    close: () => walk.close(),
    next: async () => {
      const value = await nextSegment()
      return value === undefined ? done : { done: false, value }
    },
    return: async () => {
      walk.close()
      return done
    },
    [Symbol.asyncIterator]() {
      return this
    },
    [Symbol.asyncDispose]: async () => walk.close(),
  }
}
