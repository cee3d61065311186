// The durable beginning of a segment that still grows is read from a mapping, and is the same whatever happens to the file.

import { describe, expect, test } from "bun:test"
import type { Aof } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"

const payloadBytes = 1000
const options = { root: "/store", segmentBytes: 8 * 1024 * 1024, journalBytes: 0 }
const isSegment = (path: string): boolean => path.endsWith(".seg")
const payloadOf = (i: number): Uint8Array => new Uint8Array(payloadBytes).fill(1 + (i % 251))

/** Appends durably up to `count` records in all; adds their ids. */
const fill = async (stream: Aof, ids: Array<number>, count: number): Promise<void> => {
  while (ids.length < count) {
    const batch = Array.from({ length: Math.min(500, count - ids.length) }, (_, i) => payloadOf(ids.length + i))
    ids.push(...(await Promise.all(batch.map((payload) => stream.append(payload)))).map(({ recordId }) => recordId))
  }
}

const check = (stream: Aof, ids: ReadonlyArray<number>): void => {
  let at = 0
  // Each once, in an order that jumps.
  for (let i = 0; i < ids.length; i++) {
    at = (at + 7919) % ids.length
    const { bytes, recordNumber } = stream.tryGet(ids[at]!)
    if (recordNumber !== at || bytes.length !== payloadBytes || bytes[0] !== 1 + (at % 251) || bytes[999] !== bytes[0])
      throw new Error(`record ${at} is another one`)
  }
}

/** Reads of segment files since the last call. */
const countReads = (disk: MemoryDisk): (() => number) => {
  let reads = 0
  disk.onOperation = ({ kind, path }) => {
    if (kind === "read" && isSegment(path)) reads++
    return undefined
  }
  return () => {
    const before = reads
    reads = 0
    return before
  }
}

describe("a segment that grows", () => {
  test.each([true, false])("is read without the disk where files are mapped: %s", async (mapsFiles: boolean) => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles })
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const ids: Array<number> = []
    const taken = countReads(disk)
    for (const count of [2000, 2100, 5000]) {
      await fill(stream, ids, count)
      check(stream, ids)
      if (count === 2100) taken()
    }
    const reads = taken()
    if (mapsFiles) expect(reads).toBeLessThan(ids.length / 8)
    else expect(reads).toBeGreaterThan(ids.length / 2)
    let seen = 0
    for await (const { bytes } of stream.read()) expect(bytes[0]).toBe(1 + (seen++ % 251))
    expect(seen).toBe(ids.length)
    await manager.close()
  })

  test("keeps its records, and those that a reader has, when a sync fails and the file is replaced, and when it is sealed", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const ids: Array<number> = []
    await fill(stream, ids, 3000)
    check(stream, ids)
    const kept = [0, 1000, 2000].map((i) => ({ i, bytes: stream.tryGet(ids[i]!).bytes }))
    let failures = 0
    disk.onOperation = ({ kind, path }) =>
      kind === "syncData" && isSegment(path) && failures++ === 0 ? "EIO" : undefined
    await fill(stream, ids, 3100)
    expect(failures).toBeGreaterThan(0)
    check(stream, ids)
    await fill(stream, ids, 5000)
    check(stream, ids)
    await stream.seal()
    check(stream, ids)
    for (const { i, bytes } of kept) expect(bytes).toEqual(payloadOf(i))
    await manager.close()
    const again = await openWith(disk.layer, options)
    check(await again.stream("s"), ids)
    await again.close()
  })

  test("is read by another process while it grows, is closed and goes on", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    let writer = await openWith(disk.layer, options)
    const ids: Array<number> = []
    await fill(await writer.stream("s"), ids, 3000)
    await writer.close()
    const reader = await openWith(disk.layer, { ...options, readOnly: true })
    const seen = await reader.stream("s")
    check(seen, ids)
    writer = await openWith(disk.layer, options)
    await fill(await writer.stream("s"), ids, 6000)
    await writer.close()
    expect((await seen.get(ids.at(-1)!)).bytes[0]).toBe(1 + (5999 % 251))
    check(seen, ids)
    await reader.close()
  })
})
