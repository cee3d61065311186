// The manifest on a disk in memory. Whatever happens at whatever moment: every committed record is there, once, in order, and
// nothing else but a beginning of what was staged behind them.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { type ManifestLog, open } from "../../src/core/manifest/manifest_log.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendNumber, chunkBytes, manifestRootId, numbersOf, upTo, withManifest } from "../support/manifest.ts"

const fileNames = Effect.gen(function* () {
  const directory = yield* Directory
  return (yield* directory.list("/store/manifest")).map(({ name }) => name)
})

/** Appends numbers in groups of three, each committed. */
const fill = Effect.fnUntraced(function* (log: ManifestLog, from: number, to: number) {
  for (let number = from; number < to; number++) {
    appendNumber(log, number)
    if (number % 3 === 2 || number === to - 1) yield* log.commit
  }
})

/** Rewrites one byte of a file. */
const flip = (path: string, position: number) =>
  Effect.gen(function* () {
    const directory = yield* Directory
    const file = directory.openUnsafe(path, "write")
    const byte = new Uint8Array(1)
    file.readUnsafe(byte, 0, 1, position)
    byte[0] = byte[0]! ^ 0x10
    file.writeUnsafe(byte, 0, 1, position)
    yield* file.syncData
    file.closeUnsafe()
  })

const readAll = (disk: MemoryDisk): Promise<{ numbers: ReadonlyArray<number>; replay: ManifestLog["replay"] }> =>
  withManifest(disk, (log) => Effect.sync(() => ({ numbers: numbersOf(log), replay: log.replay })))

describe("a manifest", () => {
  test("opens empty, keeps what was committed, and goes on in the same chunk after a close", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) => fill(log, 0, 5))
    const names = await withManifest(disk, (log) => Effect.andThen(fill(log, 5, 8), fileNames))
    expect(names).toEqual(["0000000001.chunk"])
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(8))
    expect(replay).toMatchObject({ chunkCount: 1, recordCount: 8, trimmedBytes: 0, damage: [] })
    expect(replay.journalLagBytes).toBe(1536 + 8 * 1064)
  })

  test("commits what was staged when it closes", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) => Effect.sync(() => appendNumber(log, 0)))
    expect((await readAll(disk)).numbers).toEqual([0])
  })

  test("rotates, takes snapshots, removes what they cover, and reopens from them", async () => {
    const disk = new MemoryDisk()
    const names = await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 300)
        for (let turn = 0; turn < 20; turn++)
          yield* Effect.promise(() => new Promise<void>((done) => setImmediate(done)))
        return yield* fileNames
      }),
    )
    expect(names.filter((name) => name.endsWith(".snapshot")).length).toBe(1)
    expect(names.filter((name) => name.endsWith(".chunk")).length).toBeLessThan(22)
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(300))
    expect(replay.damage).toEqual([])
    await withManifest(disk, (log) => fill(log, 300, 310))
    expect((await readAll(disk)).numbers).toEqual(upTo(310))
  })

  test("rejects a chunk size out of range", async () => {
    const open1 = (bytes: number) => open({ root: "/r", rootId: manifestRootId, readOnly: false, chunkBytes: bytes })
    for (const bytes of [16383, 1048577, 20000.5]) {
      const program = Effect.scoped(Effect.result(open1(bytes))).pipe(Effect.provide(new MemoryDisk().layer))
      const result = await Effect.runPromise(program)
      expect(Result.isFailure(result) && result.failure).toMatchObject({ _tag: "InvalidArgument", value: bytes })
    }
  })
})

describe("commit", () => {
  test("of many costs one write of records, one of a slot and one sync", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 1)
        const seen: Array<string> = []
        disk.onOperation = ({ kind }) => void seen.push(kind)
        const waiting = yield* Effect.forkChild(
          Effect.forEach(
            [1, 2, 3, 4, 5],
            (number) =>
              Effect.andThen(
                Effect.sync(() => appendNumber(log, number)),
                log.commit,
              ),
            { concurrency: "unbounded" },
          ),
        )
        yield* Fiber.join(waiting)
        disk.onOperation = undefined
        expect(seen).toEqual(["write", "write", "syncData"])
      }),
    )
    expect((await readAll(disk)).numbers).toEqual(upTo(6))
  })

  test("goes on when one that waits is interrupted", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        appendNumber(log, 0)
        const first = yield* Effect.forkChild(log.commit, { startImmediately: true })
        const second = yield* Effect.forkChild(log.commit, { startImmediately: true })
        yield* Fiber.interrupt(first)
        yield* Fiber.join(second)
      }),
    )
    disk.crash(() => false)
    expect((await readAll(disk)).numbers).toEqual([0])
  })

  test("costs nothing when there is nothing to do, and fails after close", async () => {
    const disk = new MemoryDisk()
    const log = await withManifest(disk, (log) =>
      Effect.gen(function* () {
        const before = disk.operationCount
        yield* log.commit
        expect(disk.operationCount).toBe(before)
        return log
      }),
    )
    const result = await Effect.runPromise(Effect.result(log.commit))
    expect(Result.isFailure(result) && result.failure._tag).toBe("Closed")
    expect(() => appendNumber(log, 1)).toThrow("is closed")
  })

  test.each(["write", "syncData"])("writes into a fresh chunk when a %s fails once", async (kind: string) => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 3)
        let failures = 1
        disk.onOperation = (operation) => (operation.kind === kind && failures-- > 0 ? "EIO" : undefined)
        yield* fill(log, 3, 6)
        disk.onOperation = undefined
        yield* fill(log, 6, 9)
        expect(yield* fileNames).toEqual(["0000000001.chunk", "0000000002.chunk"])
      }),
    )
    disk.crash(() => false)
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(9))
    expect(replay.damage).toEqual([])
  })

  test("fails as Unavailable when the fresh chunk fails too, keeps the records, and is done by the next", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 3)
        disk.onOperation = ({ kind }) => (kind === "syncData" ? "EIO" : undefined)
        const result = yield* Effect.result(fill(log, 3, 6))
        expect(Result.isFailure(result) && result.failure).toMatchObject({ _tag: "Unavailable", code: "EIO" })
        disk.onOperation = undefined
        yield* log.commit
        yield* fill(log, 6, 7)
      }),
    )
    disk.crash(() => false)
    expect((await readAll(disk)).numbers).toEqual(upTo(7))
  })

  test("goes on after the disk was full", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 3)
        disk.onOperation = ({ kind }) => (kind === "write" || kind === "create" ? "ENOSPC" : undefined)
        for (let attempt = 0; attempt < 3; attempt++) {
          const result = yield* Effect.result(fill(log, 3 + attempt, 4 + attempt))
          expect(Result.isFailure(result) && result.failure).toMatchObject({ code: "ENOSPC" })
        }
        disk.onOperation = undefined
        yield* log.commit
      }),
    )
    expect((await readAll(disk)).numbers).toEqual(upTo(6))
  })
})

describe("damage", () => {
  const recordAt = (number: number): number => 1536 + number * 1064
  /** A closed manifest of 40 records: two full chunks of 13 records, and one of 14 or less. */
  const makeDisk = async (count = 40): Promise<MemoryDisk> => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) => fill(log, 0, count))
    return disk
  }
  const chunk = (number: number): string => `/store/manifest/000000000${number}.chunk`
  const spoil = (disk: MemoryDisk, path: string, position: number): Promise<void> =>
    Effect.runPromise(flip(path, position).pipe(Effect.provide(disk.layer)))

  test.each([
    [1, 4],
    [1, 11],
    [2, 3],
    [3, 0],
    [3, 9],
  ])(
    "in chunk %d at record %d costs that record only, is reported, and does not refuse opening",
    async (file: number, at: number) => {
      const disk = await makeDisk()
      await spoil(disk, chunk(file), recordAt(at) + 100)
      const { numbers, replay } = await readAll(disk)
      const lost = (file - 1) * 13 + at
      expect(numbers).toEqual(upTo(40).filter((number) => number !== lost))
      expect(replay.damage).toEqual([
        { file: `000000000${file}.chunk`, from: recordAt(at), to: recordAt(at + 1), why: "records do not check" },
      ])
      await withManifest(disk, (log) => fill(log, 40, 50))
      expect((await readAll(disk)).numbers).toEqual(upTo(50).filter((number) => number !== lost))
    },
  )

  test("of a header is reported and costs nothing", async () => {
    const disk = await makeDisk()
    await spoil(disk, chunk(2), 30)
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(40))
    expect(replay.damage).toMatchObject([{ file: "0000000002.chunk", from: 0, why: "the header does not check" }])
  })

  test.each([512, 1024])("of the slot at %d costs nothing", async (position: number) => {
    const disk = await makeDisk()
    for (const file of [1, 2, 3]) await spoil(disk, chunk(file), position + 9)
    expect((await readAll(disk)).numbers).toEqual(upTo(40))
  })

  test("by a chunk that is gone is reported", async () => {
    const disk = await makeDisk()
    const remove = Effect.flatMap(Directory, (directory) => directory.remove(chunk(2)))
    await Effect.runPromise(remove.pipe(Effect.provide(disk.layer)))
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(40).filter((number) => number < 13 || number >= 26))
    expect(replay.damage).toMatchObject([
      { file: "0000000003.chunk", why: "records 14 to 26 before this file are missing" },
    ])
  })

  test("of a snapshot costs the record that it hits", async () => {
    const disk = await makeDisk(200)
    const names = await Effect.runPromise(fileNames.pipe(Effect.provide(disk.layer)))
    const snapshot = names.find((name) => name.endsWith(".snapshot"))!
    await spoil(disk, `/store/manifest/${snapshot}`, recordAt(5) + 50)
    const { numbers, replay } = await readAll(disk)
    expect(numbers).toEqual(upTo(200).filter((number) => number !== 5))
    expect(replay.damage).toMatchObject([{ file: snapshot, from: recordAt(5), to: recordAt(6) }])
  })

  test("a chunk of another root is not read", async () => {
    const disk = await makeDisk()
    const program = Effect.gen(function* () {
      const log = yield* open({ root: "/store", rootId: new Uint8Array(16), readOnly: true })
      return [numbersOf(log), log.replay.damage.map(({ file }) => file)]
    })
    const seen = await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(disk.layer)))
    expect(seen).toEqual([[], ["0000000001.chunk", "0000000002.chunk", "0000000003.chunk", "0000000004.chunk"]])
  })
})

describe("a read-only manifest", () => {
  test("is empty where there is none, and makes no directory", async () => {
    const disk = new MemoryDisk()
    const names = await withManifest(disk, (log) => Effect.as(log.refresh, numbersOf(log)), true)
    expect(names).toEqual([])
    expect(disk.usedBytes).toBe(0)
  })

  test("follows a writer through rotations and snapshots, always at a beginning of what was committed", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        const reader = yield* open({ root: "/store", rootId: manifestRootId, readOnly: true, chunkBytes })
        for (let number = 0; number < 250; number += 5) {
          yield* fill(log, number, number + 5)
          if (number % 20 === 0 || number > 200) {
            expect(yield* reader.refresh).toBe(true)
            expect(numbersOf(reader)).toEqual(upTo(number + 5))
            expect(yield* reader.refresh).toBe(false)
          }
        }
        expect(reader.replay.damage).toEqual([])
      }),
    )
  })

  test("takes no records", async () => {
    await withManifest(
      new MemoryDisk(),
      (log) => Effect.sync(() => expect(() => appendNumber(log, 0)).toThrow("read-only")),
      true,
    )
  })
})
