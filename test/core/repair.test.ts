// Repair of a closed store: what is lost of the manifest, of the root file and of single files comes back from what is left; a plan says the
// same and changes nothing; it can be cut short anywhere and begun anew; and what nothing can bring back is told and left where it is.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { openWith } from "../../src/api/manager.ts"
import { repairWith } from "../../src/api/repair.ts"
import type { RepairReport } from "../../src/model/repair.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { type BaseStore, makeBase, optionsOf, type Place, readBack } from "../support/corruption.ts"
import { filesOf } from "../support/tier_check.ts"

const places: ReadonlyArray<Place> = ["hot", "warm", "cold"]

const repair = (base: BaseStore, disk: MemoryDisk, plan = false): Promise<RepairReport> => {
  const { tier2 } = optionsOf(base.place)
  return Effect.runPromise(repairWith(disk.layer, { root: "/store", plan, tier2 }))
}

const onDisk = <A>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(use(Context.get(disk.services(), Directory)) as Effect.Effect<A>)

const bytesOf = (disk: MemoryDisk, path: string): Promise<Uint8Array | undefined> =>
  onDisk(disk, (directory) => directory.readFile(path))

/** Exclusive or with the masks: times and ids differ from run to run, and a byte that is only set may be what it was. */
const flip = (disk: MemoryDisk, path: string, at: number, masks: ReadonlyArray<number>): Promise<void> =>
  onDisk(disk, (directory) =>
    Effect.sync(() => {
      const file = directory.openUnsafe(path, "write")
      const position = at < 0 ? file.sizeUnsafe() + at : at
      const bytes = new Uint8Array(masks.length)
      file.readUnsafe(bytes, 0, bytes.length, position)
      file.writeUnsafe(
        bytes.map((byte, index) => byte ^ masks[index]!),
        0,
        bytes.length,
        position,
      )
      file.closeUnsafe()
    }),
  )

const hot = (index: number): string => `/store/streams/one/segments/000000000${index}.seg`

describe("a store that is whole", () => {
  test.each(places)("%s: has nothing to repair, and nothing is changed", async (place: Place) => {
    const base = await makeBase(place)
    const disk = base.disk.fork()
    const plan = await repair(base, disk, true)
    expect([plan.isPlan, plan.isClean, plan.isWhole, plan.entries, plan.skipped]).toEqual([true, true, true, [], []])
    expect(plan.streams).toEqual(["one", "other"])
    const report = await repair(base, disk)
    expect([report.isPlan, report.isClean, report.segments]).toEqual([false, true, plan.segments])
    expect((await readBack(base, disk)).length).toBe(base.wanted.length)
  })
})

describe("the manifest", () => {
  test.each(places)(
    "%s: every stream and record is there again after its directory was deleted",
    async (place: Place) => {
      const base = await makeBase(place)
      const disk = base.disk.fork()
      await onDisk(disk, (directory) => directory.removeDirectory("/store/manifest"))
      const before = await filesOf(disk, "/store")
      const plan = await repair(base, disk, true)
      expect(await filesOf(disk, "/store")).toEqual(before)
      const report = await repair(base, disk)
      expect(plan.entries).toEqual(report.entries)
      expect([report.isWhole, report.isClean]).toEqual([true, false])
      expect(report.entries.filter(({ outcome }) => outcome === "forgotten").map(({ stream }) => stream)).toContain(
        "one",
      )
      expect(plan.changes.some((one) => one.place.startsWith("/store/manifest/"))).toBe(true)
      expect(JSON.parse(JSON.stringify(report))).toEqual(report)
      expect((await repair(base, disk)).isClean).toBe(true)
      expect(await readBack(base, disk)).toEqual(base.wanted)
    },
  )

  test("every stream is there again also where their names come in another order than they were made", async () => {
    const disk = new MemoryDisk()
    const names = ["zebra", "middle", "ant", "newest"]
    const manager = await openWith(disk.layer, { root: "/store" })
    for (const name of names) await (await manager.stream(name)).append(name)
    await manager.close()
    await onDisk(disk, (directory) => directory.removeDirectory("/store/manifest"))
    const report = await Effect.runPromise(repairWith(disk.layer, { root: "/store" }))
    expect([report.isWhole, report.streams]).toEqual([true, [...names].sort()])
    const again = await openWith(disk.layer, { root: "/store" })
    for (const name of names) expect((await again.stream(name)).info().count).toBe(1)
    await again.close()
  })

  test.each(places)("%s: and so after its files were cut to nothing, or hold something else", async (place: Place) => {
    const base = await makeBase(place)
    for (const content of [new Uint8Array(0), new Uint8Array(5000).fill(0x5a)]) {
      const disk = base.disk.fork()
      for (const path of (await filesOf(disk, "/store/manifest")).keys()) {
        await onDisk(disk, (directory) => {
          const file = directory.openUnsafe(path, "write")
          const write = Effect.sync(() => {
            if (content.length > 0) file.writeUnsafe(content, 0, content.length, 0)
            file.closeUnsafe()
          })
          return Effect.andThen(file.truncate(0), write)
        })
      }
      expect((await repair(base, disk)).isWhole).toBe(true)
      expect(await readBack(base, disk)).toEqual(base.wanted)
    }
  })
})

describe("the root file", () => {
  test("is made anew from the manifest, or from segments when that is gone too", async () => {
    const base = await makeBase("hot")
    for (const takesManifest of [false, true]) {
      for (const damage of ["gone", "spoiled"]) {
        const disk = base.disk.fork()
        if (damage === "gone") await onDisk(disk, (directory) => directory.remove("/store/ROOT"))
        else await flip(disk, "/store/ROOT", 10, [1, 2, 3, 4, 5])
        if (takesManifest) await onDisk(disk, (directory) => directory.removeDirectory("/store/manifest"))
        const refused = await openWith(disk.layer, optionsOf("hot")).then(
          () => undefined,
          (error) => error._tag,
        )
        expect(refused).toBe("Corrupt")
        const report = await repair(base, disk)
        expect(report.entries[0]?.place).toBe("/store/ROOT")
        expect(report.isWhole).toBe(true)
        expect(await readBack(base, disk)).toEqual(base.wanted)
      }
    }
  })

  test("of a directory that holds no store, nothing is made", async () => {
    const base = await makeBase("hot")
    const disk = base.disk.fork()
    for (const path of ["/store/streams", "/store/manifest"]) {
      await onDisk(disk, (directory) => directory.removeDirectory(path))
    }
    await onDisk(disk, (directory) => directory.remove("/store/ROOT"))
    const tagOf = (root: string): Promise<string> =>
      Effect.runPromise(repairWith(disk.layer, { root, tier2: false })).then(
        () => "nothing",
        (error) => error._tag,
      )
    expect([await tagOf("/store"), await tagOf("/none")]).toEqual(["Corrupt", "NotFound"])
  })
})

describe("a sealed segment that has no other copy", () => {
  const cases: ReadonlyArray<readonly [string, number, ReadonlyArray<number>]> = [
    ["a byte of its header", 40, [0xee]],
    ["a byte of a slot", 530, [0xee]],
    ["what lies between header and slots", 300, [1, 2, 3, 4, 5, 6, 7, 8]],
    ["its index", -190, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
    ["its footer", -160, Array.from({ length: 160 }, () => 7)],
    ["its last byte", -1, [0xff]],
  ]
  test.each(cases)(
    "is byte for byte what it was after %s was damaged",
    async (_: string, at: number, masks: ReadonlyArray<number>) => {
      const base = await makeBase("hot")
      const disk = base.disk.fork()
      await flip(disk, hot(1), at, masks)
      const plan = await repair(base, disk, true)
      expect(plan.entries.map(({ outcome, segmentIndex }) => [outcome, segmentIndex])).toEqual([["repaired", 1]])
      const report = await repair(base, disk)
      expect(report.entries).toEqual(plan.entries)
      expect(await bytesOf(disk, hot(1))).toEqual(base.files.get(hot(1))!)
      expect((await repair(base, disk)).isClean).toBe(true)
      expect(await readBack(base, disk)).toEqual(base.wanted)
    },
  )

  test("and a damaged frame is told, left where it is, and costs that frame", async () => {
    const base = await makeBase("hot")
    const disk = base.disk.fork()
    await flip(disk, hot(1), 2000, [1, 2, 3, 4])
    const report = await repair(base, disk)
    expect(report.entries.map(({ outcome, segmentIndex }) => [outcome, segmentIndex])).toEqual([["lost", 1]])
    expect(report.isWhole).toBe(false)
    expect((await bytesOf(disk, hot(1)))!.length).toBe(base.files.get(hot(1))!.length)
    const left = await readBack(base, disk)
    expect(base.wanted.length - left.length).toBe(2)
  })
})

test("a footer that is lost together with the manifest is made of the frames", async () => {
  const base = await makeBase("hot")
  const disk = base.disk.fork()
  await onDisk(disk, (directory) => directory.removeDirectory("/store/manifest"))
  for (const index of [1, 2]) {
    await flip(
      disk,
      hot(index),
      -160,
      Array.from({ length: 160 }, () => 9),
    )
  }
  expect((await repair(base, disk)).isWhole).toBe(true)
  expect(await readBack(base, disk)).toEqual(base.wanted)
})

test("a root that is held is not touched", async () => {
  const base = await makeBase("hot")
  const disk = base.disk.fork()
  const manager = await openWith(disk.layer, optionsOf("hot"))
  const error = await repair(base, disk).then(
    () => undefined,
    (one) => one,
  )
  expect([error?._tag, error?.code]).toEqual(["Unavailable", "EBUSY"])
  await manager.close()
})

describe("cut short", () => {
  test.each(["hot", "warm", "cold"])(
    "%s: at any operation, it is ended by the next",
    async (place: Place) => {
      const base = await makeBase(place)
      const damaged = base.disk.fork()
      await onDisk(damaged, (directory) => directory.removeDirectory("/store/manifest"))
      await flip(damaged, "/store/ROOT", 10, [1, 2, 3])
      if (place === "hot") await flip(damaged, hot(1), -1, [0xff])
      const counted = damaged.fork()
      let operations = 0
      counted.onOperation = () => {
        operations++
      }
      await repair(base, counted)
      const stride = Math.max(1, Math.floor(operations / 24))
      for (let stopAt = 1; stopAt < operations; stopAt += stride) {
        const disk = damaged.fork()
        let left = stopAt
        disk.onOperation = () => (left-- > 0 ? undefined : "EIO")
        await repair(base, disk).catch(() => undefined)
        disk.onOperation = undefined
        disk.kill()
        const report = await repair(base, disk)
        const lost = report.entries.filter(({ outcome }) => outcome === "lost")
        expect([stopAt, lost]).toEqual([stopAt, []])
        const found = await readBack(base, disk)
        if (found.length !== base.wanted.length)
          throw new Error(`cut short at ${stopAt}: ${found.length} records are left`)
      }
    },
    600_000,
  )
})
