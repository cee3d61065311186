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

/** The disk for a store that finds every stream fast, and whose pauses of seconds last until `letPass(true)`, and no longer from then on. */
const timelessOf = async (disk: MemoryDisk) => {
  let isPassing = false
  const real = await Effect.runPromise(Clock.Clock)
  const turn = real.sleep(Duration.millis(5))
  const pause = Effect.andThen(turn, Effect.whileLoop({ while: () => !isPassing, body: () => turn, step: () => {} }))
  const sleep: Clock.Clock["sleep"] = (duration) => (Duration.toMillis(duration) > 1000 ? pause : real.sleep(duration))
  const nowMs = real.currentTimeMillisUnsafe()
  const clock: Clock.Clock = Object.assign(Object.create(real), { sleep, currentTimeMillisUnsafe: () => nowMs })
  const layer = Layer.merge(disk.layer, Layer.succeedContext(Context.make(Clock.Clock, clock))) as MemoryDisk["layer"]
  return {
    layer,
    letPass: (isNow: boolean): void => {
      isPassing = isNow
    },
  }
}

const hasSpare = (disk: MemoryDisk): boolean => disk.paths().some((path) => path.endsWith("spare.seg"))

const whileSpare = async (disk: MemoryDisk): Promise<void> => {
  for (let turn = 0; hasSpare(disk) && turn < 2000; turn++) await new Promise((resolve) => setTimeout(resolve, 5))
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
    const { layer } = await timelessOf(disk)
    const manager = await openWith(layer, options)
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
    const { layer } = await timelessOf(disk)
    const manager = await openWith(layer, options)
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
    const { layer } = await timelessOf(disk)
    const manager = await openWith(layer, { ...options, tier0: { bytesMax: 64 * MiB } })
    const stream = await manager.stream("s")
    await fill(stream, 7 * MiB)
    const before = manager.observe().tier0.usedBytes
    expect(before).toBeGreaterThan(10 * MiB)
    await manager.close()
    const small = await openWith((await timelessOf(new MemoryDisk())).layer, {
      ...options,
      tier0: { bytesMax: 8 * MiB },
    })
    const other = await small.stream("s", { segmentBytes: 2 * MiB })
    await fill(other, 5 * MiB)
    expect(small.observe().tier0.usedBytes).toBeLessThan(8 * MiB)
    await small.close()
  })

  test("has no such file any more when nothing was appended for ten seconds", async () => {
    const disk = new MemoryDisk()
    const { layer, letPass } = await timelessOf(disk)
    const manager = await openWith(layer, options)
    const stream = await manager.stream("s")
    await fill(stream, 6 * MiB)
    expect(hasSpare(disk)).toBe(true)
    letPass(true)
    await whileSpare(disk)
    expect(hasSpare(disk)).toBe(false)
    letPass(false)
    await fill(stream, 4 * MiB)
    expect(await recordsAfterCut(disk)).toBe(stream.info().count)
    await manager.close()
  })

  test("has no such file any more when it was sealed before it came to rest, or its zeros took longer than ten seconds", async () => {
    const disk = new MemoryDisk()
    const { layer, letPass } = await timelessOf(disk)
    const manager = await openWith(layer, options)
    const stream = await manager.stream("s")
    await fill(stream, 7 * MiB)
    expect(hasSpare(disk)).toBe(true)
    await stream.seal()
    letPass(true)
    await whileSpare(disk)
    letPass(false)
    expect(hasSpare(disk)).toBe(false)
    const used = (): number => manager.observe().tier0.usedBytes
    expect(used()).toBe(stream.info().segments.reduce((sum, { bytes }) => sum + bytes, 0))
    const held: Array<() => void> = []
    disk.onOperation = ({ kind, path }) =>
      kind === "zeroFill" && path.endsWith("spare.seg")
        ? new Promise<undefined>((resolve) => held.push(() => resolve(undefined)))
        : undefined
    await fill(stream, 3 * MiB)
    expect(held.length).toBe(1)
    letPass(true)
    await new Promise((resolve) => setTimeout(resolve, 200))
    disk.onOperation = undefined
    held[0]!()
    await whileSpare(disk)
    expect(hasSpare(disk)).toBe(false)
    await manager.close()
  })

  test("leaves no file that has its name already and could not be opened, when it is closed", async () => {
    const disk = new MemoryDisk()
    const { layer } = await timelessOf(disk)
    const manager = await openWith(layer, options)
    const stream = await manager.stream("s")
    await fill(stream, 7 * MiB)
    expect(hasSpare(disk)).toBe(true)
    const isNext = (path: string): boolean => path.endsWith("0000000003.seg")
    disk.onOperation = ({ kind, path }) => (kind === "open" && isNext(path) ? "EMFILE" : undefined)
    const failure = await fill(stream, 2 * MiB).catch((error: unknown) => error)
    expect(failure).toMatchObject({ _tag: "Unavailable", code: "EMFILE" })
    expect(disk.paths().some(isNext)).toBe(true)
    await stream.flush()
    await manager.close()
    disk.onOperation = undefined
    expect(disk.paths().some(isNext)).toBe(false)
    const again = await openWith(disk.layer, options)
    expect([again.recovery.isClean, again.recovery.trimmedBytes]).toEqual([true, 0])
    await again.close()
  })
})
