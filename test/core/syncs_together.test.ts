// Syncs that many ask for at once, as opening a root with many streams that were cut short does: one of the file system serves all who had written before
// it began, one that fails is told to all of them and is the last, and what an opening has answered survives a power cut.

import { expect, test } from "bun:test"
import type { AofManagerOptions } from "bop-aof"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { openWith } from "../../src/api/manager.ts"
import { SyncsTogether } from "../../src/core/files/syncs_together.ts"
import { Directory } from "../../src/port/directory.ts"
import { EventLoop } from "../../src/port/event_loop.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"

const streamCount = 6
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const makeTogether = (disk: MemoryDisk) => {
  const services = disk.services()
  const eventLoop = Context.get(services, EventLoop)
  const together = new SyncsTogether(Context.get(services, Directory), { root: "/", readOnly: false }, eventLoop)
  const { directory } = together
  /** Makes a file with its name in it; the syncs of both are still to come. */
  const write = (name: string): Effect.Effect<void, unknown> => {
    const file = directory.openUnsafe(`/${name}`, "create")
    const bytes = new TextEncoder().encode(name)
    file.writeUnsafe(bytes, 0, bytes.length, 0)
    return Effect.all([file.syncData, directory.sync("/")], { concurrency: 2, discard: true })
  }
  return { together, write }
}

/** Counts what is asked for of the disk; the first sync of the file system waits until `letGo`, and then fails with `fault`. */
const watch = (disk: MemoryDisk, fault?: string) => {
  const seen = { together: 0, own: 0 }
  let letGo = (): void => {}
  const held = new Promise<string | undefined>((resolve) => {
    letGo = () => resolve(fault)
  })
  disk.onOperation = ({ kind }) => {
    if (kind === "syncData" || kind === "syncDirectory") seen.own++
    return kind === "syncFileSystem" && ++seen.together === 1 ? held : undefined
  }
  return { seen, letGo }
}

const until = async (done: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 1000 && !done(); tries++) await pause(1)
  expect(done()).toBe(true)
}

const textAfterCut = (disk: MemoryDisk, name: string): Promise<string | undefined> => {
  const cut = disk.fork()
  cut.crash(() => false)
  const read = Context.get(cut.services(), Directory).readFile(`/${name}`)
  return Effect.runPromise(Effect.map(read, (bytes) => bytes && new TextDecoder().decode(bytes)))
}

test("one sync of the file system serves all who ask for one, and not who writes while it is on its way", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 3 })
  const { together, write } = makeTogether(disk)
  const { seen, letGo } = watch(disk)
  const first = Promise.all(["a", "b", "c"].map((name) => Effect.runPromise(write(name))))
  await until(() => seen.together === 1)
  const later = Effect.runPromise(write("later"))
  await pause(5)
  letGo()
  await first
  expect(await Promise.all(["a", "b", "c"].map((name) => textAfterCut(disk, name)))).toEqual(["a", "b", "c"])
  await later
  expect(await textAfterCut(disk, "later")).toBe("later")
  expect(seen).toEqual({ together: 1, own: 2 })
  await Effect.runPromise(together.end)
  await Effect.runPromise(Effect.all([write("d"), write("e")], { concurrency: 2 }))
  expect(seen).toEqual({ together: 1, own: 6 })
})

test("who asks alone has a sync of its own, and who may lose something is told", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 3 })
  const { write } = makeTogether(disk)
  const { seen, letGo } = watch(disk, "EIO")
  await Effect.runPromise(write("alone"))
  expect(seen).toEqual({ together: 0, own: 2 })
  const first = ["a", "b"].map((name) => Effect.runPromise(Effect.result(write(name))))
  await until(() => seen.together === 1)
  const later = ["c", "d"].map((name) => Effect.runPromise(Effect.result(write(name))))
  await pause(5)
  letGo()
  for (const result of await Promise.all(first)) expect(result).toMatchObject({ failure: { code: "EIO" } })
  // The next sync of the file system would say that all is well.
  await Promise.all(later)
  expect(seen).toEqual({ together: 1, own: 6 })
})

test("a file stays open for a sync that waits, and for one of its own where there is no other", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 3 })
  const { together } = makeTogether(disk)
  const { directory } = together
  const file = directory.openUnsafe("/a", "create")
  file.writeUnsafe(new Uint8Array([1]), 0, 1, 0)
  const synced = Effect.runPromise(file.syncData)
  file.closeUnsafe()
  await synced
  expect(await textAfterCut(disk, "a")).toBeUndefined()
  await Effect.runPromise(directory.sync("/"))
  expect(await textAfterCut(disk, "a")).toBe("\u0001")
  expect(() => file.writeUnsafe(new Uint8Array([1]), 0, 1, 0)).toThrow()
})

test("what an opening that came to nothing had open is closed, and what one that ended has open is not", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 3 })
  const byte = new Uint8Array([1])
  const failed = makeTogether(disk).together
  const left = failed.directory.openUnsafe("/left", "create")
  await Effect.runPromise(failed.close)
  expect(() => left.writeUnsafe(byte, 0, 1, 0)).toThrow()
  const opened = makeTogether(disk).together
  const kept = opened.directory.openUnsafe("/kept", "create")
  await Effect.runPromise(opened.end)
  await Effect.runPromise(opened.close)
  kept.writeUnsafe(byte, 0, 1, 0)
  await Effect.runPromise(kept.syncData)
  kept.closeUnsafe()
})

const options: AofManagerOptions = { root: "/store", journalStreamsMin: 2, segmentBytes: 64 * 1024 }
const names = Array.from({ length: streamCount }, (_, at) => `s${at}`)

/** A root whose process was killed: streams that only the journal has whole. */
const makeKilled = async (): Promise<MemoryDisk> => {
  const disk = new MemoryDisk({ batchFilesMin: 2 })
  const manager = await openWith(disk.layer, options)
  const streams = await Promise.all(names.map((name) => manager.stream(name)))
  for (let round = 0; round < 3; round++) await Promise.all(streams.map((stream) => stream.append(`${round}`)))
  const killed = disk.fork()
  await manager.close()
  killed.kill()
  return killed
}

const expectAll = (disk: MemoryDisk): Promise<void> =>
  withStore(disk.layer, options, async (manager) => {
    for (const name of names) {
      const texts: Array<string> = []
      for await (const record of (await manager.stream(name)).read({ from: "start" })) texts.push(record.text())
      expect(texts).toEqual(["0", "1", "2"])
    }
  })

test("what an opening has answered survives a power cut, with one sync of the file system for all streams at a time", async () => {
  const disk = await makeKilled()
  let fileSyncs = 0
  let together = 0
  disk.onOperation = ({ kind, path }) => {
    if (kind === "syncData" && path.endsWith(".seg")) fileSyncs++
    if (kind === "syncFileSystem") together++
  }
  const manager = await openWith(disk.layer, options)
  expect(together).toBeGreaterThan(0)
  expect(fileSyncs).toBeLessThan(streamCount)
  const cut = disk.fork()
  cut.crash(() => false)
  await expectAll(cut)
  await manager.close()
  disk.crash(() => false)
  await expectAll(disk)
})

test("an opening whose sync of the file system fails is refused, and loses nothing", async () => {
  const disk = await makeKilled()
  let failures = 0
  disk.onOperation = ({ kind }) => (kind === "syncFileSystem" && ++failures === 1 ? "EIO" : undefined)
  const opened = await openWith(disk.layer, options).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(opened).toMatchObject({ _tag: "Unavailable", code: "EIO" })
  disk.crash(() => false)
  await expectAll(disk)
})
