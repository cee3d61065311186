/**
 * Which segment's file catches up with the journal next: of those that hold up a full file of the journal the first, else the one that fell
 * quiet longest ago. Who only reads does not look into the journal: while few segments are behind, their bytes are written meanwhile, without a
 * sync, and one that has no file yet gets it.
 */
import { writeOut } from "../append/write_out.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { JournalFile } from "./journal.ts"

/** After so long without an append the file of a segment catches up, */
export const quietMs = 100
/** and, while the journal is busy, for each that is behind so much later: a stream out of very many is not quiet only because the others have their turns. */
const quietMsEach = 0.2
/** So long what a segment holds may be in the journal only and in no file that readers look into, */
const unseenMs = 50
/** while no more segments than these are behind: writing them takes next to nothing then. */
const seenMax = 64

/** A segment of which the journal has bytes that its own file does not hold durably. */
export interface SegmentBehind {
  readonly stream: StreamState
  /** Where in the segment these end. */
  end: number
  /** When it was last appended to, Unix milliseconds. */
  lastMs: number
  /** Since when bytes of it may be in the journal only. */
  unseenSinceMs: number
}

/** A segment that catches up, or is to. */
export interface Settling {
  readonly writing: WritingSegment
  readonly stream: StreamState
}

/** After so long without an append a segment is quiet, when so many are behind. */
export const quietSpanMs = (dirtyCount: number, isBusy: boolean): number =>
  quietMs + (isBusy ? quietMsEach * dirtyCount : 0)

/** How long it takes until one may have to catch up. */
export const sweepMs = (dirtyCount: number): number => (dirtyCount <= seenMax ? unseenMs / 2 : quietMs)

/** Those that have to catch up now, the next one first, but for those that are about to: all of them when staging memory `isShort`. */
export function* toSettle(
  { dirty, full, settling }: SettlingSegments,
  { nowMs, isBusy, isShort }: { readonly nowMs: number; readonly isBusy: boolean; readonly isShort: boolean },
): Generator<Settling, void> {
  for (const file of full) {
    for (const one of file.dirty.keys()) {
      const writing = one as WritingSegment
      const found = dirty.get(writing)
      if (found !== undefined && !settling.has(writing)) yield { writing, stream: found.stream }
    }
  }
  const quietSinceMs = nowMs - quietSpanMs(dirty.size, isBusy)
  for (const [writing, { stream, lastMs }] of dirty) {
    if (settling.has(writing)) continue
    // A clock that was put back must not make all of them wait.
    if (lastMs > quietSinceMs && lastMs <= nowMs && !isShort) break
    yield { writing, stream }
  }
  if (dirty.size > seenMax) return
  for (const [writing, { stream, unseenSinceMs }] of dirty) {
    const isUnseen = writing.segment.maker !== undefined && nowMs - unseenSinceMs >= unseenMs
    if (isUnseen && !settling.has(writing)) yield { writing, stream }
  }
}

/** Writes what has been in the journal only for long enough. */
export const showUnseen = ({ dirty, settling }: SettlingSegments, nowMs: number): void => {
  if (dirty.size > seenMax) return
  for (const [writing, one] of dirty) {
    const isDue = nowMs - one.unseenSinceMs >= unseenMs && writing.segment.maker === undefined
    if (!isDue || settling.has(writing) || one.stream.closedAs !== undefined) continue
    writeOut(one.stream)
    one.unseenSinceMs = nowMs
  }
}

/** What is behind the journal, and what of it catches up now. */
export interface SettlingSegments {
  /** The one that was appended to longest ago comes first. */
  readonly dirty: ReadonlyMap<WritingSegment, SegmentBehind>
  /** Files that are full, oldest first. */
  readonly full: Iterable<JournalFile>
  readonly settling: ReadonlySet<WritingSegment>
}
