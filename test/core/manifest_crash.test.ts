// A power cut at every operation of a short run with rotations, a snapshot and its pruning, with parts of what was not synced
// kept. Afterwards: every committed record is there, once and in order, what follows is a beginning of what was staged, nothing
// is reported as damage, and what one opening has answered the next ones answer too.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendNumber, numbersOf, upTo, withManifest } from "../support/manifest.ts"

type Choose = () => boolean

/** A seeded chance of `keep` in 16 that a candidate is kept. */
const chance = (seed: number, keep: number): Choose => {
  let state = seed * 2654435761 + 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 16) % 16 < keep
  }
}

const choices = (seed: number): ReadonlyArray<readonly [string, Choose]> => [
  ["nothing kept", () => false],
  ["everything kept", () => true],
  [`half kept, seed ${seed}`, chance(seed, 8)],
  [`most kept, seed ${seed}`, chance(seed + 1000, 14)],
  [`few kept, seed ${seed}`, chance(seed + 2000, 2)],
]

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly committed: number
  readonly staged: number
}

/** Runs the writer once and keeps the disk as it was before each operation. */
const record = async (count: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const moments: Array<Moment> = []
  let committed = 0
  let staged = 0
  disk.onOperation = ({ kind, path, sequence }) => {
    if (kind === "read" || kind === "list" || kind === "open") return
    moments.push({ disk: disk.fork(), operation: `${sequence} ${kind} ${path}`, committed, staged })
  }
  await withManifest(disk, (log) =>
    Effect.gen(function* () {
      while (staged < count) {
        for (let one = 0; one < 4; one++) appendNumber(log, staged++)
        yield* log.commit
        committed = staged
      }
    }),
  )
  moments.push({ disk: disk.fork(), operation: "closed", committed, staged })
  return moments
}

/** Opens after a crash, checks, appends one more, and checks again after another end. */
const check = async (moment: Moment, disk: MemoryDisk, choose: Choose): Promise<void> => {
  const found = await withManifest(disk, (log) =>
    Effect.sync(() => ({ numbers: numbersOf(log), damage: log.replay.damage })),
  )
  const count = found.numbers.length
  expect(found.damage).toEqual([])
  expect(count).toBeGreaterThanOrEqual(moment.committed)
  expect(count).toBeLessThanOrEqual(moment.staged)
  expect(found.numbers).toEqual(upTo(count))
  disk.crash(choose)
  await withManifest(disk, (log) =>
    Effect.gen(function* () {
      expect(numbersOf(log)).toEqual(upTo(count))
      appendNumber(log, count)
      yield* log.commit
      disk.crash(choose)
    }),
  )
  await withManifest(disk, (log) => Effect.sync(() => expect(numbersOf(log)).toEqual(upTo(count + 1))))
}

describe("after a power cut", () => {
  test("at every operation, every committed record is there, once and in order", async () => {
    const moments = await record(96)
    expect(moments.some(({ operation }) => operation.includes("rename"))).toBe(true)
    let seed = 0
    for (const moment of moments) {
      for (const [name, choose] of choices(seed++)) {
        const disk = moment.disk.fork()
        disk.crash(choose)
        try {
          await check(moment, disk, choose)
        } catch (error) {
          throw new Error(`power cut before ${moment.operation}, ${name}`, { cause: error })
        }
      }
    }
  }, 120_000)

  test("while opening after a power cut, what the first opening accepted stays", async () => {
    const moments = await record(28)
    let seed = 0
    for (const moment of moments) {
      const first = moment.disk.fork()
      first.crash(chance(++seed, 12))
      const openings: Array<MemoryDisk> = []
      first.onOperation = ({ kind }) => {
        if (kind !== "read" && kind !== "list" && kind !== "open") openings.push(first.fork())
      }
      await withManifest(first, () => Effect.void)
      for (const disk of openings) {
        disk.crash(chance(seed, 8))
        await check(moment, disk, () => false)
      }
    }
  }, 120_000)

  test("while syncs fail and are repeated, nothing is lost or repeated", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const disk = new MemoryDisk()
      const fails = chance(seed, 3)
      let committed = 0
      let staged = 0
      await withManifest(disk, (log) =>
        Effect.gen(function* () {
          disk.onOperation = ({ kind }) =>
            (kind === "syncData" || kind === "write" || kind === "syncDirectory") && fails() ? "EIO" : undefined
          while (staged < 40) {
            for (let one = 0; one < 3; one++) appendNumber(log, staged++)
            const upTo = staged
            yield* Effect.match(log.commit, { onSuccess: () => (committed = upTo), onFailure: () => undefined })
          }
          disk.onOperation = undefined
          disk.crash(chance(seed, 8))
        }),
      )
      try {
        await check({ disk, operation: "", committed, staged }, disk, chance(seed, 8))
      } catch (error) {
        throw new Error(`failing syncs, seed ${seed}`, { cause: error })
      }
    }
  }, 120_000)
})
