// Segments that are behind the commit journal catch up in batches: what a batch made durable needs the journal no more, and one that fails loses nothing.

import { expect, test } from "bun:test"
import type { Aof, AofManager, AofManagerOptions } from "bop-aof"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { openWith } from "../../src/api/manager.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"

const KiB = 1024
const options: AofManagerOptions = {
  root: "/store",
  journalBytes: 256 * KiB,
  journalStreamsMin: 2,
  segmentBytes: 64 * KiB,
  closeTimeoutMs: 20_000,
}
const streamCount = 6
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const makeDisk = (): MemoryDisk => new MemoryDisk({ batchFilesMin: 2 })

const makeStreams = (manager: AofManager, name: string): Promise<ReadonlyArray<Aof>> =>
  Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`${name}${at}`)))

const openStreams = async (
  disk: MemoryDisk,
  name = "s",
): Promise<{ manager: AofManager; streams: ReadonlyArray<Aof> }> => {
  const manager = await openWith(disk.layer, options)
  return { manager, streams: await makeStreams(manager, name) }
}

const appendRound = (streams: ReadonlyArray<Aof>, round: number): Promise<unknown> =>
  Promise.all(streams.map((stream) => stream.append(`${stream.name}-${round}`)))

const textsOf = async (stream: Aof): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for await (const record of stream.read({ from: "start" })) found.push(record.text())
  return found
}

const expectRounds = async (manager: AofManager, rounds: number): Promise<void> => {
  for (let at = 0; at < streamCount; at++) {
    const expected = Array.from({ length: rounds }, (_, round) => `s${at}-${round}`)
    expect((await textsOf(await manager.stream(`s${at}`))).slice(0, rounds)).toEqual(expected)
  }
}

/** Calls `done` until it says true. */
const until = async (done: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 1000 && !done(); tries++) await pause(2)
  expect(done()).toBe(true)
}

const removeJournal = async (disk: MemoryDisk): Promise<void> => {
  const directory = Context.get(disk.services(), Directory)
  const paths = disk.paths().filter((path) => path.endsWith(".jnl"))
  expect(paths.length).toBeGreaterThan(0)
  for (const path of paths) await Effect.runPromise(directory.remove(path))
}

test("what a batch has made durable is there after a power cut without the journal", async () => {
  const disk = makeDisk()
  let batches = 0
  let fileSyncs = 0
  disk.onOperation = ({ kind, path }) => {
    if (kind === "syncFileSystem") batches++
    if (kind === "syncData" && path.endsWith(".seg")) fileSyncs++
  }
  const { manager, streams } = await openStreams(disk)
  await appendRound(streams, 0)
  fileSyncs = 0
  for (let round = 1; round < 4; round++) await appendRound(streams, round)
  const before = batches
  await until(() => batches > before)
  await pause(20)
  const cut = disk.fork()
  cut.crash(() => false)
  await removeJournal(cut)
  cut.kill()
  await withStore(cut.layer, options, (again) => expectRounds(again, 4))
  expect(fileSyncs).toBe(0)
  await manager.close()
})

for (const fault of ["syncFileSystem", "write", "create", "makeDirectory"] as const) {
  test(`a batch of which ${fault} fails loses nothing, and nothing stays behind`, async () => {
    const disk = makeDisk()
    const { manager, streams: first } = await openStreams(disk, "first")
    for (let round = 0; round < 3; round++) await appendRound(first, round)
    // The journal is in use: the files of these are made behind it.
    const streams = await makeStreams(manager, "s")
    let failures = 0
    disk.onOperation = ({ kind, path }) => {
      const isOfStream = kind === "syncFileSystem" || path.includes("/streams/s")
      return kind === fault && isOfStream && ++failures <= 2 ? "EIO" : undefined
    }
    for (let round = 0; round < 3; round++) {
      await Promise.all([appendRound(first, round + 3), appendRound(streams, round)])
    }
    await until(() => failures > 0)
    const cut = disk.fork()
    cut.crash(() => false)
    await withStore(cut.layer, options, (again) => expectRounds(again, 3))
    for (let round = 3; round < 6; round++) await appendRound(streams, round)
    await pause(500)
    const later = disk.fork()
    later.crash(() => false)
    await removeJournal(later)
    later.kill()
    await withStore(later.layer, options, (again) => expectRounds(again, 6))
    await manager.close()
  })
}

test("streams go on, seal, close and are deleted while a batch is on its way, and wait for it where they must", async () => {
  const disk = makeDisk()
  const { manager, streams } = await openStreams(disk)
  let letGo: (() => void) | undefined
  disk.onOperation = ({ kind }) =>
    kind === "syncFileSystem" && letGo === undefined
      ? new Promise((resolve) => {
          letGo = () => resolve(undefined)
        })
      : undefined
  await appendRound(streams, 0)
  await until(() => letGo !== undefined)
  // Acknowledged by the journal, with the batch on its way.
  await appendRound(streams, 1)
  const [sealing, closing, deleting, ...others] = streams
  let ended = 0
  const ends = [sealing!.seal(), closing!.close(), manager.deleteStream(deleting!.name)].map((end) =>
    end.then(() => {
      ended++
    }),
  )
  await pause(50)
  await appendRound(others, 2)
  expect(ended).toBe(0)
  letGo!()
  await Promise.all(ends)
  expect(await textsOf(sealing!)).toEqual(["s0-0", "s0-1"])
  expect(await textsOf(await manager.stream(closing!.name))).toEqual(["s1-0", "s1-1"])
  const made = await manager.stream(deleting!.name)
  await made.append("anew")
  expect(await textsOf(made)).toEqual(["anew"])
  await manager.close()
  disk.crash(() => false)
  await withStore(disk.layer, options, async (again) => {
    expect(await textsOf(await again.stream(deleting!.name))).toEqual(["anew"])
    expect(await textsOf(await again.stream("s5"))).toEqual(["s5-0", "s5-1", "s5-2"])
  })
})
