// A segment that is in the bucket only, larger than all memory for scans, of which much does not check: every way to read it ends, tells what is lost, gives
// what lies around it, and asks for little more than the object has. What was wrong for a moment is right a moment later.

import { afterEach, describe, expect, test } from "bun:test"
import { memoryStore, type ObjectStore, openReplica } from "bop-aof"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import type { ReadOptions } from "../../src/core/read/start.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { noise } from "../support/tier_workload.ts"

const MiB = 1024 * 1024
const count = 1700
const textOf = (number: number): string => noise(`record ${number} `, 1000)

/** Which part of an object is changed, as shares of it. */
type IsBad = (share: number) => boolean

/** A store that can change what it gives of segments, and counts how often it was asked for them. */
class LyingStore {
  readonly inner: ObjectStore = memoryStore()
  isBad: IsBad | undefined = undefined
  gets = 0
  readonly store: ObjectStore
  readonly #lengths: Map<string, number> = new Map()

  constructor() {
    const { inner } = this
    const get: ObjectStore["get"] = (key, range) =>
      Effect.map(inner.get(key, range), (answer) => {
        if (!key.includes("/segments/")) return answer
        this.gets++
        const { isBad } = this
        const total = this.#lengths.get(key)!
        if (isBad === undefined || total < 100_000) return answer
        return answer.map((byte, at) => (isBad(((range?.offset ?? 0) + at) / total) ? 0x20 : byte))
      })
    this.store = new Proxy(inner, {
      get: (target, name) => {
        const value = name === "get" ? get : target[name as keyof ObjectStore]
        return typeof value === "function" ? value.bind(target) : value
      },
    })
  }

  async learn(): Promise<void> {
    const { objects } = await Effect.runPromise(this.inner.list(""))
    for (const { key, lengthBytes } of objects) this.#lengths.set(key, lengthBytes)
  }

  async counted(work: () => Promise<unknown>): Promise<number> {
    const before = this.gets
    await work()
    return this.gets - before
  }
}

/** A clock that stands still but for what a test lets pass. */
const makeClock = async () => {
  const real = await Effect.runPromise(Clock.Clock)
  const time = { ms: real.currentTimeMillisUnsafe() }
  const clock = {
    currentTimeMillisUnsafe: () => time.ms,
    currentTimeMillis: Effect.sync(() => time.ms),
    currentTimeNanosUnsafe: () => BigInt(time.ms) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(time.ms) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(time.ms) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(time.ms) * 1_000_000n),
    sleep: (duration) => real.sleep(duration),
  } as Clock.Clock
  return { time, layer: Layer.succeed(Clock.Clock, clock) }
}

const ends: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

interface World {
  readonly lying: LyingStore
  readonly manager: AofManager
  readonly stream: Aof
  readonly ids: ReadonlyArray<number>
  readonly time: { ms: number }
}

const options = (store: ObjectStore): AofManagerOptions => ({
  root: "/store",
  segmentBytes: 2 * MiB,
  tier0: { frameCacheBytes: MiB, promoteReads: 0 },
  tier1: { level: 1, frameBytes: 16 * 1024, residencyMsMin: 0, retriesMax: 0 },
  tier2: { store, headIntervalMs: 0, retry: { maxAttempts: 1, baseDelayMs: 1 } },
})

/** One segment in the bucket of almost 2 MiB, and one of a single record behind it. Made once: what is in the bucket nobody changes. */
const fill = async () => {
  const lying = new LyingStore()
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openWith(disk.layer, options(lying.store))
  const stream = await manager.stream("s")
  const ids: Array<number> = []
  for (let number = 0; number < count; number++) {
    ids.push(stream.tryAppend(textOf(number)))
    if (number % 50 === 49) await stream.flush()
  }
  await stream.seal()
  ids.push((await stream.append(textOf(count))).recordId)
  await stream.seal()
  await stream.evict({ to: "tier2" })
  await manager.settled()
  await manager.close()
  await lying.learn()
  return { lying, disk, ids }
}
let filled: ReturnType<typeof fill> | undefined

/** Opens the root; scans have memory for a quarter of its segment. */
const openWorld = async (): Promise<World> => {
  filled ??= fill()
  const { lying, disk, ids } = await filled
  lying.isBad = undefined
  const { time, layer } = await makeClock()
  const manager = await openWith(Layer.merge(disk.layer, layer), options(lying.store))
  ends.push(() => manager.close())
  const stream = await manager.stream("s")
  // Scans of the test before may have brought it nearer.
  await stream.evict({ to: "tier2" })
  return { lying, manager, stream, ids, time }
}

interface Told {
  readonly from: number
  readonly to: number
}

const corruptionOf = (error: unknown): Told => {
  const { _tag, from, to } = error as Told & { readonly _tag?: string }
  if (_tag !== "Corrupt") throw error
  return { from, to }
}

interface Seen {
  readonly numbers: ReadonlySet<number>
  readonly told: ReadonlyArray<Told>
}

/** Reads on behind each error by what it names. */
const readAround = async (stream: Pick<Aof, "read">, start: ReadOptions = { from: "start" }): Promise<Seen> => {
  const numbers = new Set<number>()
  const told: Array<Told> = []
  for (let from: ReadOptions | undefined = start; from !== undefined; ) {
    const given: ReadOptions = from
    from = undefined
    try {
      for await (const record of stream.read(given)) {
        expect(record.text()).toBe(textOf(record.recordNumber))
        numbers.add(record.recordNumber)
      }
    } catch (error) {
      told.push(corruptionOf(error))
      if (told.length > 1000) throw new Error("no end")
      from = { from: told.at(-1)!.to }
    }
  }
  return { numbers, told }
}

/** Goes through all with one cursor, which goes on behind damage when it is asked again. */
const walk = async (stream: Aof, options: ReadOptions): Promise<Seen> => {
  const cursor = stream.cursor(options)
  const numbers = new Set<number>()
  const told: Array<Told> = []
  for (let isAtEnd = false; !isAtEnd; ) {
    try {
      isAtEnd = !cursor.next()
      if (!isAtEnd) numbers.add(cursor.recordNumber)
    } catch (error) {
      const isBlocked = (error as { readonly _tag?: string })._tag === "WouldBlock"
      if (isBlocked) await cursor.ready().catch((found: unknown) => told.push(corruptionOf(found)))
      else told.push(corruptionOf(error))
      if (told.length > 1000) throw new Error("no end")
    }
  }
  cursor.close()
  return { numbers, told }
}

const nearby = [-0.05, -0.04, -0.03, -0.02, -0.01, 0, 0.01, 0.02, 0.03, 0.04, 0.05]

/** Every record is given or told as lost, and little more is lost than what was changed. */
const check = ({ numbers, told }: Seen, ids: ReadonlyArray<number>, isLost: IsBad): void => {
  for (const [number, id] of ids.entries()) {
    const isTold = told.some(({ from, to }) => id >= from && id < to)
    if (numbers.has(number) === isTold) throw new Error(`record ${number} given and told: ${isTold}`)
    // A frame has 16 KiB, a batch up to 50 KB, of 1.7 MB.
    const near = nearby.some((by) => isLost(number / count + by))
    if (isTold && !near && number < count) throw new Error(`record ${number} is lost for nothing`)
  }
}

const third: IsBad = (share) => share < 1 && Math.floor(share * 12) % 3 === 0
/** What is changed in an object; without a seek table what lies behind a damaged frame cannot be found either. */
const cases: ReadonlyArray<readonly [name: string, isBad: IsBad, isLost: IsBad, getsMax: number]> = [
  ["its first half", (share) => share < 0.5, (share) => share < 0.5, 60],
  ["its second half", (share) => share >= 0.5, (share) => share >= 0.5, 30],
  ["most of it but its ends", (share) => share > 0.1 && share < 0.9, (share) => share > 0.1 && share < 0.9, 90],
  ["every third piece", third, third, 150],
  ["all of it", () => true, () => true, 12],
]

describe.each(cases)("of an object %s does not check", (_, isBad, isLost, getsMax) => {
  test("a scan tells so, goes on behind it, and asks little", async () => {
    const { lying, stream, ids } = await openWorld()
    lying.isBad = (share) => isBad(share)
    let seen: Seen | undefined
    const gets = await lying.counted(async () => {
      seen = await readAround(stream)
    })
    check(seen!, ids, isLost)
    expect(gets).toBeLessThan(getsMax)
  })

  test("so do cursors in both directions", async () => {
    const { lying, stream, ids } = await openWorld()
    lying.isBad = (share) => isBad(share)
    check(await walk(stream, { from: "start" }), ids, isLost)
    check(await walk(stream, { reverse: true }), ids, isLost)
  })

  test("single records outside are given, those inside are told, without a request each", async () => {
    const { lying, stream, ids } = await openWorld()
    lying.isBad = (share) => isBad(share)
    const numbers = new Set<number>()
    const told: Array<Told> = []
    for (let number = 0; number < count; number += 100) {
      const id = ids[number]!
      const found = await stream.get(id).catch((error: unknown) => void told.push(corruptionOf(error)))
      if (found !== undefined) numbers.add(number)
      else expect(told.at(-1)!.from <= id && id < told.at(-1)!.to).toBe(true)
      expect(await lying.counted(() => stream.get(id).catch(() => {}))).toBe(0)
    }
    for (let number = 0; number < count; number += 100) {
      expect(numbers.has(number) || nearby.some((by) => isLost(number / count + by))).toBe(true)
    }
  })

  test("a replica with the least memory reads around it", async () => {
    const { lying, ids } = await openWorld()
    lying.isBad = (share) => isBad(share)
    const replica = await openReplica({ store: lying.store, cacheBytes: MiB })
    ends.push(() => replica.close())
    check(await readAround(await replica.stream("s")), ids, isLost)
  })
})

test("a read by number finds its way without an index, with memory for a part of the segment", async () => {
  const { lying, stream } = await openWorld()
  // The index lies behind the records.
  lying.isBad = (share) => share > 0.97
  const gets = await lying.counted(async () => {
    for (const number of [count >> 1, count - 500]) {
      for await (const record of stream.read({ number, limit: 1 })) expect(record.text()).toBe(textOf(number))
      for await (const record of stream.read({ number, limit: 1, reverse: true })) {
        expect(record.text()).toBe(textOf(number))
      }
    }
  })
  expect(gets).toBeLessThan(150)
})

describe("what is wrong for a moment", () => {
  for (const [name, isBad] of [
    ["all that is given", () => true],
    ["the first part", (share: number) => share < 0.5],
    ["the seek table", (share: number) => share > 0.97],
  ] as const) {
    test(`${name}: is asked for again after a second, not before, and is right then`, async () => {
      const { lying, stream, ids, time } = await openWorld()
      lying.isBad = isBad
      const before = await readAround(stream)
      lying.isBad = undefined
      if (name !== "the seek table") {
        expect(before.numbers.size).toBeLessThan(count)
        expect(await lying.counted(() => stream.get(ids[5]!).catch(corruptionOf))).toBe(0)
      }
      time.ms += 1000
      expect((await stream.get(ids[5]!)).text()).toBe(textOf(5))
      const { numbers, told } = await readAround(stream)
      expect([numbers.size, told]).toEqual([count + 1, []])
    })
  }

  test("a scrub that finds the object clean ends it at once", async () => {
    const { lying, manager, stream, ids } = await openWorld()
    lying.isBad = () => true
    await expect(stream.get(ids[5]!)).rejects.toMatchObject({ _tag: "Corrupt" })
    lying.isBad = undefined
    await expect(stream.get(ids[5]!)).rejects.toMatchObject({ _tag: "Corrupt" })
    expect((await manager.scrub({ tiers: ["tier2"], bytesPerSecond: 1024 * MiB })).isClean).toBe(true)
    expect((await stream.get(ids[5]!)).text()).toBe(textOf(5))
    expect((await readAround(stream)).told).toEqual([])
  })

  test("damage that stays is asked for less and less often", async () => {
    const { lying, stream, ids, time } = await openWorld()
    lying.isBad = (share) => share < 0.5
    const gets: Array<number> = []
    for (let second = 0; second < 100; second++, time.ms += 1000) {
      gets.push(await lying.counted(() => stream.get(ids[5]!).catch(corruptionOf)))
    }
    // The tail and the frame, which gets three more chances, and then one each time.
    expect(gets[0]).toBe(5)
    expect(gets.flatMap((one, second) => (second > 0 && one > 0 ? [second, one] : []))).toEqual([
      1, 1, 5, 1, 21, 1, 81, 1,
    ])
  })
})

test("a reader that goes away in the middle of damage leaves no requests behind", async () => {
  const { lying, stream } = await openWorld()
  lying.isBad = (share) => share < 0.9
  const abort = new AbortController()
  const reading = (async () => {
    for await (const _ of stream.read({ signal: abort.signal }));
  })()
  const { gets: before } = lying
  while (lying.gets < before + 6) await new Promise<void>((resolve) => setImmediate(resolve))
  abort.abort(new Error("enough"))
  await expect(reading).rejects.toThrow("enough")
  // What was under way ends, which takes a few turns.
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
  const { gets } = lying
  for (let turn = 0; turn < 500; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
  expect(lying.gets).toBe(gets)
})
