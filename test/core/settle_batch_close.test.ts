// A batch that is on its way when its streams or its root are closed; and none any more after one whose sync failed.

import { expect, test } from "bun:test"
import type { Aof, AofManagerOptions } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"

const options: AofManagerOptions = {
  root: "/store",
  journalBytes: 256 * 1024,
  journalStreamsMin: 2,
  segmentBytes: 64 * 1024,
  closeTimeoutMs: 4000,
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (done: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 1000 && !done(); tries++) await pause(2)
  expect(done()).toBe(true)
}
const textsOf = async (stream: Aof): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for await (const record of stream.read({ from: "start" })) found.push(record.text())
  return found
}
const appendRound = (streams: ReadonlyArray<Aof>, round: number): Promise<unknown> =>
  Promise.all(streams.map((stream) => stream.append(`${stream.name}-${round}`)))

/** Holds the first operation of which `isMeant` says true, until it is let go. */
const holdFirst = (
  disk: MemoryDisk,
  isMeant: (operation: DiskOperation) => boolean,
): { readonly isHeld: () => boolean; readonly letGo: () => void } => {
  let letGo: (() => void) | undefined
  const before = disk.onOperation
  disk.onOperation = (operation) => {
    if (letGo !== undefined || !isMeant(operation)) return before?.(operation)
    return new Promise((resolve) => {
      letGo = () => resolve(undefined)
    })
  }
  return { isHeld: () => letGo !== undefined, letGo: () => letGo!() }
}

test("a manager that closes while a batch takes longer than streams are waited for ends with the batch", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 2 })
  const manager = await openWith(disk.layer, options)
  const streams = await Promise.all(Array.from({ length: 6 }, (_, at) => manager.stream(`s${at}`)))
  const batch = holdFirst(disk, ({ kind }) => kind === "syncFileSystem")
  await appendRound(streams, 0)
  await until(batch.isHeld)
  await appendRound(streams, 1)
  let endedMs = 0
  const started = performance.now()
  const closed = manager.close().then(
    () => "closed",
    (error: unknown) => {
      endedMs = performance.now() - started
      return (error as Error).message
    },
  )
  await pause(3500)
  batch.letGo()
  expect(await closed).toContain("closeTimeoutMs")
  expect(endedMs).toBeLessThan(3900)
  const again = await openWith(disk.layer, options)
  for (const { name } of streams) expect(await textsOf(await again.stream(name))).toEqual([`${name}-0`, `${name}-1`])
  await again.close()
}, 20_000)

test("a stream that is being closed waits for a batch that has begun meanwhile", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 2 })
  const manager = await openWith(disk.layer, options)
  const streams = await Promise.all(Array.from({ length: 6 }, (_, at) => manager.stream(`s${at}`)))
  const [first] = streams
  // By itself, so that a file for its next segment is made.
  for (let i = 0; i < 400 && !disk.paths().some((path) => path.endsWith("/spare.seg")); i++)
    await first!.append("x".repeat(900))
  await pause(300)
  expect(disk.paths().filter((path) => path.endsWith("/spare.seg")).length).toBe(1)
  const removal = holdFirst(disk, ({ kind, path }) => kind === "remove" && path.endsWith("/spare.seg"))
  const batch = holdFirst(disk, ({ kind }) => kind === "syncFileSystem")
  await appendRound(streams, 1)
  let isClosed = false
  const closed = first!.close().then(() => {
    isClosed = true
  })
  await until(removal.isHeld)
  await until(batch.isHeld)
  removal.letGo()
  await pause(100)
  expect(isClosed).toBe(false)
  batch.letGo()
  await closed
  await manager.close()
}, 20_000)

for (const how of ["closed", "deleted"] as const) {
  test(`a stream that could not be ${how} in time is opened again when the batch does not write to its files any more`, async () => {
    const disk = new MemoryDisk({ batchFilesMin: 2 })
    const manager = await openWith(disk.layer, { ...options, closeTimeoutMs: 300 })
    const others = await Promise.all(Array.from({ length: 3 }, (_, at) => manager.stream(`other${at}`)))
    for (let round = 0; round < 3; round++) await appendRound(others, round)
    const streams = await Promise.all(Array.from({ length: 4 }, (_, at) => manager.stream(`s${at}`)))
    const folder = holdFirst(disk, ({ kind, path }) => kind === "makeDirectory" && path.endsWith("/streams/s0"))
    await Promise.all([appendRound(others, 3), appendRound(streams, 0)])
    await until(folder.isHeld)
    const ended = how === "closed" ? streams[0]!.close() : manager.deleteStream("s0")
    expect(await ended.catch((error: unknown) => (error as Error).message)).toContain("closeTimeoutMs")
    const anew = (async () => {
      await (await manager.stream("s0")).append("in between")
      await manager.deleteStream("s0")
      const stream = await manager.stream("s0")
      for (let round = 1; round < 4; round++) await stream.append(`another one, and a longer one, ${round}`)
      return stream
    })()
    await Promise.race([anew, pause(500)])
    folder.letGo()
    const stream = await anew
    await pause(100)
    expect(await textsOf(stream)).toEqual([1, 2, 3].map((round) => `another one, and a longer one, ${round}`))
    await manager.close()
  })
}

test("after a batch whose sync failed each file is synced by itself: the system tells of a lost write once, whoever it was of", async () => {
  const disk = new MemoryDisk({ batchFilesMin: 2 })
  const manager = await openWith(disk.layer, options)
  const streams = await Promise.all(Array.from({ length: 6 }, (_, at) => manager.stream(`s${at}`)))
  let syncs = 0
  disk.onOperation = ({ kind }) => (kind === "syncFileSystem" && ++syncs === 1 ? "EIO" : undefined)
  await appendRound(streams, 0)
  await until(() => syncs === 1)
  for (let round = 1; round < 5; round++) {
    await appendRound(streams, round)
    await pause(150)
  }
  expect(syncs).toBe(1)
  await manager.close()
  disk.crash(() => false)
  const again = await openWith(disk.layer, options)
  for (const { name } of streams)
    expect(await textsOf(await again.stream(name))).toEqual([0, 1, 2, 3, 4].map((round) => `${name}-${round}`))
  await again.close()
})
