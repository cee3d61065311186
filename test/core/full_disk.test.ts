// A disk that is full under a store that holds all its records in Tier 0: appends say so, what is there stays readable, a trim works
// all the same, and then appends go on by themselves.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager as RealManager } from "bop-aof"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { startChild } from "../support/child.ts"
import { withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const capacityBytes = 32 * 1024 * 1024
const payload = new Uint8Array(50_000).fill(7)
const options = { segmentBytes: 1024 * 1024, tier2: false, manifest: { chunkBytes: 16 * 1024 } } as const

/** Appends until the disk is full; gives the ids that were acknowledged. */
const fill = async (stream: Aof): Promise<ReadonlyArray<number>> => {
  const ids: Array<number> = []
  for (;;) {
    try {
      ids.push((await stream.append(payload)).recordId)
    } catch (error) {
      expect(error).toMatchObject({ _tag: "Unavailable", code: "ENOSPC", retryable: true })
      return ids
    }
  }
}

/** Appends until it works again. */
const appendSoon = async (stream: Aof): Promise<void> => {
  for (let tries = 1; ; tries++) {
    try {
      await stream.append(payload)
      return
    } catch (error) {
      if (tries === 400 || (error as { code?: string }).code !== "ENOSPC") throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** Fills, reads, trims and goes on, three times; gives what must be there at the end. */
const fillAndTrim = async (manager: AofManager): Promise<{ readonly first: number; readonly end: number }> => {
  const stream = await manager.stream("s")
  for (let round = 0; ; round++) {
    const ids = await fill(stream)
    let last = 0
    for await (const record of stream.read()) last = record.recordId
    expect(last).toBeGreaterThanOrEqual(ids.at(-1) ?? 0)
    const before = stream.info().segments.length
    await stream.trim({ before: last })
    expect(stream.info().segments.length).toBeLessThanOrEqual(Math.min(before, 3))
    await appendSoon(stream)
    if (round === 2) return { first: stream.info().firstRecordNumber, end: stream.info().nextRecordNumber }
  }
}

const check = async (manager: AofManager, { first, end }: { readonly first: number; readonly end: number }) => {
  let number = first
  for await (const record of (await manager.stream("s")).read()) {
    expect([record.recordNumber, record.bytes.length]).toEqual([number++, payload.length])
  }
  expect(number).toBe(end)
}

describe("a full disk", () => {
  test("gives room to a trim, and appends go on", async () => {
    const disk = new MemoryDisk({ capacityBytes })
    const left = await withStore(disk.layer, { ...options, root: "/store" }, fillAndTrim)
    await withStore(disk.layer, { ...options, root: "/store" }, (manager) => check(manager, left))
  })

  test("leaves the manifest the reserve, however much it has to write", async () => {
    const disk = new MemoryDisk({ capacityBytes })
    await withStore(disk.layer, { ...options, root: "/store" }, async (manager) => {
      const stream = await manager.stream("s")
      const ids = await fill(stream)
      const full = disk.usedBytes
      expect(full).toBeGreaterThan(capacityBytes - 1024 * 1024)
      // Four of these fill a chunk.
      for (let event = 0; event < 200; event++) await manager.customEvent(event, new Uint8Array(4000))
      await stream.trim({ before: ids.at(-1)! })
      await appendSoon(stream)
    })
    await withStore(disk.layer, { ...options, root: "/store" }, async (manager) => {
      expect(manager.recovery.isClean).toBe(true)
      // A closed store keeps none.
      expect(disk.usedBytes).toBeLessThan(4 * 1024 * 1024)
    })
  })
})

describe("the room that is kept for a full disk", () => {
  const plain = { ...options, root: "/store", segmentBytes: 64 * 1024 * 1024, preallocateBytesMax: 0 } as const
  const reserveOn = (disk: MemoryDisk): number => disk.contentOf("/store/RESERVE")?.length ?? 0
  const append = async (manager: AofManager, bytes: number): Promise<void> => {
    const stream = await manager.stream("s")
    for (let sum = 0; sum < bytes; sum += payload.length) await stream.append(payload, { level: "written" })
    await stream.flush()
  }

  test("is there before the first seal, and after an opening, once there is much in Tier 0", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, plain, async (manager) => {
      await append(manager, 8 * 1024 * 1024)
      await quietDisk(disk)
      expect(reserveOn(disk)).toBe(0)
      await append(manager, 12 * 1024 * 1024)
      await quietDisk(disk)
      expect(reserveOn(disk)).toBe(4 * 1024 * 1024)
    })
    expect(reserveOn(disk)).toBe(0)
    await withStore(disk.layer, plain, async (manager) => {
      expect(manager.recovery.isClean).toBe(true)
      await quietDisk(disk)
      expect(reserveOn(disk)).toBe(4 * 1024 * 1024)
    })
    expect(reserveOn(disk)).toBe(0)
  })

  test("does not keep a store on a full disk from opening", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, plain, (manager) => append(manager, 20 * 1024 * 1024))
    const wanted: Array<string> = []
    disk.onOperation = ({ kind, path }) => {
      if (kind !== "zeroFill" || !path.endsWith("/RESERVE")) return undefined
      wanted.push(path)
      return "ENOSPC"
    }
    await withStore(disk.layer, plain, async (manager) => {
      await quietDisk(disk)
      expect(wanted.length).toBe(1)
      expect(disk.paths().filter((path) => path.endsWith("/RESERVE"))).toEqual([])
      disk.onOperation = undefined
      await append(manager, 1)
      await (await manager.stream("s")).seal()
      await quietDisk(disk)
      expect(reserveOn(disk)).toBe(4 * 1024 * 1024)
    })
  })

  test("is given to a trim by a store that was opened again", async () => {
    const disk = new MemoryDisk({ capacityBytes })
    const opened = { ...options, root: "/store" }
    await withStore(disk.layer, opened, (manager) => append(manager, 20 * 1024 * 1024))
    await withStore(disk.layer, opened, async (manager) => {
      const stream = await manager.stream("s")
      await quietDisk(disk)
      expect(reserveOn(disk)).toBe(4 * 1024 * 1024)
      // Somebody else takes all that is left.
      disk.onOperation = ({ kind, path }) =>
        kind === "write" && path.includes("/manifest/") && reserveOn(disk) > 0 ? "ENOSPC" : undefined
      const segments = stream.segments().length
      const ids: Array<number> = []
      for await (const { recordId } of stream.read()) ids.push(recordId)
      await stream.trim({ before: ids.at(-1)! })
      expect(stream.segments().length).toBeLessThan(segments)
      expect(reserveOn(disk)).toBe(0)
      disk.onOperation = undefined
    })
  })
})

const folder = fs.mkdtempSync(join(tmpdir(), "bop-aof-full-"))
const isMounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=32m", "tmpfs", folder]).status === 0
afterAll(() => {
  if (isMounted) spawnSync("umount", ["-l", folder])
  fs.rmSync(folder, { recursive: true, force: true })
})

test.skipIf(!isMounted)(
  "[needs the right to mount] a real disk that is full gives room to a trim",
  async () => {
    const root = join(folder, "store")
    const manager = await RealManager.open({ ...options, root })
    const left = await fillAndTrim(manager)
    await manager.close()
    const again = await RealManager.open({ ...options, root })
    await check(again, left)
    await again.close()
  },
  60_000,
)

test.skipIf(!isMounted)(
  "[needs the right to mount] a root whose process was killed when its disk was full opens, holds all that was acknowledged, and goes on once something is trimmed",
  async () => {
    fs.rmSync(join(folder, "store"), { recursive: true, force: true })
    const root = join(folder, "killed")
    const writer = startChild(currentRuntime, "full_writer.ts", [root])
    const count = Number(await writer.line())
    await writer.closed
    // Somebody else takes all that is left.
    const rest = fs.openSync(join(folder, "rest"), "w")
    expect(() => {
      for (;;) fs.writeSync(rest, payload.subarray(0, 4096))
    }).toThrow(/ENOSPC|os error 28/)
    fs.closeSync(rest)
    expect(fs.statSync(join(root, "RESERVE")).size).toBe(4 * 1024 * 1024)
    const manager = await RealManager.open({ ...options, root })
    expect(manager.recovery.lost).toEqual([])
    const stream = await manager.stream("s")
    let [found, last] = [0, 0]
    for await (const { recordId } of stream.read()) [found, last] = [found + 1, recordId]
    expect(found).toBeGreaterThanOrEqual(count)
    await stream.trim({ before: last })
    await appendSoon(stream)
    await manager.close()
  },
  60_000,
)
