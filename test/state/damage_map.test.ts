// What did not check is believed for a while, a longer one each time, and only what overlaps it is touched.

import { expect, test } from "bun:test"
import { DamageMap, Doubt, doubtMsFirst, doubtMsMax } from "../../src/state/damage_map.ts"

const span = (from: number, to: number) => ({ from, to })

test("damage is believed for a second, then four times as long each time it is found again, a minute at most", () => {
  const doubt = new Doubt()
  expect(doubt.isBelieved(0)).toBe(false)
  let nowMs = 0
  for (const holdMs of [doubtMsFirst, 4000, 16_000, doubtMsMax, doubtMsMax]) {
    doubt.note(nowMs)
    expect([doubt.isBelieved(nowMs + holdMs - 1), doubt.isBelieved(nowMs + holdMs)]).toEqual([true, false])
    nowMs += holdMs
  }
})

test("what is found again while it is believed is believed from then on, not longer", () => {
  const doubt = new Doubt()
  doubt.note(0)
  doubt.note(900)
  expect([doubt.isBelieved(1899), doubt.isBelieved(1900)]).toEqual([true, false])
})

test("a clock that was put back holds nobody up", () => {
  const doubt = new Doubt()
  doubt.note(1_000_000)
  expect(doubt.isBelieved(0)).toBe(false)
})

test("spans are found by what they overlap, whatever the order they came in", () => {
  const map = new DamageMap()
  expect(map.note(span(20, 30), 0)).toBe(true)
  expect(map.note(span(0, 10), 0)).toBe(true)
  expect(map.note(span(10, 20), 0)).toBe(true)
  expect(map.note(span(10, 20), 0)).toBe(false)
  expect(map.firstIn(5, 15)).toMatchObject(span(0, 10))
  expect(map.firstIn(10, 11)).toMatchObject(span(10, 20))
  expect(map.firstIn(30, 40)).toBe(undefined)
  expect([map.endsAt(30), map.endsAt(25), map.endsAt(0)]).toEqual([true, false, false])
})

test("a span that is over does not hide one behind it that is believed", () => {
  const map = new DamageMap()
  map.note(span(0, 10), 0)
  map.note(span(10, 20), 500)
  expect([map.isBelievedIn(0, 20, 1200), map.isBelievedIn(0, 10, 1200)]).toEqual([true, false])
})

test("other bounds take the place of what they overlap, and what checks is forgotten", () => {
  const map = new DamageMap()
  for (const from of [0, 10, 20, 30]) map.note(span(from, from + 10), 0)
  expect(map.note(span(5, 25), 0)).toBe(false)
  expect(map.firstIn(0, 5)).toBe(undefined)
  expect(map.firstIn(0, 40)).toMatchObject(span(5, 25))
  map.forget(24, 31)
  expect(map.isEmpty).toBe(true)
})
