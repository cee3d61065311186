// The inspector shows every record of every type with names, and never throws for what is in the files.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { inspectManifest, type ManifestInspection } from "../../src/core/manifest/manifest_inspector.ts"
import { plainJson } from "../../src/core/plain_json.ts"
import { encodeRootFile } from "../../src/format/root_file.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendNumber, manifestRootId, withManifest } from "../support/manifest.ts"
import { makeTypesManifest } from "../support/manifest_samples.ts"

const onDisk = <A, E>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.flatMap(Directory, use).pipe(Effect.provide(disk.layer)))

const write = (disk: MemoryDisk, path: string, bytes: Uint8Array): Promise<void> =>
  onDisk(disk, (directory) =>
    Effect.gen(function* () {
      yield* directory.makeDirectory(path.slice(0, path.lastIndexOf("/")))
      yield* directory.remove(path)
      const file = directory.openUnsafe(path, "create")
      file.writeUnsafe(bytes, 0, bytes.length, 0)
      file.closeUnsafe()
    }),
  )

const makeDisk = async (files: Iterable<readonly [string, Uint8Array]>, hasRoot = true): Promise<MemoryDisk> => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  if (hasRoot) await write(disk, "/store/ROOT", encodeRootFile(manifestRootId, 1))
  for (const [path, bytes] of files) await write(disk, `/store/${path}`, bytes)
  return disk
}

const inspect = (disk: MemoryDisk): Promise<ManifestInspection> =>
  Effect.runPromise(inspectManifest("/store").pipe(Effect.provide(disk.layer)))

const chunkPath = "manifest/0000000002.chunk"

describe("inspectManifest()", () => {
  test("shows files, slots and every record with the names of type and reason", async () => {
    const found = await inspect(await makeDisk(makeTypesManifest(manifestRootId, 5)))
    expect(found.damage).toEqual([])
    expect(found.rootId).toEqual(manifestRootId)
    const [snapshot, chunk] = found.files
    expect(snapshot).toMatchObject({ kind: "snapshot", isOurs: true, isClean: true, tornBytes: 0 })
    expect(chunk).toMatchObject({ kind: "chunk", isOurs: true, isClean: true, isSealed: true, recordCount: 22 })
    expect(chunk?.slots.map(({ sequence, isTrue }) => [sequence, isTrue])).toEqual([
      [5, true],
      [2, true],
    ])
    expect(chunk?.records.map(({ typeNumber }) => typeNumber).slice(0, 20)).toEqual(
      Array.from({ length: 20 }, (_, n) => n),
    )
    expect(chunk?.records.map(({ isDecoded }) => isDecoded)).toEqual([...Array<boolean>(20).fill(true), false, false])
    expect(chunk?.records.at(20)?.type).toBe("Unknown")
    const names = new Set(chunk?.records.map(({ reason }) => reason))
    expect([...names].every((name) => /^[A-Z]\w+$|^11$/.test(name))).toBe(true)
  })

  test("names the keys of Tier 2 for each stream, and the tiers of each segment", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.sync(() => {
        const file = { segmentIndex: 0, fileGeneration: 0 }
        const seal = { ...file, firstRecordNumber: 0, recordCount: 1, baseOffset: 0, durableBytes: 9, fileBytes: 9 }
        const times = { firstTimestampMs: 0, lastTimestampMs: 0, timestampMsMax: 0, sealedMs: 0 }
        const rest = {
          flags: 0,
          checksumSeed: 0,
          lastRecordId: 1,
          extIdMax: 0n,
          coordinatorWatermark: 0n,
          checksum64: 0n,
        }
        const object = { writerEpoch: 1, offset: 0, lengthBytes: 9, checksum64: 2n ** 63n, etag: "e" }
        log.append({ type: "StreamCreated", streamId: 1, name: "orders" })
        log.append({ type: "SealSegment", streamId: 1, ...seal, ...times, ...rest })
        log.append({ type: "UploadDone", streamId: 1, ...file, ...object, key: "a/b" })
        log.append({ type: "LocalEvicted", streamId: 1, segmentIndex: 0, tier: 0, bytes: 9, reasonCode: 1 })
        log.append({ type: "Tier2DeleteQueued", streamId: 1, segmentIndex: 7, notBeforeMs: 1, key: "old" })
      }),
    )
    const found = await inspect(disk)
    expect(found.streams).toMatchObject([
      { name: "orders", tier2Keys: ["a/b"], queuedKeys: ["old"], segments: [{ segmentIndex: 0, tiers: [2] }] },
    ])
    const json = JSON.parse(JSON.stringify(plainJson(found)))
    expect(json.streams[0].segments[0].uploaded.checksum64).toBe(String(2n ** 63n))
    expect(json.files[0].records[3]).toMatchObject({ type: "LocalEvicted", reason: "Budget" })
    expect(json.rootId).toBe("101112131415161718191a1b1c1d1e1f")
    expect(json.deletes.old.key).toBe("old")
  })

  test("works beside a living writer, and writes nothing", async () => {
    const disk = new MemoryDisk()
    await withManifest(disk, (log) =>
      Effect.gen(function* () {
        appendNumber(log, 1)
        yield* log.commit
        const used = disk.usedBytes
        disk.onOperation = ({ kind }) => {
          expect(["read", "readFile", "list", "open"]).toContain(kind)
          return undefined
        }
        const found = yield* inspectManifest("/store")
        disk.onOperation = undefined
        expect(found.files).toMatchObject([{ recordCount: 1, isClean: false, tornBytes: 0, damage: [] }])
        expect(found.isRootFileIntact).toBe(false)
        expect(disk.usedBytes).toBe(used)
      }),
    )
  })

  test("shows what is left after any damage, and throws for none", async () => {
    const files = makeTypesManifest(manifestRootId, 6)
    const bytes = files.get(chunkPath)!
    for (let position = 0; position < bytes.length; position += position < 1536 ? 13 : 101) {
      const spoiled = bytes.slice()
      spoiled[position] = spoiled[position]! ^ 0xff
      const found = await inspect(await makeDisk([...files, [chunkPath, spoiled]]))
      expect(found.files.length).toBe(2)
      expect(JSON.stringify(plainJson(found)).length).toBeGreaterThan(1000)
      if (position >= 1536) expect(found.files[1]?.records.length).toBe(21)
      if (position >= 1536) expect([found.files[1]?.isClean, found.damage.length > 0]).toEqual([false, true])
    }
    for (let length = 0; length < bytes.length; length += 97) {
      const found = await inspect(await makeDisk([...files, [chunkPath, bytes.slice(0, length)]]))
      expect(found.files[1]?.bytes).toBe(length)
      expect(found.files[1]?.isClean).toBe(false)
    }
  })

  test("lists what is none of the manifest's, and files of another root", async () => {
    const foreign = makeTypesManifest(new Uint8Array(16), 3).get(chunkPath)!
    const disk = await makeDisk([
      [chunkPath, foreign],
      ["manifest/notes.txt", new Uint8Array(9)],
      ["manifest/0000000003.snapshot.tmp", new Uint8Array(9)],
      ["manifest/0000000004.chunk", new Uint8Array(0)],
    ])
    const found = await inspect(disk)
    expect(found.files.map(({ kind, isOurs }) => `${kind} ${isOurs}`)).toEqual([
      "chunk false",
      "other false",
      "chunk true",
      "other false",
    ])
    expect(found.streams).toEqual([])
  })

  test("takes the root id from the files when the root file is gone", async () => {
    const found = await inspect(await makeDisk(makeTypesManifest(manifestRootId, 8), false))
    expect([found.isRootFileIntact, found.rootId]).toEqual([false, manifestRootId])
    expect(found.streams.length).toBeGreaterThan(0)
  })

  test("does not look at more of a file than can count", async () => {
    const files = makeTypesManifest(manifestRootId, 9)
    const disk = await makeDisk(files)
    await onDisk(disk, (directory) =>
      Effect.sync(() => {
        const file = directory.openUnsafe(`/store/${chunkPath}`, "write")
        file.writeUnsafe(new Uint8Array(8), 0, 8, 3 * 2 ** 20)
        file.closeUnsafe()
      }),
    )
    const found = await inspect(disk)
    expect(found.files[1]).toMatchObject({ bytes: 2 ** 20, recordCount: 22, damage: [] })
    expect(found.damage).toEqual([])
  })

  test("fails as NotFound where there is no root, and is empty where there is no manifest", async () => {
    const none = await Effect.runPromise(
      Effect.result(inspectManifest("/store")).pipe(Effect.provide(new MemoryDisk().layer)),
    )
    expect(Result.isFailure(none) && none.failure._tag).toBe("NotFound")
    expect(await inspect(await makeDisk([]))).toMatchObject({ files: [], streams: [], damage: [], lastSequence: 0 })
  })
})
