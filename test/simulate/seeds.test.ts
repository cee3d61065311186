// The store in a simulated world (`src/testing/simulation`), for a fixed set of seeds: whatever fails and whenever the power goes, it holds what
// it promises. Seeds that once found a bug stay here.
// BOP_AOF_SIMULATE_SEEDS=N runs N more, from BOP_AOF_SIMULATE_FROM on.

import { describe, expect, test } from "bun:test"
import { exhaust, makePlan, runPlan, simulate } from "../../src/testing/simulation/mod.ts"

const steps = 60
const extra = Number(process.env.BOP_AOF_SIMULATE_SEEDS ?? 0)
const from = Number(process.env.BOP_AOF_SIMULATE_FROM ?? 100)

/** Seed, steps, and what it finds when that is undone (`npm run mutants`). */
const found: ReadonlyArray<readonly [number, number, string]> = [
  [12, 60, "a warm file that got its name just before a power cut was counted by nobody"],
  [25, 60, "a stream with a budget below the size of a staging buffer waited for ever"],
  [56, 60, "a read that failed in recovery was taken for a mistake of the program"],
  [107, 120, "what was appended after a trim of everything was removed by the next opening"],
  [8810049, 120, "a watermark of the application was in a file of which a power cut could take the header"],
  [271, 60, "the flush loop went round while a complete segment waited for zeros"],
  [307, 60, "a stream that was opened again was not told of room in Tier 0"],
  [801342, 120, "a segment whose sealing failed, of a stream that was closed then, kept settled() waiting for ever"],
  [908634, 120, "durable() of a record that waited for zeros in a full segment was told that no record starts there"],
  [4443, 120, "an id was given again that was given before a kill, while the first file of the journal was being made"],
  [1202236, 120, "an id was lower than one given before a kill by a process that had left out indexes itself"],
  [
    1200393,
    120,
    "what followed an id of a segment without a file had a lower one, as the segment before was gone on with",
  ],
  [
    50363,
    60,
    "a flush that met a full disk where the file of its segment was to be made was answered to nobody any more",
  ],
  [9427, 60, "a repair removed a file of the manifest that HEAD names, as it looked at no HEAD"],
  [
    1795932287445,
    120,
    "a take-over that could not look at a late object noted it in part, and replicas waited for it for ever",
  ],
]

describe("the simulated store", () => {
  test("keeps its promises for a fixed set of seeds", async () => {
    for (let seed = 1; seed <= 16; seed++) {
      const { violation } = await simulate(seed, { steps })
      expect(`seed ${seed}: ${violation}`).toBe(`seed ${seed}: undefined`)
    }
  }, 300_000)

  test.each(found)(
    "keeps them for seed %i, %i steps, where %s",
    async (seed, count) => {
      expect((await simulate(seed, { steps: count })).violation).toBeUndefined()
    },
    120_000,
  )

  if (extra > 0) {
    test("keeps them for seeds from the environment", async () => {
      for (let seed = from; seed < from + extra; seed++) {
        const { violation } = await simulate(seed, { steps })
        expect(`seed ${seed}: ${violation}`).toBe(`seed ${seed}: undefined`)
      }
    }, 3_600_000)
  }

  test("survives a power cut at each third operation of a short run, and of the opening behind one", async () => {
    for (const where of ["run", "opening"] as const) {
      const keeps = ["half", "nothing", "entries", "bytes"] as const
      for (const { violation, seed } of exhaust(3, { steps: 8, keeps, stride: 3, where })) {
        expect(`seed ${seed}, ${where}: ${violation}`).toBe(`seed ${seed}, ${where}: undefined`)
      }
    }
  }, 300_000)

  test("with the same seed does the same, and with another something else", async () => {
    const one = await simulate(5, { steps: 30 })
    const again = await simulate(5, { steps: 30 })
    const other = await simulate(6, { steps: 30 })
    expect(again.hash).toBe(one.hash)
    expect(again.counts).toEqual(one.counts)
    expect(other.hash).not.toBe(one.hash)
  }, 60_000)

  test("reads what a medium has changed as it was, or as damage, and loses nothing else", async () => {
    for (const damage of ["bitFlip", "lostWrite", "misdirectedWrite"] as const) {
      for (let seed = 1; seed <= 4; seed++) {
        const { violation } = runPlan({ ...makePlan(seed, 40), damage })
        expect(`seed ${seed}, ${damage}: ${violation}`).toBe(`seed ${seed}, ${damage}: undefined`)
      }
    }
  }, 300_000)
})
