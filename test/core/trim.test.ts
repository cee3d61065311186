// A trim whose caller goes away, or whose files cannot be removed at first: it is finished all the same, without anybody's doing.

import { expect, test } from "bun:test"
import type { Aof, AofManager, AofManagerOptions } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { until } from "../support/bucket.ts"

const local: AofManagerOptions = {
  root: "/store",
  segmentBytes: 16_384,
  stagingBytes: 4096,
  preallocateBytesMax: 0,
  tier2: false,
}

/** Ten sealed segments and a record behind them. */
const filled = async (manager: AofManager): Promise<{ readonly stream: Aof; readonly lastId: number }> => {
  const stream = await manager.stream("s")
  for (let index = 0; index < 10; index++) {
    await stream.append(new Uint8Array(9000))
    await stream.seal()
  }
  const { recordId } = await stream.append("last")
  return { stream, lastId: recordId }
}

const dataFiles = (disk: MemoryDisk): ReadonlyArray<string> =>
  disk.paths().filter((path) => path.startsWith("/store/streams/") && /\.(seg|zst)$/.test(path))

/** Does something to the first operation that `is` finds. */
const atFirst = (
  disk: MemoryDisk,
  is: (operation: DiskOperation) => boolean,
  act: () => Promise<undefined> | "EIO",
): void => {
  let isOver = false
  disk.onOperation = (operation) => {
    if (isOver || !is(operation)) return undefined
    isOver = true
    return act()
  }
}

const isRemoval = ({ kind, path }: DiskOperation): boolean => kind === "remove" && path.endsWith(".seg")

test("a trim that is aborted while files are being removed leaves none of them", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openWith(disk.layer, local)
  const { stream, lastId } = await filled(manager)
  const caller = new AbortController()
  let letGo = (): void => {}
  atFirst(disk, isRemoval, () => {
    setTimeout(() => caller.abort(), 1)
    return new Promise((resolve) => {
      letGo = () => resolve(undefined)
    })
  })
  const trimmed = stream.trim({ before: lastId, signal: caller.signal }).catch(() => {})
  await until("the caller has gone", () => caller.signal.aborted)
  letGo()
  await trimmed
  await until("what was trimmed is gone", () => dataFiles(disk).length === 1)
  expect(manager.observe().tier0.usedBytes).toBe(disk.contentOf(dataFiles(disk)[0]!)!.length)
  await manager.close()
})

test("a file that cannot be removed at first keeps no other, and goes with the next try", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openWith(disk.layer, local)
  const { stream, lastId } = await filled(manager)
  atFirst(disk, isRemoval, () => "EIO")
  await expect(stream.trim({ before: lastId })).rejects.toMatchObject({ _tag: "Unavailable", code: "EIO" })
  expect(dataFiles(disk)).toHaveLength(2)
  await stream.trim({ before: lastId })
  expect(dataFiles(disk)).toHaveLength(1)
  await manager.close()
})

test("a trim that is aborted while its record is being synced is finished", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openWith(disk.layer, local)
  const { stream, lastId } = await filled(manager)
  const caller = new AbortController()
  let letGo = (): void => {}
  const isCommit = ({ kind, path }: DiskOperation): boolean => kind === "syncData" && path.includes("/manifest/")
  atFirst(disk, isCommit, () => {
    setTimeout(() => caller.abort(), 1)
    return new Promise((resolve) => {
      letGo = () => resolve(undefined)
    })
  })
  await expect(stream.trim({ before: lastId, signal: caller.signal })).rejects.toMatchObject({ name: "AbortError" })
  letGo()
  await until("what was trimmed is gone", () => dataFiles(disk).length === 1)
  expect(stream.info().firstId).toBe(lastId)
  await manager.close()
})

test("a file that can never be removed does not end retention", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openWith(disk.layer, local)
  const stream = await manager.stream("s", { retention: { bytes: 20_000 } })
  disk.onOperation = ({ kind, path }) => (kind === "remove" && path.endsWith("0000000001.seg") ? "EPERM" : undefined)
  for (let index = 0; index < 12; index++) {
    await stream.append(new Uint8Array(9000))
    await stream.seal()
  }
  // The one that stays, and what is kept.
  await until("the rest is gone", () => dataFiles(disk).length <= 4)
  expect(stream.segments().length).toBeLessThanOrEqual(3)
  await manager.close()
})
