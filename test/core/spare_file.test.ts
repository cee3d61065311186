// The file for the next segment: made and zeroed ahead for streams that fill segments in small groups, and gone when nobody appends any more.

import { describe, expect, test } from "bun:test"
import type { Aof } from "bop-aof"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"

const MiB = 1024 * 1024
const options = { root: "/store", segmentBytes: 4 * MiB, preallocateBytesMax: MiB, tier2: false } as const
const payload = new Uint8Array(4000).fill(7)

/** Appends `bytes` in groups of 16 records, each group durable. */
const fill = async (stream: Aof, bytes: number): Promise<void> => {
  for (let done = 0; done < bytes; done += 16 * payload.length) {
    await Promise.all(Array.from({ length: 16 }, () => stream.append(payload)))
  }
}

/** Bytes that were zeroed in each file, by name. */
const watchZeros = (disk: MemoryDisk, fault: (path: string) => string | undefined = () => undefined) => {
  const zeroed = new Map<string, number>()
  disk.onOperation = ({ kind, path, from, to }) => {
    const name = path.split("/").at(-1)!
    if (kind !== "zeroFill" || !name.endsWith(".seg")) return undefined
    zeroed.set(name, (zeroed.get(name) ?? 0) + to - from)
    return fault(name)
  }
  return zeroed
}

const recordsAfterCut = async (disk: MemoryDisk): Promise<number> => {
  const cut = disk.fork()
  cut.crash(() => false)
  const manager = await openWith(cut.layer, options)
  const stream = await manager.stream("s")
  let count = 0
  for (const cursor = stream.cursor({ from: "start" }); cursor.next(); count++) {
    expect(cursor.payloadEnd - cursor.payloadStart).toBe(payload.length)
  }
  await manager.close()
  return count
}

describe("a stream that fills segments in small groups", () => {
  test("finds all of the next one zeroed, and is zeroed in place no more", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    // Of the second one, half was zeroed ahead.
    await fill(stream, 9 * MiB)
    const zeroed = watchZeros(disk)
    await fill(stream, 12 * MiB)
    expect([...zeroed.keys()]).toEqual(["spare.seg"])
    expect(zeroed.get("spare.seg")).toBeGreaterThan(8 * MiB)
    expect(await recordsAfterCut(disk)).toBe(stream.info().count)
    await manager.close()
    expect(disk.paths().filter((path) => path.endsWith("spare.seg"))).toEqual([])
  })

  test("goes on when zeros cannot be written", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await fill(stream, 5 * MiB)
    let failures = 0
    watchZeros(disk, (name) => (name === "spare.seg" && failures++ % 2 === 1 ? "ENOSPC" : undefined))
    await fill(stream, 12 * MiB)
    expect(failures).toBeGreaterThan(2)
    expect(await recordsAfterCut(disk)).toBe(stream.info().count)
    await manager.close()
  })

  test("holds what is zeroed in the budget, and takes no more than half of it", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, { ...options, tier0: { bytesMax: 64 * MiB } })
    const stream = await manager.stream("s")
    await fill(stream, 7 * MiB)
    const before = manager.observe().tier0.usedBytes
    expect(before).toBeGreaterThan(10 * MiB)
    await manager.close()
    const small = await openWith(new MemoryDisk().layer, { ...options, tier0: { bytesMax: 8 * MiB } })
    const other = await small.stream("s", { segmentBytes: 2 * MiB })
    await fill(other, 5 * MiB)
    expect(small.observe().tier0.usedBytes).toBeLessThan(8 * MiB)
    await small.close()
  })

  test("has no such file any more when nothing was appended for ten seconds", async () => {
    const disk = new MemoryDisk()
    const real = await Effect.runPromise(Clock.Clock)
    // Pauses of seconds are over at once.
    const sleep: Clock.Clock["sleep"] = (duration) =>
      real.sleep(Duration.toMillis(duration) > 1000 ? Duration.millis(20) : duration)
    const clock: Clock.Clock = Object.assign(Object.create(real), { sleep })
    const layer = Layer.merge(disk.layer, Layer.succeedContext(Context.make(Clock.Clock, clock)))
    const manager = await openWith(layer as typeof disk.layer, options)
    const stream = await manager.stream("s")
    await fill(stream, 6 * MiB)
    const isThere = (): boolean => disk.paths().some((path) => path.endsWith("spare.seg"))
    expect(isThere()).toBe(true)
    for (let turn = 0; isThere() && turn < 2000; turn++) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(isThere()).toBe(false)
    await fill(stream, 4 * MiB)
    expect(await recordsAfterCut(disk)).toBe(stream.info().count)
    await manager.close()
  })
})
