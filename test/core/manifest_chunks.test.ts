// When chunks are sealed, and what hooks are told: a chunk that was told of never changes again, whatever process comes next.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import type { ManifestHooks, SealedChunk, WrittenSnapshot } from "../../src/core/manifest/manifest_hooks.ts"
import { type ManifestLog, open } from "../../src/core/manifest/manifest_log.ts"
import type { ManifestRecord } from "../../src/format/manifest_record.ts"
import type { AofError } from "../../src/model/errors.ts"
import { Directory } from "../../src/port/directory.ts"
import { scanManifestFile } from "../../src/state/manifest_replay.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendNumber, chunkBytes, manifestRootId, numbersOf, turns, upTo, withManifest } from "../support/manifest.ts"

interface Told {
  readonly chunks: Array<SealedChunk>
  readonly snapshots: Array<WrittenSnapshot>
  readonly pruned: Array<string>
  readonly records: Array<ManifestRecord>
  readonly hooks: ManifestHooks
}

const listen = (): Told => {
  const told = { chunks: [], snapshots: [], pruned: [], records: [] } as unknown as Told
  const hooks: ManifestHooks = {
    onChunkSealed: (chunk) => void told.chunks.push(chunk),
    onSnapshot: (snapshot) => void told.snapshots.push(snapshot),
    onPruned: (names) => void told.pruned.push(...names),
    onRecord: (record) => void told.records.push(record),
  }
  return { ...told, hooks }
}

const readFile = (disk: MemoryDisk, path: string): Promise<Uint8Array | undefined> =>
  Effect.runPromise(Effect.flatMap(Directory, (directory) => directory.readFile(path)).pipe(Effect.provide(disk.layer)))

const readAll = async (disk: MemoryDisk): Promise<ReadonlyArray<number>> =>
  withManifest(disk, (log) => Effect.sync(() => numbersOf(log)), true)

/** Appends and commits records from `from` up to, not including, `to`. */
const fill = Effect.fnUntraced(function* (log: ManifestLog, from: number, to: number) {
  for (let number = from; number < to; number++) appendNumber(log, number)
  yield* log.commit
})

/** Runs `use` on a clock that stands still until it is moved. */
const onTestClock = <A>(
  disk: MemoryDisk,
  use: (log: ManifestLog) => Effect.Effect<A, AofError, Directory>,
  options: { readonly hooks?: ManifestHooks; readonly chunkAgeMs?: number } = {},
): Promise<A> => {
  const program = Effect.gen(function* () {
    yield* TestClock.setTime(1_700_000_000_000)
    return yield* use(yield* open({ root: "/store", rootId: manifestRootId, readOnly: false, chunkBytes, ...options }))
  })
  return Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(TestClock.layer()), Effect.provide(disk.layer)))
}

describe("a chunk that is too old", () => {
  test("is sealed by itself when hooks want it, and then nothing happens any more", async () => {
    const disk = new MemoryDisk()
    const told = listen()
    await onTestClock(
      disk,
      (log) =>
        Effect.gen(function* () {
          yield* fill(log, 0, 3)
          yield* TestClock.adjust(599_999)
          yield* turns()
          expect(told.chunks).toEqual([])
          yield* TestClock.adjust(1)
          yield* turns()
          expect(told.chunks.map(({ name, bytes }) => [name, bytes])).toEqual([["0000000001.chunk", 1536 + 3 * 1064]])
          const before = disk.operationCount
          yield* TestClock.adjust(100_000_000)
          yield* turns()
          expect(disk.operationCount).toBe(before)
          yield* fill(log, 3, 4)
          yield* TestClock.adjust(600_000)
          yield* turns()
          expect(told.chunks.map(({ firstRecordSequence }) => firstRecordSequence)).toEqual([1, 4])
        }),
      { hooks: told.hooks },
    )
    expect(await readAll(disk)).toEqual(upTo(4))
  })

  test("is sealed at the next commit when nobody wants it before", async () => {
    const disk = new MemoryDisk()
    await onTestClock(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 3)
        const before = disk.operationCount
        yield* TestClock.adjust(600_000)
        yield* turns()
        expect(disk.operationCount).toBe(before)
        yield* fill(log, 3, 4)
        const directory = yield* Directory
        expect((yield* directory.list("/store/manifest")).map(({ name }) => name)).toEqual([
          "0000000001.chunk",
          "0000000002.chunk",
        ])
      }),
    )
    const bytes = await readFile(disk, "/store/manifest/0000000001.chunk")
    expect(scanManifestFile(bytes!, { lastSequence: 0, durableBefore: undefined })).toMatchObject({
      isSealed: true,
      isClean: false,
      committedCount: 3,
    })
    expect(await readAll(disk)).toEqual(upTo(4))
  })

  test("counts from when it was made, over a close", async () => {
    const disk = new MemoryDisk()
    await onTestClock(disk, (log) => fill(log, 0, 1))
    const told = listen()
    await onTestClock(
      disk,
      () =>
        Effect.gen(function* () {
          expect(told.chunks).toEqual([])
          yield* TestClock.adjust(1000)
          yield* turns()
          expect(told.chunks.length).toBe(1)
        }),
      { hooks: told.hooks, chunkAgeMs: 1000 },
    )
  })

  test("is refused when it is no age", async () => {
    for (const chunkAgeMs of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const options = { root: "/r", rootId: manifestRootId, readOnly: false, chunkAgeMs }
      const program = Effect.scoped(Effect.result(open(options))).pipe(Effect.provide(new MemoryDisk().layer))
      const result = await Effect.runPromise(program)
      expect(Result.isFailure(result) && result.failure._tag).toBe("InvalidArgument")
    }
  })
})

describe("hooks", () => {
  test("are told of each chunk when it is durable and complete, and it never changes again", async () => {
    const disk = new MemoryDisk()
    const seen = new Map<string, Uint8Array>()
    const waiting: Array<Promise<void>> = []
    const hooks: ManifestHooks = {
      onChunkSealed: ({ name, path, bytes, isComplete }) => {
        expect(isComplete).toBe(true)
        // What a power cut in this moment would leave.
        const after = disk.fork()
        after.crash(() => false)
        waiting.push(
          readFile(after, path).then((found) => {
            expect(found?.length).toBe(bytes)
            const scanned = scanManifestFile(found!, { lastSequence: 0, durableBefore: undefined })
            expect([scanned.isSealed, scanned.trimmedBytes]).toEqual([true, 0])
            const before = seen.get(name)
            if (before !== undefined) expect(found).toEqual(before)
            seen.set(name, found!)
          }),
        )
      },
    }
    for (let round = 0; round < 6; round++) {
      const use = (log: ManifestLog) => fill(log, round * 8, round * 8 + 8)
      await withManifest(disk, use, false, round % 2 === 0 ? { hooks } : {})
      if (round === 3) disk.crash(() => true)
    }
    await Promise.all(waiting)
    expect(seen.size).toBeGreaterThan(2)
    expect(await readAll(disk)).toEqual(upTo(48))
  })

  test("are told while opening of what is there, each time the same, but not of the chunk that is gone on with", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) => fill(log, 0, 40))
    for (let time = 0; time < 2; time++) {
      const told = listen()
      await withManifest(disk, () => Effect.void, false, { hooks: told.hooks })
      expect(told.chunks.map(({ name }) => name)).toEqual([1, 2, 3].map((number) => `000000000${number}.chunk`))
      expect(told.chunks.every(({ isComplete }) => isComplete)).toBe(true)
      expect(told.records.map(({ sequence }) => sequence)).toEqual(upTo(40).map((number) => number + 1))
    }
  })

  test("are told of a snapshot before of what it removes, and of the snapshot again while opening", async () => {
    const disk = new MemoryDisk()
    const order: Array<string> = []
    const hooks: ManifestHooks = {
      onSnapshot: ({ name, coversSequence }) => void order.push(`${name} covers ${coversSequence}`),
      onPruned: (names) => void order.push(...names.map((name) => `${name} is gone`)),
    }
    const use = (log: ManifestLog) => Effect.andThen(fill(log, 0, 70), turns(100))
    await withManifest(disk, use, false, { hooks })
    expect(order[0]).toMatch(/^\d{10}\.snapshot covers 70$/)
    expect(order.slice(1)).toContain("0000000001.chunk is gone")
    const told = listen()
    await withManifest(disk, () => Effect.void, false, { hooks: told.hooks })
    expect(told.snapshots.map(({ name, coversSequence }) => `${name} covers ${coversSequence}`)).toEqual([order[0]!])
    expect((await readFile(disk, told.snapshots[0]!.path))?.length).toBe(told.snapshots[0]!.bytes)
  })

  test("are told of each record once it is durable, and once only", async () => {
    const disk = new MemoryDisk()
    const told = listen()
    await withManifest(
      disk,
      (log) =>
        Effect.gen(function* () {
          const sequence = log.customEvent(0, 7, new Uint8Array([1, 2, 3]))
          expect([sequence, told.records.length]).toEqual([1, 0])
          yield* log.commit
          expect(told.records).toMatchObject([{ type: "CustomEvent", kind: 7, payload: new Uint8Array([1, 2, 3]) }])
        }),
      false,
      { hooks: told.hooks },
    )
    const reader = listen()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        const follower = yield* open({ root: "/store", rootId: manifestRootId, readOnly: true, hooks: reader.hooks })
        yield* fill(log, 0, 2)
        yield* follower.refresh
        expect(reader.records.map(({ sequence }) => sequence)).toEqual([1, 2, 3])
        expect(reader.chunks).toEqual([])
      }),
    )
  })

  test("that throw change nothing", async () => {
    const disk = new MemoryDisk()
    const fail = (): never => {
      throw new Error("a hook that fails")
    }
    const hooks = { onChunkSealed: fail, onSnapshot: fail, onPruned: fail, onRecord: fail }
    await withManifest(disk, (log) => Effect.andThen(fill(log, 0, 80), turns()), false, { hooks })
    await withManifest(disk, (log) => fill(log, 80, 81), false, { hooks })
    expect(await readAll(disk)).toEqual(upTo(81))
  })

  test("get a chunk when they ask for it, and nothing when there is none", async () => {
    const disk = new MemoryDisk()
    const told = listen()
    const use = (log: ManifestLog) =>
      Effect.gen(function* () {
        yield* log.sealChunk
        appendNumber(log, 0)
        yield* log.sealChunk
        yield* log.sealChunk
        yield* fill(log, 1, 2)
      })
    await withManifest(disk, use, false, { hooks: told.hooks })
    expect(told.chunks.map(({ name }) => name)).toEqual(["0000000001.chunk"])
    expect(await readAll(disk)).toEqual(upTo(2))
  })
})

describe("hints", () => {
  test("wait for a commit, are written by the next one and by the close, and by themselves when there are many", async () => {
    const disk = new MemoryDisk()
    const hint = { type: "LocalEvicted", streamId: 1, segmentIndex: 0, tier: 0, bytes: 1 } as const
    const told = listen()
    const use = (log: ManifestLog) =>
      Effect.gen(function* () {
        log.append(hint)
        yield* turns()
        expect(told.records.length).toBe(0)
        yield* fill(log, 0, 1)
        expect(told.records.map(({ type }) => type)).toEqual(["LocalEvicted", "Raw"])
        for (let count = 0; count < 2000; count++) log.append(hint)
        yield* turns()
        expect(told.records.length).toBeGreaterThan(1000)
        log.append(hint)
      })
    await withManifest(disk, use, false, { hooks: told.hooks })
    expect(told.records.length).toBe(2003)
  })
})

describe("a custom event", () => {
  test("is refused out of its bounds, and nothing is staged", async () => {
    const disk = new MemoryDisk()
    const use = (log: ManifestLog) =>
      Effect.gen(function* () {
        const bytes = new Uint8Array(1)
        const bad: ReadonlyArray<readonly [number, number, Uint8Array]> = [
          [5, 1, bytes],
          [-1, 1, bytes],
          [0, -1, bytes],
          [0, 2 ** 32, bytes],
          [0, 1.5, bytes],
          [0, Number.NaN, bytes],
          [0, 1, new Uint8Array(4097)],
          [0, 1, "text" as unknown as Uint8Array],
        ]
        for (const [streamId, kind, payload] of bad)
          expect(() => log.customEvent(streamId, kind, payload)).toThrow("of a custom event")
        expect(log.customEvent(0, 2 ** 32 - 1, new Uint8Array(4096))).toBe(1)
        yield* log.commit
      })
    await withManifest(disk, use)
    await withManifest(disk, (log) => Effect.sync(() => expect(log.replay.recordCount).toBe(1)))
  })

  test("that cannot be encoded leaves no gap in the sequences", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        expect(() => log.append({ type: "Tier2Deleted", streamId: 1, segmentIndex: 0, key: "" })).toThrow("1 to 1024")
        yield* fill(log, 0, 1)
      }),
    )
    await withManifest(disk, (log) => Effect.sync(() => expect(log.replay.damage).toEqual([])))
  })
})

describe("the metrics of a replay", () => {
  test("are those of one opening: a torn end is told once", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        yield* fill(log, 0, 3)
        // The slot of this commit is lost, its records are not.
        disk.onOperation = ({ kind }) => (kind === "syncData" ? "EIO" : undefined)
        yield* Effect.ignore(fill(log, 3, 5))
        disk.crash(() => true)
        disk.onOperation = undefined
      }),
    )
    const torn = new Uint8Array(64).fill(9)
    await Effect.runPromise(
      Effect.flatMap(Directory, (directory) =>
        Effect.gen(function* () {
          const file = directory.openUnsafe("/store/manifest/0000000001.chunk", "write")
          file.writeUnsafe(torn, 0, torn.length, file.sizeUnsafe())
          yield* file.syncData
          file.closeUnsafe()
        }),
      ).pipe(Effect.provide(disk.layer)),
    )
    const metrics = () => withManifest(disk, (log) => Effect.sync(() => log.replay))
    expect(await metrics()).toMatchObject({ trimmedBytes: 64, damageCount: 0, corruptionCount: 0 })
    expect(await metrics()).toMatchObject({ trimmedBytes: 0, damageCount: 0, damage: [], corruptionCount: 0 })
  })
})
