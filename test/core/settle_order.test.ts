// Which segments catch up with the commit journal, and when.

import { describe, expect, test } from "bun:test"
import type { WritingSegment } from "../../src/core/append/writing_segment.ts"
import type { JournalFile } from "../../src/core/journal/journal.ts"
import { quietMs, quietSpanMs, type SegmentBehind, toSettle } from "../../src/core/journal/settle_order.ts"

/** Segments by name that were last appended to so long ago. */
const makeBehind = (agoMs: Readonly<Record<string, number>>, full: ReadonlyArray<ReadonlyArray<string>> = []) => {
  const nowMs = 1_000_000
  const byName = new Map<string, WritingSegment>()
  const dirty = new Map<WritingSegment, SegmentBehind>()
  for (const [name, ms] of Object.entries(agoMs)) {
    const writing = { name, segment: { maker: undefined } } as unknown as WritingSegment
    byName.set(name, writing)
    dirty.set(writing, { stream: {} as never, end: 1, lastMs: nowMs - ms, unseenSinceMs: nowMs - ms })
  }
  const files = full.map(
    (names) => ({ dirty: new Map(names.map((name) => [byName.get(name)!, 1])) }) as unknown as JournalFile,
  )
  const settling = new Set<WritingSegment>()
  const names = (isBusy: boolean, isShort: boolean): ReadonlyArray<unknown> =>
    [...toSettle({ dirty, full: files, settling }, { nowMs, isBusy, isShort })].map(
      ({ writing }) => (writing as unknown as { readonly name: string }).name,
    )
  return { names, settling, byName }
}

describe("segments behind the journal catch up", () => {
  test("when they are quiet, the one that is for longest first, and later while the journal is busy", () => {
    const { names } = makeBehind({ a: 5000, b: quietMs + 1, c: 10, d: 0 })
    expect(names(false, false)).toEqual(["a", "b"])
    expect(quietSpanMs(4, true)).toBeGreaterThan(quietSpanMs(4, false))
    const { names: busy } = makeBehind({ a: 5000, b: quietMs, c: 10 })
    expect(busy(true, false)).toEqual(["a"])
  })

  test("all of them while staging memory is short, but for those that are about to", () => {
    const { names, settling, byName } = makeBehind({ a: 50, b: 20, c: 10, d: 0 })
    expect(names(true, false)).toEqual([])
    expect(names(true, true)).toEqual(["a", "b", "c", "d"])
    settling.add(byName.get("b")!)
    expect(names(true, true)).toEqual(["a", "c", "d"])
  })

  test("before all others where they hold up a full file of the journal", () => {
    const { names } = makeBehind({ a: 50, b: 20, c: 0 }, [["c"]])
    expect(names(true, false)).toEqual(["c"])
  })
})
