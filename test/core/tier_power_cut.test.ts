// The power is cut while segments move between the tiers, with the objects on the same disk, and of what was not synced different
// parts are kept. Afterwards, always: what `power_cut.test.ts` asks for, by every way of reading; no object that the manifest names is
// missing; the budgets hold; and when the tiers have settled nothing is left that the manifest does not name.
// BOP_AOF_CRASH_SEEDS=N runs N other runs with every operation and more choices, BOP_AOF_CRASH_FROM says from which seed on.

import { describe, expect, test } from "bun:test"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, type Found, type StreamMoment, type Survivors, withStore } from "../support/crash_model.ts"
import { checkBudgets, checkFiles, checkFollow, checkRecords } from "../support/tier_check.ts"
import { TierRun, tierOptions } from "../support/tier_workload.ts"

type Choose = Parameters<MemoryDisk["crash"]>[0]

const extraSeeds = Number(process.env.BOP_AOF_CRASH_SEEDS ?? 0)
const isDeep = extraSeeds > 0

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly streams: ReadonlyArray<StreamMoment>
}

const passive = ["read", "list", "open", "readFile", "sizeOf"]

/** Runs two sessions and keeps the disk as it was before each `stride`th operation. */
const record = async (seed: number, steps: number, stride: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const run = new TierRun()
  const moments: Array<Moment> = []
  let count = seed
  disk.onOperation = ({ kind, path, sequence, from, to }) => {
    if (passive.includes(kind) || count++ % stride !== 0) return
    const operation = `${sequence} ${kind} ${path} ${from} ${to}`
    moments.push({ disk: disk.fork(), operation, streams: run.moments() })
  }
  await withStore(disk.layer, tierOptions, (manager) => run.work(manager, seed, steps))
  await withStore(disk.layer, tierOptions, (manager) => run.work(manager, seed + 100, steps >> 1))
  disk.onOperation = undefined
  moments.push({ disk: disk.fork(), operation: "closed", streams: run.moments() })
  return moments
}

const choices = (seed: number): ReadonlyArray<readonly [string, Choose]> => [
  ["nothing kept", () => false],
  ["everything kept", () => true],
  ["entries kept, bytes not", (one) => one.kind !== "write" && one.kind !== "truncate"],
  ["bytes kept, entries not", (one) => one.kind === "write" || one.kind === "truncate"],
  [`half kept, seed ${seed}`, chance(seed, 8)],
  [`most kept, seed ${seed}`, chance(seed + 1000, 14)],
]

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
      const { first: from, ids } = found
      const added = { payload: "after the end", extId: 1_000_000, batch: 0, id: ids.at(-1)! }
      const records = [...one.records.slice(0, from + ids.length - 1), added]
      return [{ ...one, records, count: records.length, durable: records.length }]
    })
    expect([...(await checkRecords(manager, grownMoments, "durable"))]).toEqual([...grown])
    expect(manager.recovery.isClean).toBe(true)
  })
}

const attempt = async (what: string, run: () => Promise<void>): Promise<string | undefined> => {
  try {
    await run()
    return undefined
  } catch (error) {
    const { message, stack } = error as Error
    return isDeep ? `${what}: ${stack}` : `${what}: ${message}`
  }
}

const seeds = Array.from(
  { length: Math.max(1, extraSeeds) },
  (_, one) => one + 1 + Number(process.env.BOP_AOF_CRASH_FROM ?? 0),
)

describe("after a power cut while segments move", () => {
  test.each(seeds)(
    "in run %i, all that was durable is there in every tier and nothing is left over",
    async (seed: number) => {
      const failures: Array<string> = []
      const moments = await record(seed, isDeep ? 30 : 24, isDeep ? 3 : 7)
      for (const [index, moment] of moments.entries()) {
        const all = choices(seed * 1000 + index)
        for (const [name, choose] of isDeep ? all : [all[index % all.length]!]) {
          const disk = moment.disk.fork()
          disk.crash(choose)
          const failure = await attempt(`run ${seed}, cut before ${moment.operation}, ${name}`, () =>
            check(moment, disk, "durable", seed + index),
          )
          if (failure !== undefined) failures.push(failure)
        }
        if (failures.length > 5) break
      }
      expect(failures).toEqual([])
    },
    600_000,
  )

  test.each(seeds)(
    "while the store is opened after one, in run %i, nothing more is lost",
    async (seed: number) => {
      const failures: Array<string> = []
      const moments = await record(seed + 50, 16, isDeep ? 11 : 97)
      for (const [index, moment] of moments.entries()) {
        const first = moment.disk.fork()
        first.crash(chance(seed + index, 10))
        const openings: Array<readonly [MemoryDisk, string]> = []
        first.onOperation = ({ kind, path, from, to }) => {
          if (!passive.includes(kind)) openings.push([first.fork(), `${kind} ${path} ${from} ${to}`])
        }
        await withStore(first.layer, tierOptions, (manager) => manager.settled())
        for (const [at, [disk, operation]] of openings.entries()) {
          if ((at + index) % (isDeep ? 4 : 17) !== 0) continue
          disk.crash(chance(seed + index + at, [8, 0, 14, 16][at % 4]!))
          const failure = await attempt(`run ${seed}, cut before ${moment.operation}, then before ${operation}`, () =>
            check(moment, disk, "durable", seed + at),
          )
          if (failure !== undefined) failures.push(failure)
        }
        if (failures.length > 5) break
      }
      expect(failures).toEqual([])
    },
    600_000,
  )
})

describe("after a kill while segments move", () => {
  test.each(seeds)(
    "in run %i, all that was written is there in every tier and nothing is left over",
    async (seed: number) => {
      const failures: Array<string> = []
      for (const [index, moment] of (await record(seed + 200, 24, isDeep ? 3 : 17)).entries()) {
        const disk = moment.disk.fork()
        disk.kill()
        const failure = await attempt(`run ${seed}, killed before ${moment.operation}`, () =>
          check(moment, disk, "written", seed + index),
        )
        if (failure !== undefined) failures.push(failure)
        if (failures.length > 5) break
      }
      expect(failures).toEqual([])
    },
    600_000,
  )
})
