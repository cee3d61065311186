// The power is cut while segments move between the tiers, with the objects on the same disk, and of what was not synced different
// parts are kept. Afterwards, always: what `power_cut.test.ts` asks for, by every way of reading; no object that the manifest names is
// missing; the budgets hold; and when the tiers have settled nothing is left that the manifest does not name.
// BOP_AOF_CRASH_SEEDS=N runs N other runs with every operation and more choices, BOP_AOF_CRASH_FROM says from which seed on.

import { describe, expect, test } from "bun:test"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, type Found, type Survivors, withStore } from "../support/crash_model.ts"
import {
  cutChoices,
  cutSeeds,
  Failures,
  grownMoment,
  isChange,
  isDeep,
  type Moment,
  openings,
  operationText,
} from "../support/power_cut.ts"
import { checkBudgets, checkFiles, checkFollow, checkRecords } from "../support/tier_check.ts"
import { TierRun, tierOptions } from "../support/tier_workload.ts"

/** Runs two sessions and keeps the disk as it was before each `stride`th operation. */
const record = async (seed: number, steps: number, stride: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const run = new TierRun()
  const moments: Array<Moment> = []
  let count = seed
  disk.onOperation = (operation) => {
    if (!isChange(operation) || count++ % stride !== 0) return
    moments.push({ disk: disk.fork(), operation: operationText(operation), streams: run.moments() })
  }
  await withStore(disk.layer, tierOptions, (manager) => run.work(manager, seed, steps))
  await withStore(disk.layer, tierOptions, (manager) => run.work(manager, seed + 100, steps >> 1))
  disk.onOperation = undefined
  moments.push({ disk: disk.fork(), operation: "closed", streams: run.moments() })
  return moments
}

/** Checks a store after its end, goes on with it through another power cut, and checks again. */
const check = async (moment: Moment, disk: MemoryDisk, survivors: Survivors, seed: number): Promise<void> => {
  const first = await withStore(disk.layer, tierOptions, (manager) => checkRecords(manager, moment.streams, survivors))
  disk.crash(chance(seed, 8))
  const grown = new Map<string, Found>()
  await withStore(disk.layer, tierOptions, async (manager) => {
    const second = await checkRecords(manager, moment.streams, survivors)
    expect([...second]).toEqual([...first])
    for (const [name, found] of second) {
      const id = await checkFollow(manager, name, found)
      const stream = await manager.stream(name)
      await stream.seal()
      await stream.evict({ to: "tier2" })
      grown.set(name, { first: found.first, ids: [...found.ids, id] })
    }
    await manager.settled()
    await checkBudgets(manager, disk)
  })
  await checkFiles(disk)
  disk.crash(() => false)
  await withStore(disk.layer, tierOptions, async (manager) => {
    const grownMoments = moment.streams.flatMap((one) => {
      const found = grown.get(one.name)
      if (found === undefined) return []
      return [grownMoment(one, found)]
    })
    expect([...(await checkRecords(manager, grownMoments, "durable"))]).toEqual([...grown])
    expect(manager.recovery.isClean).toBe(true)
  })
}

describe("after a power cut while segments move", () => {
  test.each([...cutSeeds])(
    "in run %i, all that was durable is there in every tier and nothing is left over",
    async (seed: number) => {
      const failures = new Failures()
      const moments = await record(seed, isDeep ? 30 : 24, isDeep ? 3 : 23)
      for (const [index, moment] of moments.entries()) {
        const all = cutChoices(seed * 1000 + index)
        for (const [name, choose] of isDeep ? all : [all[index % all.length]!]) {
          const disk = moment.disk.fork()
          disk.crash(choose)
          await failures.attempt(`run ${seed}, cut before ${moment.operation}, ${name}`, () =>
            check(moment, disk, "durable", seed + index),
          )
        }
        if (failures.areMany) break
      }
      failures.end()
    },
    600_000,
  )

  test.each([...cutSeeds])(
    "while the store is opened after one, in run %i, nothing more is lost",
    async (seed: number) => {
      const failures = new Failures()
      const moments = await record(seed + 50, 16, isDeep ? 11 : 193)
      for (const [index, moment] of moments.entries()) {
        const first = moment.disk.fork()
        first.crash(chance(seed + index, 10))
        const cuts = await openings(first, () => withStore(first.layer, tierOptions, (manager) => manager.settled()))
        for (const [at, [disk, operation]] of cuts.entries()) {
          if ((at + index) % (isDeep ? 4 : 17) !== 0) continue
          disk.crash(chance(seed + index + at, [8, 0, 14, 16][at % 4]!))
          await failures.attempt(`run ${seed}, cut before ${moment.operation}, then before ${operation}`, () =>
            check(moment, disk, "durable", seed + at),
          )
        }
        if (failures.areMany) break
      }
      failures.end()
    },
    600_000,
  )
})

describe("after a kill while segments move", () => {
  test.each([...cutSeeds])(
    "in run %i, all that was written is there in every tier and nothing is left over",
    async (seed: number) => {
      const failures = new Failures()
      for (const [index, moment] of (await record(seed + 200, 24, isDeep ? 3 : 47)).entries()) {
        const disk = moment.disk.fork()
        disk.kill()
        await failures.attempt(`run ${seed}, killed before ${moment.operation}`, () =>
          check(moment, disk, "written", seed + index),
        )
        if (failures.areMany) break
      }
      failures.end()
    },
    600_000,
  )
})
