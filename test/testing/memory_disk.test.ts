// What the memory disk leaves after a power cut, a kill and injected failures.

import { expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Directory } from "../../src/port/directory.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import type { SegmentFile } from "../../src/port/segment_file.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { codeOf } from "../support/directory_conformance.ts"

const run = Effect.runPromise
const nothing = (): boolean => false
const everything = (): boolean => true

const open = (disk: MemoryDisk): Directory => Context.get(disk.services(), Directory)

const write = (file: SegmentFile, position: number, length: number, byte: number): void =>
  file.writeUnsafe(new Uint8Array(length).fill(byte), 0, length, position)

/** A file whose entry is durable and whose content is not. */
const makeFile = async (disk: MemoryDisk, path = "/d/a"): Promise<{ directory: Directory; file: SegmentFile }> => {
  const directory = open(disk)
  await run(directory.makeDirectory("/d"))
  const file = directory.openUnsafe(path, "create")
  await run(directory.sync("/d"))
  return { directory, file }
}

const contentOf = async (disk: MemoryDisk, path = "/d/a"): Promise<Uint8Array | undefined> =>
  run(open(disk).readFile(path))

const namesOf = async (disk: MemoryDisk): Promise<ReadonlyArray<string>> =>
  (await run(open(disk).list("/d"))).map((entry) => entry.name)

test("a crash keeps what was synced and drops what was not", async () => {
  const disk = new MemoryDisk()
  const { file } = await makeFile(disk)
  write(file, 0, 1000, 1)
  await run(file.syncData)
  write(file, 500, 1000, 2)
  disk.crash(nothing)
  const content = await contentOf(disk)
  expect(content?.length).toBe(1000)
  expect(content?.every((byte) => byte === 1)).toBe(true)
})

test("a crash may keep any sector of an unsynced write", async () => {
  const disk = new MemoryDisk()
  const { file } = await makeFile(disk)
  write(file, 0, 2048, 1)
  await run(file.syncData)
  write(file, 100, 1500, 2)
  expect(disk.candidates().map((each) => ("position" in each ? [each.position, each.bytes] : each.kind))).toEqual([
    [100, 412],
    [512, 512],
    [1024, 512],
    [1536, 64],
  ])
  disk.crash((each) => "position" in each && each.position === 512)
  const content = (await contentOf(disk))!
  expect([content[100], content[511], content[512], content[1023], content[1024], content[2047]]).toEqual([
    1, 1, 2, 2, 1, 1,
  ])
})

test("of two writes to one sector either, both or none may stay", async () => {
  for (const [kept, expected] of [
    [[true, true], 3],
    [[true, false], 2],
    [[false, true], 3],
    [[false, false], 1],
  ] as const) {
    const disk = new MemoryDisk()
    const { file } = await makeFile(disk)
    write(file, 0, 10, 1)
    await run(file.syncData)
    write(file, 0, 10, 2)
    write(file, 0, 10, 3)
    let asked = 0
    disk.crash(() => kept[asked++]!)
    expect((await contentOf(disk))?.[0]).toBe(expected)
  }
})

test("a write past the end whose neighbour was dropped leaves zeros between", async () => {
  const disk = new MemoryDisk()
  const { file } = await makeFile(disk)
  write(file, 0, 512, 1)
  write(file, 512, 512, 2)
  disk.crash((each) => "position" in each && each.position === 512)
  const content = (await contentOf(disk))!
  expect([content.length, content[0], content[511], content[512]]).toEqual([1024, 0, 0, 2])
})

test("a truncation is pending until a sync", async () => {
  for (const isKept of [true, false]) {
    const disk = new MemoryDisk()
    const { file } = await makeFile(disk)
    write(file, 0, 1000, 1)
    await run(file.syncData)
    await run(file.truncate(300))
    expect(file.sizeUnsafe()).toBe(300)
    disk.crash(() => isKept)
    const content = (await contentOf(disk))!
    expect([content.length, content.at(-1)]).toEqual([isKept ? 300 : 1000, 1])
  }
})

test("a sync covers what was written before it began, and no more", async () => {
  const disk = new MemoryDisk()
  const { file } = await makeFile(disk)
  write(file, 0, 512, 1)
  const sync = run(file.syncData)
  write(file, 512, 512, 2)
  const early = disk.fork()
  await sync
  disk.crash(nothing)
  early.crash(nothing)
  expect((await contentOf(disk))?.length).toBe(512)
  expect((await contentOf(early))?.length).toBe(0)
})

test("what a failed sync covered is not made durable by the next", async () => {
  const disk = new MemoryDisk()
  const { file } = await makeFile(disk)
  write(file, 0, 512, 1)
  disk.onOperation = (operation) => (operation.kind === "syncData" ? "EIO" : undefined)
  expect(await codeOf(file.syncData)).toBe("EIO")
  disk.onOperation = undefined
  write(file, 512, 512, 2)
  write(file, 0, 100, 3)
  await run(file.syncData)
  expect(file.sizeUnsafe()).toBe(1024)
  disk.crash(nothing)
  const content = (await contentOf(disk))!
  expect([content[0], content[99], content[100], content[511], content[512]]).toEqual([3, 3, 0, 0, 2])
})

test("an entry is durable after the sync of its directory, whatever became of the file", async () => {
  const disk = new MemoryDisk()
  const { directory } = await makeFile(disk)
  const file = directory.openUnsafe("/d/b", "create")
  write(file, 0, 10, 1)
  await run(file.syncData)
  const lost = disk.fork()
  await run(directory.sync("/d"))
  disk.crash(nothing)
  lost.crash(nothing)
  expect(await namesOf(disk)).toEqual(["a", "b"])
  expect((await contentOf(disk, "/d/b"))?.length).toBe(10)
  expect(await namesOf(lost)).toEqual(["a"])
})

test("a rename is whole or not at all, and a removal comes back", async () => {
  const disk = new MemoryDisk()
  const { directory, file } = await makeFile(disk)
  write(file, 0, 1, 1)
  await run(file.syncData)
  const temporary = directory.openUnsafe("/d/a.tmp", "create")
  write(temporary, 0, 1, 2)
  await run(temporary.syncData)
  await run(directory.rename("/d/a.tmp", "/d/a"))
  expect(disk.candidates().map((each) => each.kind)).toEqual(["create", "rename"])
  const outcomes: Array<unknown> = []
  for (const kinds of [[], ["create"], ["rename"], ["create", "rename"]]) {
    const copy = disk.fork()
    copy.crash((each) => kinds.includes(each.kind))
    outcomes.push([...(await namesOf(copy)), (await contentOf(copy))?.[0]])
  }
  expect(outcomes).toEqual([
    ["a", 1],
    ["a", "a.tmp", 1],
    ["a", 2],
    ["a", 2],
  ])
  await run(directory.sync("/d"))
  await run(directory.remove("/d/a"))
  disk.crash(nothing)
  expect((await contentOf(disk))?.[0]).toBe(2)
})

test("a removed directory stays away once its parent is synced", async () => {
  const disk = new MemoryDisk()
  const directory = open(disk)
  await run(directory.makeDirectory("/d/e/f"))
  directory.openUnsafe("/d/e/f/x", "create").closeUnsafe()
  await run(directory.sync("/d/e/f"))
  await run(directory.removeDirectory("/d/e"))
  const early = disk.fork()
  early.crash(nothing)
  expect(await run(open(early).kind("/d/e/f/x"))).toBe("file")
  await run(directory.sync("/d"))
  expect(disk.candidates()).toEqual([])
  disk.crash(nothing)
  expect(await namesOf(disk)).toEqual([])
})

test("a kill keeps what was written, ends the process and frees the lock", async () => {
  const disk = new MemoryDisk()
  const { directory, file } = await makeFile(disk)
  write(file, 0, 10, 1)
  const sync = codeOf(file.syncData)
  const hold = Effect.flatMap(RootLock, (lock) => Effect.andThen(lock.acquire("/d"), Effect.never))
  const controller = new AbortController()
  const held = Effect.runPromiseExit(Effect.provide(Effect.scoped(hold), disk.layer), { signal: controller.signal })
  const lock = (): Promise<string> =>
    codeOf(Effect.scoped(Context.get(disk.services(), RootLock).acquire("/d")) as Effect.Effect<unknown, never>)
  await Promise.resolve()
  expect(await lock()).toBe("EBUSY")
  disk.kill()
  expect(await sync).toBe("EIO")
  expect(await codeOf(() => file.sizeUnsafe())).toBe("EIO")
  expect(await codeOf(() => directory.openUnsafe("/d/a", "read"))).toBe("EIO")
  expect(await codeOf(directory.remove("/d/a"))).toBe("EIO")
  expect(await lock()).toBe("none")
  expect((await contentOf(disk))?.length).toBe(10)
  controller.abort()
  await held
  disk.crash(nothing)
  expect((await contentOf(disk))?.length).toBe(0)
})

test("a full disk is ENOSPC until something is removed", async () => {
  const disk = new MemoryDisk({ capacityBytes: 1000 })
  const { directory, file } = await makeFile(disk)
  write(file, 0, 900, 1)
  expect(await codeOf(() => write(file, 850, 200, 2))).toBe("ENOSPC")
  expect(await codeOf(file.zeroFill(900, 2000))).toBe("ENOSPC")
  expect([file.sizeUnsafe(), disk.usedBytes]).toEqual([900, 900])
  await run(directory.remove("/d/a"))
  expect(disk.usedBytes).toBe(900)
  file.closeUnsafe()
  expect(disk.usedBytes).toBe(0)
  write(directory.openUnsafe("/d/b", "create"), 0, 1000, 1)
})

test("operations are announced in order, fail on demand without effect, and can be held", async () => {
  const disk = new MemoryDisk()
  const { directory, file } = await makeFile(disk)
  const seen: Array<DiskOperation> = []
  let release = (): void => {}
  disk.onOperation = (operation) => {
    seen.push(operation)
    if (operation.kind === "write" && operation.from === 100) return "EIO"
    return operation.kind === "syncData" ? new Promise<void>((resolve) => (release = resolve)) : undefined
  }
  write(file, 0, 10, 1)
  expect(await codeOf(() => write(file, 100, 10, 1))).toBe("EIO")
  let isSynced = false
  const sync = run(file.syncData).then(() => (isSynced = true))
  await run(directory.rename("/d/a", "/d/b"))
  expect(isSynced).toBe(false)
  release()
  await sync
  expect(seen.map(({ kind, path, from, to, target }) => [kind, path, from, to, target])).toEqual([
    ["write", "/d/a", 0, 10, undefined],
    ["write", "/d/a", 100, 110, undefined],
    ["syncData", "/d/a", 0, 0, undefined],
    ["rename", "/d/a", 0, 0, "/d/b"],
  ])
  expect(seen[1]!.sequence).toBe(seen[0]!.sequence + 1)
  expect(disk.operationCount).toBe(seen.at(-1)!.sequence)
  expect(file.sizeUnsafe()).toBe(10)
})

test("a crash that keeps everything changes nothing, and a fork shares nothing", async () => {
  const disk = new MemoryDisk()
  const { directory, file } = await makeFile(disk)
  // A fixed walk of writes, cuts, syncs and failed syncs, compared with a plain array.
  let random = 7
  const next = (limit: number): number => {
    random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
    return random % limit
  }
  let expected: Array<number> = []
  for (let step = 0; step < 300; step++) {
    const [position, length, byte] = [next(4000), next(2000), next(255) + 1]
    const what = next(10)
    disk.onOperation = what === 9 ? ({ kind }) => (kind === "syncData" ? "EIO" : undefined) : undefined
    if (what >= 8) await codeOf(file.syncData)
    else if (what === 7) {
      await run(file.truncate(position))
      expected = Array.from({ length: position }, (_, index) => expected[index] ?? 0)
    } else {
      write(file, position, length, byte)
      const size = length === 0 ? expected.length : Math.max(expected.length, position + length)
      expected = Array.from({ length: size }, (_, index) =>
        index >= position && index < position + length ? byte : (expected[index] ?? 0),
      )
    }
  }
  const copy = disk.fork()
  copy.crash(everything)
  expect(Array.from((await contentOf(copy))!)).toEqual(expected)
  await run(directory.remove("/d/a"))
  expect((await contentOf(copy))?.length).toBe(expected.length)
})

test("without modelled crashes a crash loses nothing and nothing gathers", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const { file } = await makeFile(disk)
  write(file, 0, 10, 1)
  expect(disk.candidates()).toEqual([])
  disk.crash(nothing)
  expect((await contentOf(disk))?.length).toBe(10)
})

test("a crash drops a second name that was not synced, and the content stays under the first", async () => {
  for (const [isSynced, names] of [
    [false, ["a"]],
    [true, ["a", "b"]],
  ] as const) {
    const disk = new MemoryDisk()
    const { directory, file } = await makeFile(disk)
    write(file, 0, 100, 1)
    await run(file.syncData)
    await run(directory.link("/d/a", "/d/b"))
    expect(disk.candidates().map((each) => each.kind)).toEqual(["link"])
    if (isSynced) await run(directory.sync("/d"))
    disk.crash(nothing)
    expect(await namesOf(disk)).toEqual([...names])
    expect((await contentOf(disk))?.length).toBe(100)
    expect(disk.usedBytes).toBe(100)
  }
})

test("a file with two names takes room until both are gone", async () => {
  const disk = new MemoryDisk()
  const { directory, file } = await makeFile(disk)
  write(file, 0, 100, 1)
  file.closeUnsafe()
  await run(directory.link("/d/a", "/d/b"))
  await run(directory.remove("/d/a"))
  expect(disk.usedBytes).toBe(100)
  await run(directory.remove("/d/b"))
  expect(disk.usedBytes).toBe(0)
})
