// The shrinker, on a run that fails whatever it does: an option that no store takes.

import { expect, test } from "bun:test"
import { kindOf, makePlan, shrink } from "../../src/testing/simulation/mod.ts"

test("shrink() drops all that a violation does not need, and keeps the violation", async () => {
  const plan = { ...makePlan(1, 60), segmentBytes: 1 }
  const { plan: least, result, tries } = shrink(plan, 200)
  expect(result.violation).toContain("opening failed with InvalidArgument: segmentBytes is 1")
  expect(least.sessions).toEqual([])
  expect(least.segmentBytes).toBe(1)
  expect(tries).toBeLessThanOrEqual(200)
})

test("shrink() tries nothing when nothing is wrong", async () => {
  const plan = { ...makePlan(2, 5), damage: "none" as const }
  const { plan: same, tries, result } = shrink(plan, 100)
  expect([same, tries, result.violation]).toEqual([plan, 0, undefined])
})

test("kindOf() tells violations apart by their words and not by their numbers", () => {
  const one = kindOf('stream s1: entry 5 with the id 268437048, acknowledged durable, is gone, "x"')
  expect(kindOf('stream s22: entry 7 with the id 536872504, acknowledged durable, is gone, "y"')).toBe(one)
  expect(kindOf("deleted stream s1 is back")).not.toBe(one)
})
