// A journal that does not check, in a store that was cut off while only the journal had its records: what can be read of it is in the streams, the
// file stays in the quarantine, and what may be lost is told.

import { describe, expect, test } from "bun:test"
import type { AofManager, AofManagerOptions } from "bop-aof"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { repairWith } from "../../src/api/repair.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const KiB = 1024
const options: AofManagerOptions = {
  root: "/store",
  journalBytes: 256 * KiB,
  journalStreamsMin: 2,
  segmentBytes: 64 * KiB,
}
const streamCount = 8
const roundCount = 12
const recordCount = streamCount * roundCount

/** A store whose power was cut when only the journal had its records, and the file of the journal that has them. */
const makeCut = async (): Promise<{ readonly disk: MemoryDisk; readonly path: string }> => {
  const disk = new MemoryDisk()
  await withStore(disk.layer, options, async (manager) => {
    const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
    // The first syncs of a store are those of the streams: the journal is being made.
    for (let round = 0; round < roundCount; round++) {
      await Promise.all(streams.map((stream) => stream.append(`${stream.name}-${round}`)))
    }
    disk.crash(() => false)
  }).catch(() => undefined)
  const path = disk.paths().find((one) => one.endsWith(".jnl"))!
  return { disk, path }
}

const countOf = async (manager: AofManager): Promise<number> => {
  let count = 0
  for (const name of manager.streams()) {
    const stream = await manager.stream(name)
    for await (const record of stream.read({ from: "start" })) if (record.text().startsWith(name)) count++
  }
  return count
}

const xor = (disk: MemoryDisk, path: string, at: number): void =>
  disk.damage(path, at, Uint8Array.of(disk.contentOf(path)![at]! ^ 1))

const kept = "/store/quarantine/journal-0.jnl"

describe("a journal whose header does not check", () => {
  test("loses nothing when one byte of it has changed, whichever", async () => {
    const { disk, path } = await makeCut()
    for (let at = 0; at < 64; at += 3) {
      const copy = disk.fork()
      xor(copy, path, at)
      await withStore(copy.layer, options, async (manager) => {
        expect([at, await countOf(manager)]).toEqual([at, recordCount])
        expect(manager.recovery.quarantined).toEqual([])
        expect(manager.recovery.isClean).toBe(false)
        expect(manager.recovery.manifestDamage.join()).toContain("a byte of it was put right")
      })
    }
  })

  test("loses nothing when all of it is gone, and the file is kept", async () => {
    const { disk, path } = await makeCut()
    disk.damage(path, 0, new Uint8Array(512))
    const damaged = disk.contentOf(path)!
    await withStore(disk.layer, options, async (manager) => {
      expect(await countOf(manager)).toBe(recordCount)
      expect(manager.recovery.manifestDamage.join()).toContain("its groups were found without it")
    })
    expect(disk.contentOf(kept)).toEqual(damaged)
    await withStore(disk.layer, options, async (manager) => expect(manager.recovery.isClean).toBe(true))
  })

  test("does not give an id again that was given before", async () => {
    const { disk, path } = await makeCut()
    const nextOf = (copy: MemoryDisk): Promise<number> =>
      withStore(copy.layer, options, async (manager) => (await manager.stream("s0")).tryAppend("after"))
    const wanted = await nextOf(disk.fork())
    disk.damage(path, 0, new Uint8Array(512))
    expect(await nextOf(disk)).toBe(wanted)
  })

  test("is told and kept when nothing in it can be read", async () => {
    const { disk, path } = await makeCut()
    const length = disk.contentOf(path)!.length
    // No group is whole any more.
    disk.damage(path, 0, new Uint8Array(512))
    for (let at = 512; at + 20 < length; at += 512) xor(disk, path, at + 12)
    const damaged = disk.contentOf(path)!
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.isClean).toBe(false)
      expect(manager.recovery.manifestDamage).toEqual(["journal file 0: its header does not check"])
    })
    expect(disk.contentOf(kept)).toEqual(damaged)
  })

  test("is told and kept when it holds nothing but zeros", async () => {
    const { disk, path } = await makeCut()
    disk.damage(path, 0, new Uint8Array(disk.contentOf(path)!.length))
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.isClean).toBe(false)
      expect(manager.recovery.manifestDamage).toEqual(["journal file 0: it holds nothing but zeros"])
    })
    expect(disk.paths()).toContain(kept)
  })
})

const removeFile = (disk: MemoryDisk, path: string): Promise<void> =>
  Effect.runPromise(Context.get(disk.services(), Directory).remove(path) as Effect.Effect<void>)

const removeJournal = async (disk: MemoryDisk): Promise<void> => {
  for (const path of disk.paths().filter((one) => one.endsWith(".jnl"))) await removeFile(disk, path)
}

describe("a journal that is missing", () => {
  test("after a kill is told once, and no id is given again", async () => {
    const { disk } = await makeCut()
    await removeJournal(disk)
    await withStore(disk.layer, options, async (manager) => {
      const { manifestDamage, isClean } = manager.recovery
      expect([isClean, manifestDamage]).toEqual([false, ["the commit journal is missing"]])
      // All ids of the process before were in the first segment.
      expect((await manager.stream("s0")).tryAppend("after")).toBeGreaterThan(2 ** 29)
    })
    await withStore(disk.layer, options, async (manager) => {
      expect([manager.recovery.isClean, manager.recovery.manifestDamage]).toEqual([true, []])
    })
    expect(disk.paths().filter((one) => one.endsWith(".jnl"))).toEqual([])
  })

  test("is lost for a repair", async () => {
    const { disk } = await makeCut()
    await removeJournal(disk)
    const report = await Effect.runPromise(repairWith(disk.layer, { root: "/store", tier2: false }))
    expect(report.isWhole).toBe(false)
    expect(report.entries).toMatchObject([{ outcome: "lost", detail: "the commit journal is missing", place: null }])
  })

  test("is nothing to be told when its only file failed and the process was killed behind that", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
      const round = () => Promise.all(streams.map((stream) => stream.append("text")))
      for (let i = 0; i < 3; i++) await round()
      disk.onOperation = ({ kind, path }) =>
        path.includes(".jnl") && kind !== "truncate" && kind !== "remove" ? "EIO" : undefined
      for (let i = 0; i < 3; i++) await round()
      await new Promise((resolve) => setTimeout(resolve, 300))
      disk.onOperation = undefined
      disk.kill()
    }).catch(() => undefined)
    expect(disk.paths().filter((one) => one.endsWith(".jnl"))).toHaveLength(2)
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.manifestDamage).toEqual([])
      expect(manager.recovery.quarantined).toEqual([])
    })
  })
})

const cutFile = (disk: MemoryDisk, path: string, length: number): Promise<void> => {
  const file = Context.get(disk.services(), Directory).openUnsafe(path, "write")
  return Effect.runPromise(Effect.andThen(file.truncate(length), file.syncData) as Effect.Effect<void>)
}

/** A store that was killed when both files of its journal had records; the smallest journal there may be. */
const makeBoth = async () => {
  const disk = new MemoryDisk()
  const used = new Set<string>()
  disk.onOperation = ({ kind, path, from }) => {
    if (kind === "write" && from > 0 && path.endsWith(".jnl")) used.add(path)
  }
  await withStore(disk.layer, { ...options, journalBytes: 64 * KiB }, async (manager) => {
    const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
    for (let round = 0; round < 500 && used.size < 2; round++) {
      await Promise.all(streams.map((stream) => stream.append(`${stream.name}-${round} `.padEnd(200, "."))))
    }
    disk.kill()
  }).catch(() => undefined)
  disk.onOperation = undefined
  expect(used.size).toBe(2)
  return disk
}

describe("a file of the journal that is missing or was cut", () => {
  const files = [0, 1].map((number) => `/store/journal/${number}.jnl`)
  const damageOf = (disk: MemoryDisk): Promise<ReadonlyArray<string>> =>
    withStore(disk.layer, options, (manager) => Promise.resolve(manager.recovery.manifestDamage))

  test.each([0, 1])("file %d is missed, whether it was used or not, and only once", async (number) => {
    for (const disk of [(await makeCut()).disk, await makeBoth()]) {
      await removeFile(disk, files[number]!)
      expect(await damageOf(disk)).toEqual([`journal file ${number} is missing`])
      expect(await damageOf(disk)).toEqual([])
    }
  })

  test("it is missed also by a process that was killed without having used the journal", async () => {
    const { disk } = await makeCut()
    const openAndKill = () => withStore(disk.layer, options, async () => disk.kill()).catch(() => undefined)
    await openAndKill()
    expect(await damageOf(disk.fork())).toEqual([])
    await openAndKill()
    await removeFile(disk, files[1]!)
    expect(await damageOf(disk)).toEqual(["journal file 1 is missing"])
  })

  test.each([0, 1])("file %d that is shorter than it was is told, and kept", async (number) => {
    const whole = await makeBoth()
    const path = files[number]!
    const bytes = whole.contentOf(path)!
    for (let length = 7; length < bytes.length; length += 5237) {
      const disk = whole.fork()
      await cutFile(disk, path, length)
      const why =
        length < 512 ? `it has ${length} bytes, less than its header` : `it was longer, and ends at byte ${length}`
      expect(await damageOf(disk)).toEqual([`journal file ${number}: ${why}`])
      expect(disk.contentOf(`/store/quarantine/journal-${number}.jnl`)).toHaveLength(length)
    }
  })

  test("a cut through a group is told also where nothing else says how long the file was", async () => {
    const disk = new MemoryDisk()
    const groups: Array<readonly [from: number, to: number]> = []
    disk.onOperation = ({ kind, path, from, to }) => {
      if (kind === "write" && from > 0 && path === files[0]) groups.push([from, to])
    }
    await withStore(disk.layer, options, async (manager) => {
      const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
      for (let round = 0; (groups.at(-1)?.[1] ?? 0) < 48 * KiB && round < 500; round++) {
        await Promise.all(streams.map((stream) => stream.append(`${stream.name}-${round} `.padEnd(200, "."))))
      }
      disk.kill()
    }).catch(() => undefined)
    disk.onOperation = undefined
    const [from] = groups.find(([start, end]) => start >= 36 * KiB && end - start > 512)!
    await cutFile(disk, files[0]!, from + 512)
    expect(await damageOf(disk)).toEqual([`journal file 0: it was longer, and ends at byte ${from + 512}`])
  })
})

describe("a segment whose file is gone, although its first part was not in the journal", () => {
  const path = "/store/streams/s0/segments/0000000001.seg"

  /** The power was cut when the journal had the rest; the ids of the first part and of the rest. */
  const makeHalf = async () => {
    const disk = new MemoryDisk()
    const first: Array<number> = []
    const rest: Array<number> = []
    await withStore(disk.layer, options, async (manager) => {
      const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
      for (let i = 0; i < 5; i++) first.push((await streams[0]!.append("alone")).recordId)
      await Promise.all(streams.slice(1).map((stream) => stream.append("others")))
      await Promise.all(streams.slice(1).map((stream) => stream.append("others")))
      for (let i = 0; i < 4; i++) {
        const [ack] = await Promise.all(streams.map((stream) => stream.append(`together ${i}`)))
        rest.push(ack!.recordId)
      }
      disk.crash(() => false)
    }).catch(() => undefined)
    return { disk, first, rest }
  }

  test("has the rest, says what is missing, and gives no number again", async () => {
    const { disk, first, rest } = await makeHalf()
    await removeFile(disk, path)
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.quarantined).toHaveLength(1)
      const [gap] = manager.recovery.quarantined
      expect([gap!.stream, gap!.from]).toEqual(["s0", 2 ** 28])
      expect(gap!.to).toBeLessThan(rest[0]!)
      expect(gap!.to).toBeGreaterThan(first.at(-1)!)
      const stream = await manager.stream("s0")
      const read = async (from: "start" | number): Promise<ReadonlyArray<readonly [number, number]>> => {
        const found: Array<readonly [number, number]> = []
        for await (const { recordId, recordNumber } of stream.read({ from })) found.push([recordId, recordNumber])
        return found
      }
      const error = await read("start").catch((thrown) => thrown)
      expect(error).toMatchObject({ _tag: "Corrupt", to: rest[0] })
      expect(error.from).toBeLessThan(first[0]!)
      expect(await read(error.to)).toEqual(rest.map((id, at) => [id, first.length + at]))
      expect((await stream.append("next")).recordNumber).toBe(first.length + rest.length)
      await stream.seal()
      expect(await read(error.to)).toHaveLength(rest.length + 1)
    })
  })

  test("also where the file is left and has nothing but zeros", async () => {
    const { disk, rest } = await makeHalf()
    const { length } = disk.contentOf(path)!
    disk.damage(path, 0, new Uint8Array(length))
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.quarantined).toHaveLength(1)
      const found: Array<number> = []
      for await (const { recordId } of (await manager.stream("s0")).read({ from: rest[0]! })) found.push(recordId)
      expect(found).toEqual(rest)
    })
  })
})

describe("a store that has lost its manifest", () => {
  const small: AofManagerOptions = { ...options, segmentBytes: 8192, stagingBytes: 4096 }

  const numbersOf = async (manager: AofManager, name: string): Promise<ReadonlyArray<number>> => {
    const found: Array<number> = []
    for await (const { recordNumber } of (await manager.stream(name)).read({ from: "start" })) found.push(recordNumber)
    return found
  }

  const loseManifest = (disk: MemoryDisk): Promise<void> =>
    Effect.runPromise(Context.get(disk.services(), Directory).removeDirectory("/store/manifest") as Effect.Effect<void>)

  /** Three streams; `bytes` of each record. */
  const fill = async (manager: AofManager, rounds: number) => {
    const streams = await Promise.all(["a", "b", "c"].map((name) => manager.stream(name)))
    for (let i = 0; i < rounds; i++) await Promise.all(streams.map((stream) => stream.append(".".repeat(700))))
    return streams[2]!
  }

  test("does not show trimmed segments again that the journal has, and keeps the journal", async () => {
    const disk = new MemoryDisk()
    let first = 0
    await withStore(disk.layer, small, async (manager) => {
      const stream = await fill(manager, 40)
      const { recordId } = await stream.append("kept")
      await stream.trim({ before: recordId })
      await quietDisk(disk)
      first = stream.segments()[0]!.firstRecordNumber
      disk.kill()
    }).catch(() => undefined)
    expect(first).toBeGreaterThan(8)
    await loseManifest(disk)
    await withStore(disk.layer, small, async (manager) => {
      const numbers = await numbersOf(manager, "c")
      expect(numbers).toEqual(Array.from({ length: 41 - first }, (_, at) => first + at))
      expect(manager.recovery.trimmed.filter(({ stream }) => stream === "c").length).toBeGreaterThan(0)
    })
    expect(disk.contentOf(kept)).toBeDefined()
  })

  test("has a segment again that only the journal has, when it leads up to those that are left", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, small, async (manager) => {
      await fill(manager, 3)
      await quietDisk(disk)
      const streams = await Promise.all(["new", "other", "third"].map((name) => manager.stream(name)))
      for (let i = 0; i < 14; i++) await Promise.all(streams.map((stream) => stream.append(".".repeat(700))))
      await quietDisk(disk)
      disk.kill()
    }).catch(() => undefined)
    const names = disk.paths().filter((path) => /\/new\/segments\/\d+\.seg$/.test(path))
    expect(names.length).toBeGreaterThan(1)
    await removeFile(disk, names.sort()[0]!)
    await loseManifest(disk)
    await withStore(disk.layer, small, async (manager) => {
      expect(await numbersOf(manager, "new")).toEqual(Array.from({ length: 14 }, (_, at) => at))
    })
  })
})

describe("a repair", () => {
  const repair = (disk: MemoryDisk, plan: boolean) =>
    Effect.runPromise(repairWith(disk.layer, { root: "/store", plan, tier2: false }))

  test("calls it lost when records that only the journal had may be gone, and says where the file is", async () => {
    const { disk, path } = await makeCut()
    xor(disk, path, 512 + 40)
    const plan = await repair(disk, true)
    expect(disk.contentOf(kept)).toBeUndefined()
    const report = await repair(disk, false)
    for (const one of [plan, report]) {
      expect([one.isClean, one.isWhole]).toEqual([false, false])
      expect(one.entries.find(({ place }) => place === kept)).toMatchObject({ outcome: "lost", stream: null })
    }
    expect(disk.contentOf(kept)).toBeDefined()
    expect((await repair(disk, false)).entries.filter(({ detail }) => detail.includes("journal"))).toEqual([])
  })

  test("calls it repaired when nothing of it is gone", async () => {
    const { disk, path } = await makeCut()
    xor(disk, path, 20)
    const report = await repair(disk, false)
    expect(report.entries.map(({ outcome, place }) => [outcome, place])).toEqual([["repaired", kept]])
    expect([report.isClean, report.isWhole]).toEqual([false, true])
  })
})
