// What a compressor says is there is there after a power cut; what fails leaves nothing; syncs come while it writes.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { backgroundSyncBytes } from "../../src/model/background_sync.ts"
import { Compressor } from "../../src/port/compressor.ts"
import { Directory } from "../../src/port/directory.ts"
import { type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { tagOf } from "../support/compressor_conformance.ts"
import { compressJobOf, makeSegment } from "../support/compressor_segment.ts"

const run = Effect.runPromise
const frameBytes = 65_536

/** A disk with a durable segment that does not compress well, and a process that uses it. */
async function makeDisk(frameLengths = Array(12).fill(600_000)) {
  const disk = new MemoryDisk()
  const services = disk.services()
  const directory = Context.get(services, Directory)
  const compressor = Context.get(services, Compressor)
  const segment = makeSegment(frameLengths)
  await run(directory.makeDirectory("/d"))
  const file = directory.openUnsafe("/d/a.seg", "create")
  file.writeUnsafe(segment.bytes, 0, segment.bytes.length, 0)
  await run(file.syncData)
  file.closeUnsafe()
  await run(directory.sync("/d"))
  return { disk, directory, compressor, segment, job: compressJobOf(segment, "/d/a.seg", "/d/a.zst", { frameBytes }) }
}

/** Both directions: the second needs what the first made. */
const kinds = ["compress", "decompress"] as const

async function makeJob(kind: (typeof kinds)[number], frameLengths?: number[]) {
  const made = await makeDisk(frameLengths)
  const { compressor, job, segment, directory } = made
  if (kind === "compress") return { ...made, target: "/d/a.zst", start: () => compressor.compress(job) }
  const warm = await run(compressor.compress(job))
  await run(directory.sync("/d"))
  const back = {
    source: "/d/a.zst",
    target: "/d/b.seg",
    sourceBytes: warm.fileBytes,
    sourceChecksum64: warm.checksum64,
    targetBytes: segment.bytes.length,
    targetChecksum64: segment.checksum64,
  }
  return { ...made, target: "/d/b.seg", start: () => compressor.decompress(back) }
}

describe.each(kinds.map((kind) => [kind] as const))("%s()", (kind: (typeof kinds)[number]) => {
  test("a finished target, once its directory is synced, survives a power cut whole", async () => {
    const { disk, directory, target, start } = await makeJob(kind, [100_000, 300])
    await run(start())
    await run(directory.sync("/d"))
    const before = await run(directory.readFile(target))
    disk.crash(() => false)
    const after = await run(Context.get(disk.services(), Directory).readFile(target))
    expect(before!.length).toBeGreaterThan(1000)
    expect(Buffer.compare(after!, before!)).toBe(0)
  })

  test("writes no more than a little above 2 MiB between two syncs, and syncs last", async () => {
    const { disk, target, start } = await makeJob(kind)
    const spans: number[] = []
    let unsynced = 0
    disk.onOperation = (operation: DiskOperation) => {
      if (operation.path !== target) return undefined
      if (operation.kind === "write") unsynced += operation.to - operation.from
      if (operation.kind === "syncData") {
        spans.push(unsynced)
        unsynced = 0
      }
      return undefined
    }
    await run(start())
    expect([unsynced, spans.length > 1]).toEqual([0, true])
    expect(Math.max(...spans)).toBeLessThan(backgroundSyncBytes + 3 * frameBytes)
  })

  test("each write, read and sync that fails is Unavailable, and no target is left", async () => {
    const { disk, directory, target, start } = await makeJob(kind, [3_000_000])
    const counts = new Map<string, number>()
    disk.onOperation = ({ kind: operation }) => void counts.set(operation, (counts.get(operation) ?? 0) + 1)
    await run(start())
    for (const [operation, code] of [
      ["create", "ENOSPC"],
      ["write", "ENOSPC"],
      ["read", "EIO"],
      ["syncData", "EIO"],
    ] as const) {
      const count = counts.get(operation)!
      for (const index of new Set([0, count >> 1, count - 1])) {
        let seen = 0
        disk.onOperation = ({ kind: each }) => (each === operation && seen++ === index ? code : undefined)
        expect([operation, index, await tagOf(start())]).toEqual([operation, index, `Unavailable ${code}`])
        disk.onOperation = undefined
        expect(await run(directory.kind(target))).toBe("missing")
      }
    }
  })

  test("a process that dies in the middle harms nothing: the next one does the job again", async () => {
    const { disk, start, segment, job } = await makeJob(kind, [400_000])
    for (let at = 0; at < 12; at++) {
      let seen = 0
      disk.onOperation = (operation) => {
        if (operation.kind === "write" && seen++ === at) disk.crash((_candidate) => at % 2 === 0)
        return undefined
      }
      await tagOf(start())
      disk.onOperation = undefined
      const next = Context.get(disk.services(), Compressor)
      const warm = await run(next.compress({ ...job, target: "/d/again.zst" }))
      const read = Context.get(disk.services(), Directory)
      expect(Buffer.compare((await run(read.readFile("/d/a.seg")))!, segment.bytes)).toBe(0)
      expect((await run(read.readFile("/d/again.zst")))!.length).toBe(warm.fileBytes)
    }
  })
})
