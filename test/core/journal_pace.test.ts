// Groups of the commit journal get slower while the file before is drained, and do not stop.
import { describe, expect, test } from "bun:test"
import type { JournalFile } from "../../src/core/journal/journal.ts"
import { JournalPace } from "../../src/core/journal/journal_pace.ts"

/** A full file of `count` segments of which `left` are not drained. */
const fileWith = (left: number, count: number): JournalFile =>
  ({ dirty: new Map(Array.from({ length: left }, () => [{}, 0])), dirtyCount: count }) as unknown as JournalFile

describe("a group of the journal", () => {
  test("waits for nobody while no file is drained", () => {
    const pace = new JournalPace()
    expect(pace.waits(0.999, undefined, 0)).toBe(false)
    expect(pace.isWaiting).toBe(false)
  })

  test("waits while its file is filled further than the other one is drained", () => {
    const pace = new JournalPace()
    const waits = (fill: number, left: number): boolean => new JournalPace().waits(fill, fileWith(left, 100), 0)
    expect([waits(0.2, 100), waits(0.3, 100)]).toEqual([false, true])
    expect([waits(0.6, 50), waits(0.65, 50)]).toEqual([false, true])
    expect([waits(0.98, 1), waits(1, 1)]).toEqual([false, true])
    expect(pace.waits(0.5, fileWith(100, 100), 0)).toBe(true)
    expect(pace.isWaiting).toBe(true)
    expect(pace.waits(0.5, fileWith(60, 100), 5)).toBe(false)
    expect(pace.isWaiting).toBe(false)
  })

  test("waits for a file no more of which nothing was drained for a second, until something is", () => {
    const pace = new JournalPace()
    const stuck = fileWith(30, 100)
    let waits = 0
    for (let nowMs = 1000; nowMs < 11_000; nowMs += 10) if (pace.waits(0.9, stuck, nowMs)) waits++
    expect(waits).toBeLessThanOrEqual(100)
    expect(pace.waits(0.9, stuck, 11_000)).toBe(false)
    stuck.dirty.delete([...stuck.dirty.keys()][0]!)
    expect(pace.waits(0.99, stuck, 11_001)).toBe(true)
    expect(new JournalPace().waits(0.9, fileWith(30, 100), 1_000_000)).toBe(true)
  })

  test("waits for a tenth of a second at most, also with a clock that was put back", () => {
    const pace = new JournalPace()
    const file = fileWith(100, 100)
    expect([pace.waits(0.5, file, 1000), pace.waits(0.5, file, 1099), pace.waits(0.5, file, 1100)]).toEqual([
      true,
      true,
      false,
    ])
    expect([pace.waits(0.5, file, 1101), pace.waits(0.5, file, 5)]).toEqual([true, false])
  })
})
