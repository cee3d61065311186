// The power is cut at every operation of a short run, and of what was not synced different parts are kept. Afterwards, always:
// every record acknowledged durable is there, once and in order, with its id; what follows is a beginning of what was appended; a
// batch is whole or not there; no acknowledged trim or deletion is undone; nothing is reported as damage; the next openings find the
// same; appends and seals go on, and no id comes twice. A process that was only killed has lost nothing that was written.
// BOP_AOF_CRASH_SEEDS=N runs N other runs with more choices.

import { describe, expect, test } from "bun:test"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import {
  chance,
  checkStream,
  checkStreams,
  type Found,
  type StreamMoment,
  type Survivors,
  withStore,
} from "../support/crash_model.ts"
import { Run, workloadOptions } from "../support/crash_workload.ts"
import {
  type Choose,
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

/** Runs two sessions and keeps the disk as it was before each operation. */
const record = async (seed: number, steps: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const run = new Run()
  const moments: Array<Moment> = []
  const keep = (operation: string): void => {
    moments.push({ disk: disk.fork(), operation, streams: run.moments() })
  }
  disk.onOperation = (operation) => {
    if (isChange(operation)) keep(operationText(operation))
  }
  await withStore(disk.layer, workloadOptions, (manager) => run.work(manager, seed, steps))
  await withStore(disk.layer, workloadOptions, (manager) => run.work(manager, seed + 100, steps >> 1))
  disk.onOperation = undefined
  keep("closed")
  return moments
}

/** Ways to lose what was not synced. The single ones go through all candidates in the course of a run. */
const choices = (disk: MemoryDisk, seed: number): ReadonlyArray<readonly [string, Choose]> => {
  const count = Math.max(1, disk.candidates().length)
  const only = (index: number, isKept: boolean): Choose => {
    let at = 0
    return () => (at++ === index) === isKept
  }
  const singles = isDeep ? Math.min(count, 12) : 1
  const picked = Array.from({ length: singles }, (_, one) => (seed * 7 + one * 13) % count)
  return [
    ...cutChoices(seed),
    ...picked.map((index) => [`only ${index} kept`, only(index, true)] as const),
    ...picked.map((index) => [`only ${index} lost`, only(index, false)] as const),
  ]
}

/** Checks a store after its end, goes on with it, and checks again. */
const check = async (moment: Moment, disk: MemoryDisk, survivors: Survivors, seed: number): Promise<void> => {
  const first = await withStore(disk.layer, workloadOptions, (manager) =>
    checkStreams(manager, moment.streams, survivors),
  )
  // What was answered once stays, whatever happens then.
  disk.crash(chance(seed, 8))
  const grown = new Map<string, Found>()
  await withStore(disk.layer, workloadOptions, async (manager) => {
    const second = await checkStreams(manager, moment.streams, survivors)
    expect([...second]).toEqual([...first])
    for (const [name, { first: from, ids }] of second) {
      const stream = await manager.stream(name)
      const ack = await stream.append("after the end", { extId: 1_000_000 })
      expect(ack.recordNumber).toBe(from + ids.length)
      checkFresh(moment.streams.find((one) => one.name === name)!, ack.recordId, survivors)
      await stream.seal()
      grown.set(name, { first: from, ids: [...ids, ack.recordId] })
    }
  })
  disk.crash(() => false)
  await withStore(disk.layer, workloadOptions, async (manager) => {
    for (const [name, { first: from, ids }] of grown) {
      const moment2 = moment.streams.find((one) => one.name === name)!
      const all = grownMoment(moment2, { first: from, ids })
      expect(await checkStream(await manager.stream(name), all, "durable")).toEqual({ first: from, ids })
    }
    expect(manager.recovery.isClean).toBe(true)
  })
}

/** After a kill the id is above every one that the caller has seen, also those of lost records. */
const checkFresh = (moment: StreamMoment, id: number, survivors: Survivors): void => {
  if (survivors === "durable" || id > moment.idMax) return
  throw new Error(`stream ${moment.name}: id ${id} is not above ${moment.idMax}, which was given before`)
}

describe("after a power cut", () => {
  test.each([...cutSeeds])(
    "at every operation of run %i, all that was durable is there and nothing else is wrong",
    async (seed: number) => {
      const failures = new Failures()
      const moments = await record(seed, isDeep ? 24 : 14)
      for (const [index, moment] of moments.entries()) {
        for (const [name, choose] of choices(moment.disk, seed * 1000 + index)) {
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
    "while a store is opened after a power cut, in run %i, nothing more is lost",
    async (seed: number) => {
      const failures = new Failures()
      const moments = await record(seed + 50, 10)
      const stride = isDeep ? 1 : 3
      for (let index = seed % stride; index < moments.length && !failures.areMany; index += stride) {
        const moment = moments[index]!
        const first = moment.disk.fork()
        first.crash(chance(seed + index, 10))
        const cuts = await openings(first, () => withStore(first.layer, workloadOptions, async () => {}))
        for (const [at, [disk, operation]] of cuts.entries()) {
          if (!isDeep && (at + index) % 3 !== 0) continue
          disk.crash(chance(seed + index + at, [8, 0, 14, 16][at % 4]!))
          await failures.attempt(`run ${seed}, cut before ${moment.operation}, then before ${operation}`, () =>
            check(moment, disk, "durable", seed + at),
          )
        }
      }
      failures.end()
    },
    600_000,
  )
})

describe("after a kill", () => {
  test.each([...cutSeeds])(
    "at every operation of run %i, all that was written is there and no id comes again",
    async (seed: number) => {
      const failures = new Failures()
      for (const [index, moment] of (await record(seed + 200, isDeep ? 24 : 14)).entries()) {
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
