/**
 * Which segments are behind the commit journal: it has bytes of them that their own files do not hold durably. Each file of the journal knows
 * what it has itself, also of a segment of which the file before has bytes too: either may be given up first.
 */
import type { WritingSegment } from "../append/writing_segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { Journal, JournalFile } from "./journal.ts"
import { quietSpanMs, type SegmentBehind, type SettlingSegments } from "./settle_order.ts"

export class SegmentsBehind implements SettlingSegments {
  /** The one that was appended to longest ago comes first. */
  readonly dirty: Map<WritingSegment, SegmentBehind> = new Map()
  readonly settling: Set<WritingSegment> = new Set()
  /** Files that are full and wait for their streams, oldest first. */
  readonly full: Set<JournalFile> = new Set()
  readonly #journal: Journal

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** A group in `file` holds bytes of the segment up to `end`. */
  note(
    stream: StreamState,
    writing: WritingSegment,
    at: { readonly end: number; readonly file: JournalFile; readonly nowMs: number },
  ): void {
    const { end, file, nowMs } = at
    file.dirty.set(writing, end)
    const before = this.dirty.get(writing)
    if (before !== undefined) {
      before.end = end
      // Those who are appended to all the time need no new place each time: how exactly they were matters less the more there are.
      if (nowMs - before.lastMs < quietSpanMs(this.dirty.size, true) / 4) return
      before.lastMs = nowMs
      this.dirty.delete(writing)
    }
    this.dirty.set(writing, before ?? { stream, end, lastMs: nowMs, unseenSinceMs: nowMs })
  }

  /** The segment's own file holds it durably up to `offset`; true when a file of the journal needs it no more for that. */
  settled(writing: WritingSegment, offset: number): boolean {
    const dirty = this.dirty.get(writing)
    if (dirty !== undefined && offset >= dirty.end) this.dirty.delete(writing)
    let hasDrained = false
    for (const file of [...this.#journal.files]) {
      if (!this.#journal.settle(file, writing, offset)) continue
      hasDrained = true
      if (file.dirty.size === 0) this.full.delete(file)
    }
    return hasDrained
  }

  /** Nothing of it will catch up: its stream ends. The files of the journal keep what they have. */
  drop(writing: WritingSegment): void {
    this.dirty.delete(writing)
    this.settling.delete(writing)
  }
}
