// Scans of history that is only in Tier 2: what they ask the store for, what they keep, and what several of them share.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager } from "bop-aof"
import { memoryStore, type ObjectStore } from "bop-aof"
import * as Effect from "effect/Effect"
import { makeRandom, openMemory } from "../support/api.ts"

const KiB = 1024
const MiB = 1024 * KiB
const payloadBytes = 8 * KiB
const segmentBytes = 4 * MiB
const perSegment = 500

interface Get {
  readonly key: string
  readonly offset: number
  readonly length: number
}

/** A store that notes the gets of segments, and damages what `damage` says. */
const watched = (gets: Array<Get>, damage: (bytes: Uint8Array, get: Get) => void = () => {}): ObjectStore => {
  const inner = memoryStore()
  return {
    kind: inner.kind,
    place: inner.place,
    put: (key, body, options) => inner.put(key, body, options),
    head: (key) => inner.head(key),
    remove: (key) => inner.remove(key),
    list: (prefix, options) => inner.list(prefix, options),
    get: (key, range) =>
      Effect.map(inner.get(key, range), (bytes) => {
        const get = { key, offset: range?.offset ?? 0, length: range?.length ?? bytes.length }
        if (key.includes("/segments/")) gets.push(get)
        damage(bytes, get)
        return bytes
      }),
  }
}

const payloadOf = (number: number): Uint8Array => {
  const random = makeRandom(number + 1)
  return Uint8Array.from({ length: payloadBytes }, () => random(256))
}

/** A stream of so many segments, all of them only in Tier 2. */
const coldStream = async (store: ObjectStore, segments: number, frameCacheBytes = 32 * MiB) => {
  const manager = await openMemory({
    segmentBytes: 8 * MiB,
    tier0: { bytesMax: 256 * MiB, frameCacheBytes },
    tier1: { bytesMax: 256 * MiB, level: 1 },
    tier2: { store, deleteGraceMs: 0, retry: { maxAttempts: 2, baseDelayMs: 1, jitter: 0 } },
  })
  const stream = await manager.stream("history")
  for (let number = 0; number < segments * perSegment; number++) {
    while (stream.tryAppend(payloadOf(number)) < 0) await stream.ready()
    if ((number + 1) % perSegment === 0) await stream.seal()
  }
  await stream.evict({ to: "tier2" })
  return { manager, stream }
}

/** Reads everything and compares it. */
const scan = async (stream: Aof, segments: number): Promise<void> => {
  let number = 0
  for await (const { bytes } of stream.read()) {
    if (Buffer.compare(bytes, payloadOf(number)) !== 0) throw new Error(`record ${number} is another`)
    number++
  }
  expect(number).toBe(segments * perSegment)
}

const bytesOf = (gets: ReadonlyArray<Get>): number => gets.reduce((sum, { length }) => sum + length, 0)

const tiersOf = (stream: Aof): ReadonlyArray<string | undefined> => stream.segments().map(({ tier }) => tier)

const close = (manager: AofManager): Promise<void> => manager.close()

describe("a cold scan", () => {
  test("fetches each byte once, in runs that grow, and leaves nothing on the disk", async () => {
    const gets: Array<Get> = []
    const { manager, stream } = await coldStream(watched(gets), 3)
    gets.length = 0
    await scan(stream, 3)
    expect(tiersOf(stream).every((tier) => tier !== "tier1")).toBe(true)
    expect(bytesOf(gets)).toBeLessThan(3.1 * segmentBytes)
    // The index of each, and the runs: 256 KiB, 512 KiB, 1 MiB, 2 MiB, the rest; those of the others are long.
    expect(gets.length).toBeLessThanOrEqual(3 + 5 + 2 * 2)
    expect(gets.some(({ length }) => length > 2 * MiB)).toBe(true)
    expect(manager.observe().tier0.frameCacheBytes).toBeLessThanOrEqual(32 * MiB)
    await close(manager)
  })

  test("that ends soon has fetched little", async () => {
    const gets: Array<Get> = []
    const { manager, stream } = await coldStream(watched(gets), 1)
    gets.length = 0
    for await (const { bytes } of stream.read({ limit: 3 })) expect(bytes.length).toBe(payloadBytes)
    await manager.settled()
    expect(bytesOf(gets)).toBeLessThan(512 * KiB)
    await close(manager)
  })

  test("of eight readers at once fetches each object once", async () => {
    const gets: Array<Get> = []
    const { manager, stream } = await coldStream(watched(gets), 3)
    gets.length = 0
    await Promise.all(Array.from({ length: 8 }, () => scan(stream, 3)))
    expect(bytesOf(gets)).toBeLessThan(3.1 * segmentBytes)
    // No more requests than one reader makes.
    expect(gets.length).toBeLessThanOrEqual(3 + 5 + 2 * 2)
    await close(manager)
  })

  test("that comes again brings segments to Tier 1, unless they were sent away", async () => {
    const gets: Array<Get> = []
    // Memory for less than is scanned.
    const { manager, stream } = await coldStream(watched(gets), 2, 4 * MiB)
    await scan(stream, 2)
    await scan(stream, 2)
    expect(tiersOf(stream).slice(0, 2)).toEqual(["tier1", "tier1"])
    gets.length = 0
    await scan(stream, 2)
    expect(gets).toEqual([])
    await stream.evict({ to: "tier2" })
    await scan(stream, 2)
    expect(tiersOf(stream).slice(0, 2)).toEqual(["tier2", "tier2"])
    await close(manager)
  })

  /** A stream of long records that is only in Tier 2. */
  const longRecords = async (gets: Array<Get>, frameCacheBytes: number) => {
    const manager = await openMemory({
      segmentBytes: 8 * MiB,
      tier0: { frameCacheBytes },
      tier1: { level: 1 },
      tier2: { store: watched(gets), deleteGraceMs: 0 },
    })
    const stream = await manager.stream("long")
    const random = makeRandom(3)
    const records = Array.from({ length: 12 }, () => Uint8Array.from({ length: 500_000 }, () => random(256)))
    for (const record of records) await stream.append(record)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    gets.length = 0
    const read = async (): Promise<void> => {
      let number = 0
      for await (const { bytes } of stream.read()) expect(Buffer.compare(bytes, records[number++]!)).toBe(0)
      expect(number).toBe(records.length)
    }
    return { manager, read, recordBytes: 500_000 * records.length, count: records.length }
  }

  test.each([1, 8])("of records longer than a zstd frame fetches each byte once, readers: %d", async (readers) => {
    const gets: Array<Get> = []
    const { manager, read, recordBytes, count } = await longRecords(gets, 64 * MiB)
    await Promise.all(Array.from({ length: readers }, read))
    expect(bytesOf(gets)).toBeLessThan(1.1 * recordBytes)
    // Not one for each record.
    expect(gets.length).toBeLessThanOrEqual(count)
    await close(manager)
  })

  test("of long records goes through with memory for one of them or two", async () => {
    for (const frameCacheBytes of [1 * MiB, 2 * MiB, 4 * MiB, 8 * MiB]) {
      const { manager, read } = await longRecords([], frameCacheBytes)
      await Promise.all(Array.from({ length: 3 }, read))
      await close(manager)
    }
  })

  test("with a frame that was damaged on its way fetches that frame again", async () => {
    const gets: Array<Get> = []
    let left = 3
    const store = watched(gets, (bytes, { length }) => {
      if (length < MiB || left-- <= 0) return
      const at = bytes.length >> 1
      bytes[at] = bytes[at]! ^ 16
    })
    const { manager, stream } = await coldStream(store, 2)
    gets.length = 0
    await scan(stream, 2)
    expect(left).toBeLessThanOrEqual(0)
    const isAgain = ({ key, offset, length }: Get): boolean =>
      gets.some(
        (one) =>
          one.key === key && one.length > MiB && one.offset < offset && offset + length < one.offset + one.length,
      )
    expect(gets.filter(isAgain).length).toBe(3)
    await close(manager)
  })

  test("that is aborted leaves nothing under way, and the next one goes through", async () => {
    const gets: Array<Get> = []
    const { manager, stream } = await coldStream(watched(gets), 2)
    const controller = new AbortController()
    let count = 0
    const aborted = (async () => {
      for await (const _ of stream.read({ signal: controller.signal })) if (++count === 120) controller.abort()
    })()
    await aborted.catch(() => {})
    expect(count).toBeGreaterThanOrEqual(120)
    await stream.evict({ to: "tier2" })
    await scan(stream, 2)
    await close(manager)
  })
})
