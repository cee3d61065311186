// Whatever the tiers do on disk or in the object store fails now and then. Appends go on all the same, what is read is right or a typed
// error, and when the faults are over everything drains by itself: nothing is lost, nothing is left over, the budgets hold.
// BOP_AOF_CRASH_SEEDS=1 for more chances of the object store.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { isDeep } from "../support/power_cut.ts"
import { checkBudgets, checkFiles, checkRecords } from "../support/tier_check.ts"
import { TierRun, tierOptions } from "../support/tier_workload.ts"

/** What an operation of the tiers is, without names and numbers; undefined for what belongs to the log itself. */
const placeOf = ({ kind, path, target = "" }: DiskOperation): string | undefined => {
  const file = path.replace(/^\/store\/streams\/[^/]+\//, "").replace(/\d{10}/, "N")
  if (path.startsWith("/cold")) return `${kind} ${path.split("/")[2] ?? ""}`
  if (file.startsWith("warm")) return `${kind} ${file}`
  if (file === "segments/N.seg.tmp" || target.endsWith(".zst")) return `${kind} ${file}`
  return kind === "remove" && file === "segments/N.seg" ? `${kind} ${file}` : undefined
}

/** Everything goes down and is looked at, here and after another opening. */
const checkAfterwards = async (disk: MemoryDisk, run: TierRun, options = tierOptions): Promise<void> => {
  await withStore(disk.layer, options, async (manager) => {
    await checkRecords(manager, run.moments(), "durable")
    await drain(manager)
    await checkRecords(manager, run.moments(), "durable")
    await manager.settled()
    await checkBudgets(manager, disk)
  })
}

const drain = async (manager: AofManager): Promise<void> => {
  for (const name of manager.streams()) {
    const stream = await manager.stream(name)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    expect(stream.segments().filter((one) => one.state === "sealed" && one.tier !== "tier2")).toEqual([])
  }
  await manager.settled()
}

const allPlaces = async (): Promise<ReadonlyArray<string>> => {
  const places = new Set<string>()
  for (const seed of [1, 2, 3]) {
    const disk = new MemoryDisk()
    disk.onOperation = (operation) => {
      const place = placeOf(operation)
      if (place !== undefined) places.add(place)
    }
    await withStore(disk.layer, tierOptions, (manager) => new TierRun().work(manager, seed, 24))
  }
  return [...places].sort()
}

describe("with a disk that fails under the tiers", () => {
  test("at any place and a few times in a row, nothing is lost and all drains by itself", async () => {
    const failures: Array<string> = []
    const places = await allPlaces()
    expect(places.length).toBeGreaterThan(20)
    for (const place of places) {
      for (const code of /^(write|create|makeDirectory|rename|link) /.test(place) ? ["EIO", "ENOSPC"] : ["EIO"]) {
        const disk = new MemoryDisk()
        const run = new TierRun(["Unavailable"])
        let count = 0
        try {
          await withStore(disk.layer, tierOptions, async (manager) => {
            disk.onOperation = (operation) =>
              placeOf(operation) === place && ++count > 2 && count <= 6 ? code : undefined
            await run.work(manager, 1, 24)
            disk.onOperation = undefined
            for (const name of manager.streams()) await (await manager.stream(name)).flush()
            await checkRecords(manager, run.moments(), "durable")
            await drain(manager)
            await checkBudgets(manager, disk)
          })
          await checkAfterwards(disk, run)
          await checkFiles(disk)
        } catch (error) {
          failures.push(`${place} ${code}: ${(error as Error).message.slice(0, 500)}`)
        }
      }
    }
    expect(failures).toEqual([])
  }, 300_000)
})

const rates: ReadonlyArray<readonly [string, Partial<Record<StoreFault, number>>]> = [
  ["throttles", { throttle: 0.4 }],
  ["times out before anything happens", { timeoutBefore: 0.3 }],
  ["times out when it has happened", { timeoutAfter: 0.3 }],
  ["loses answers", { lostAnswer: 0.3 }],
  ["gives parts of bodies", { partialBody: 0.3 }],
  ["gives damaged bodies", { damagedBody: 0.3 }],
  ["does not find what is there", { notFound: 0.3 }],
  [
    "does a bit of everything",
    { throttle: 0.1, internal: 0.1, timeoutAfter: 0.1, partialBody: 0.1, damagedBody: 0.05 },
  ],
]

const keysOf = async (store: ReturnType<typeof memoryStore>): Promise<ReadonlyArray<string>> =>
  (await Effect.runPromise(store.list(""))).objects.map(({ key }) => key)

describe("with an object store that", () => {
  test.each(rates.map(([name, chances]) => ({ name, chances })))(
    "$name, nothing is lost or there twice",
    async ({ chances }) => {
      for (const seed of isDeep ? [1, 2, 3, 4, 5] : [1]) {
        const inner = memoryStore()
        const faulty = new FaultyObjectStore(inner, { rates: chances, seed })
        const options = { ...tierOptions, tier2: { ...tierOptions.tier2, store: faulty } }
        const disk = new MemoryDisk()
        const run = new TierRun(["Unavailable", "Corrupt"])
        await withStore(disk.layer, options, async (manager) => {
          await run.work(manager, seed, 20)
        })
        const calm = { ...options, tier2: { ...options.tier2, store: inner } }
        await checkAfterwards(disk, run, calm)
        await checkFiles(disk, await keysOf(inner))
      }
    },
    60_000,
  )
})
