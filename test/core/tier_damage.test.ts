// Files and objects of segments that are removed, cut short or changed behind the store's back, while it is open and while it is
// closed. Where another copy is left nothing is lost, and the warm file comes back. Where none is, the store opens, what lies in other
// zstd frames stays readable, and the error names what is lost.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { rejection } from "../support/api.ts"
import { appendTexts, openBucketStore, until, upTo } from "../support/bucket.ts"
import { withStore } from "../support/crash_model.ts"
import { filesOf } from "../support/tier_check.ts"
import { noise } from "../support/tier_workload.ts"

const options: AofManagerOptions = {
  root: "/store",
  segmentBytes: 32 * 1024,
  stagingBytes: 4096,
  tier1: { frameBytes: 4096, residencyMsMin: 0, retryBackoffMs: 1, retriesMax: 2 },
  tier2: { store: { directory: "/cold" }, deleteGraceMs: 0, retry: { maxAttempts: 1, baseDelayMs: 1 } },
}
const withoutCold: AofManagerOptions = { ...options, tier2: false }

const textOf = (number: number): string => noise(`record ${number} `, 200)
const perSegment = 100

type Change = (bytes: Uint8Array) => Uint8Array | undefined

const flip =
  (at: (length: number) => number): Change =>
  (bytes) => {
    bytes[at(bytes.length)]! ^= 0x41
    return bytes
  }

/** What may happen to a file, by name. */
const changes: ReadonlyArray<readonly [string, Change]> = [
  ["removed", () => undefined],
  ["emptied", () => new Uint8Array(0)],
  ["cut in half", (bytes) => bytes.subarray(0, bytes.length >> 1)],
  ["without its last byte", (bytes) => bytes.subarray(0, bytes.length - 1)],
  ["with a byte more", (bytes) => new Uint8Array([...bytes, 0])],
  ["all zeros", (bytes) => new Uint8Array(bytes.length)],
  ["flipped in its first byte", flip(() => 0)],
  ["flipped in a frame", flip((length) => length >> 1)],
  ["flipped behind its frames", flip((length) => length - 300)],
  ["flipped in its seek table", flip((length) => length - 30)],
  ["flipped in its last byte", flip((length) => length - 1)],
]

/** Changes a file as another program would. */
const damage = (disk: MemoryDisk, path: string, change: Change): Promise<void> => {
  const directory = Context.get(disk.services(), Directory)
  const work = Effect.gen(function* () {
    const bytes = change((yield* directory.readFile(path))!.slice())
    if (bytes === undefined) return yield* directory.remove(path)
    const file = directory.openUnsafe(path, "write")
    yield* file.truncate(0)
    if (bytes.length > 0) file.writeUnsafe(bytes, 0, bytes.length, 0)
    file.closeUnsafe()
  })
  return Effect.runPromise(work)
}

const fileOf = (disk: MemoryDisk, path: string): Promise<Uint8Array | undefined> =>
  Effect.runPromise(Context.get(disk.services(), Directory).readFile(path))

const hotPath = "/store/streams/s/segments/0000000002.seg"
const warmPath = "/store/streams/s/warm/0000000002.seg.zst"
const objectPath = async (disk: MemoryDisk): Promise<string> =>
  [...(await filesOf(disk, "/cold/objects")).keys()].find((path) => path.includes("/segments/1/0000000002-"))!

/** Three sealed segments with records of every number, brought to where `place` says. */
const fill = async (manager: AofManager, place: (stream: Aof) => Promise<unknown>): Promise<ReadonlyArray<number>> => {
  const stream = await manager.stream("s")
  const ids: Array<number> = []
  for (let segment = 0; segment < 3; segment++) {
    for (let one = 0; one < perSegment; one++) {
      ids.push(stream.tryAppend(textOf(ids.length)))
      if (one % 5 === 4) await stream.flush()
    }
    await stream.seal()
  }
  await place(stream)
  await manager.settled()
  return ids
}

/** Numbers that `get` gives, and the errors for the others, which must be typed and name the record. */
const getAll = async (stream: Aof, ids: ReadonlyArray<number>): Promise<ReadonlyArray<number>> => {
  const lost: Array<number> = []
  for (const [number, id] of ids.entries()) {
    try {
      const record = await stream.get(id)
      if (record.text() !== textOf(number)) throw new Error(`record ${number} has other bytes`)
    } catch (error) {
      const { _tag, from, to } = error as { readonly _tag?: string; readonly from: number; readonly to: number }
      if (_tag === "Corrupt" && id >= from && id <= Math.max(from + 4096, to)) lost.push(number)
      else if (_tag === "NotFound" || _tag === "Unavailable") lost.push(number)
      else throw error
    }
  }
  return lost
}

const readAll = async (stream: Aof): Promise<void> => {
  let number = 0
  for await (const record of stream.read()) {
    if (record.recordNumber !== number || record.text() !== textOf(number)) throw new Error(`record ${number} is wrong`)
    number++
  }
  expect(number).toBe(3 * perSegment)
}

interface Place {
  readonly name: string
  readonly options: AofManagerOptions
  readonly go: (stream: Aof) => Promise<unknown>
  readonly path: (disk: MemoryDisk) => string | Promise<string>
}

const warmWithCold: Place = {
  name: "a warm file with an object",
  options,
  go: async (stream) => {
    await stream.evict({ to: "tier2" })
    await stream.prefetch({ to: "tier1" })
  },
  path: () => warmPath,
}
const backed: ReadonlyArray<Place> = [
  warmWithCold,
  {
    name: "a plain file with a warm one",
    options: withoutCold,
    go: async (stream) => {
      await stream.evict({ to: "tier1" })
      await stream.prefetch({ to: "tier0" })
    },
    path: () => hotPath,
  },
  {
    name: "a warm file with a plain one",
    options: withoutCold,
    go: async (stream) => {
      await stream.evict({ to: "tier1" })
      await stream.prefetch({ to: "tier0" })
    },
    path: () => warmPath,
  },
  { name: "an object with a warm file", options, go: warmWithCold.go, path: objectPath },
]

const cases = backed.flatMap((place) => changes.map(([what, change]) => ({ ...place, what, change })))

describe("what has another copy", () => {
  test.each(cases)("$name, $what: is read whole by an open store", async ({ options: those, go, path, change }) => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
    await withStore(disk.layer, those, async (manager) => {
      const ids = await fill(manager, go)
      const stream = await manager.stream("s")
      await damage(disk, await path(disk), change)
      // An id in a plain file of other bytes cannot be told from an invalid one before a scan has met the damage.
      await readAll(stream)
      expect(await getAll(stream, ids)).toEqual([])
      await manager.settled()
      expect(stream.segments().some((one) => one.needsRecovery)).toBe(false)
      // Whatever is moved next must not take what is damaged for good.
      await stream.evict({ to: "tier1" })
      await readAll(stream)
    })
    await withStore(disk.layer, those, async (manager) => readAll(await manager.stream("s")))
  })

  test.each(cases)(
    "$name, $what: is read whole by a store that opens",
    async ({ options: those, go, path, change }) => {
      const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
      const ids = await withStore(disk.layer, those, (manager) => fill(manager, go))
      await damage(disk, await path(disk), change)
      await withStore(disk.layer, those, async (manager) => {
        const stream = await manager.stream("s")
        await readAll(stream)
        expect(await getAll(stream, ids)).toEqual([])
        await manager.settled()
        expect(stream.segments().some((one) => one.needsRecovery)).toBe(false)
      })
    },
  )

  test.each(changes.map(([what, change]) => ({ what, change })))(
    "a warm file, $what, is fetched again and is what it was",
    async ({ change }) => {
      const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
      await withStore(disk.layer, options, async (manager) => {
        await fill(manager, warmWithCold.go)
        const before = await fileOf(disk, warmPath)
        await damage(disk, warmPath, change)
        const stream = await manager.stream("s")
        await readAll(stream)
        await manager.settled()
        const after = await fileOf(disk, warmPath)
        // What nobody has to look at to read is found when it is used.
        if (after?.length !== before!.length || stream.segments()[1]!.tier !== "tier1") throw new Error("not fetched")
      })
    },
  )
})

const alone: ReadonlyArray<Place> = [
  { name: "a warm file", options: withoutCold, go: (stream) => stream.evict({ to: "tier1" }), path: () => warmPath },
  { name: "an object", options, go: (stream) => stream.evict({ to: "tier2" }), path: objectPath },
]
const aloneCases = alone.flatMap((place) => changes.map(([what, change]) => ({ ...place, what, change })))

describe("what is the only copy", () => {
  test.each(aloneCases)(
    "$name, $what: costs what was damaged, and the rest is read",
    async ({ options: those, go, path, what, change }) => {
      const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
      const ids = await withStore(disk.layer, those, (manager) => fill(manager, go))
      await damage(disk, await path(disk), change)
      await withStore(disk.layer, those, async (manager) => {
        const stream = await manager.stream("s")
        const lost = await getAll(stream, ids)
        // Nothing outside of the segment.
        expect(lost.every((number) => number >= perSegment && number < 2 * perSegment)).toBe(true)
        // A frame has 4 KiB, a flush each kilobyte.
        if (what.startsWith("flipped")) expect([what, lost.length <= 40]).toEqual([what, true])
        if (what === "removed") expect(lost.length).toBe(perSegment)
        await stream.append("goes on")
      })
    },
  )
})

test("an object of which one bit is damaged on its way is fetched again, whoever brings it", async () => {
  let damaged = 0
  const script = ({ kind, key }: { readonly kind: string; readonly key: string }): StoreFault | undefined =>
    damaged > 0 && kind === "get" && key.includes("/segments/") && damaged-- > 0 ? "damagedBody" : undefined
  const store = new FaultyObjectStore(memoryStore(), { script })
  const manager = await openBucketStore(store)
  const stream = await manager.stream("s")
  await appendTexts(stream, 0, 4)
  await stream.seal()
  await manager.settled()
  const { index } = stream.segments()[0]!
  const ways = [
    () => stream.prefetch({ to: "tier0" }),
    async () => (await stream.openReader(index)).close(),
    async () => void (await stream.get(stream.info().firstId)),
  ]
  for (const bring of ways) {
    await stream.evict({ to: "tier2" })
    damaged = 1
    await bring()
    expect(damaged).toBe(0)
  }
  await manager.close()
})

for (const reverse of [false, true])
  test(`damage of a warm file says nothing of its object, which is read meanwhile ${reverse ? "backwards" : "forwards"}`, async () => {
    const inner = memoryStore()
    const get: ObjectStore["get"] = (key, range) => {
      const isWhole = key.includes("/segments/") && (range?.length ?? 0) > 100_000
      return isWhole ? Effect.andThen(Effect.sleep(700), inner.get(key, range)) : inner.get(key, range)
    }
    const store = new Proxy(inner, {
      get: (target, name) => {
        const value = name === "get" ? get : target[name as keyof ObjectStore]
        return typeof value === "function" ? value.bind(target) : value
      },
    })
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(store, { disk }, { segmentBytes: 4 * 1024 * 1024, stagingBytes: 1024 * 1024 })
    const stream = await manager.stream("s")
    const count = 600
    for (let number = 0; number < count; number++) {
      stream.tryAppend(noise(`record ${number} `, 800))
      if (number % 4 === 3) await stream.flush()
    }
    await stream.seal()
    await manager.settled()
    await stream.evict({ to: "tier1" })
    await manager.settled()
    await damage(disk, "/store/streams/s/warm/0000000001.seg.zst", (bytes) => {
      for (let at = 30_000; at < bytes.length - 20_000; at += 1000) bytes[at]! ^= 0x41
      return bytes
    })
    const numbers: Array<number> = []
    for await (const record of stream.read({ reverse })) {
      expect(record.text()).toBe(noise(`record ${record.recordNumber} `, 800))
      numbers.push(record.recordNumber)
    }
    expect(reverse ? numbers.reverse() : numbers).toEqual(upTo(count))
    await manager.close()
  })

test("a reader without the lock forgets the damage of a warm file when that is gone", async () => {
  const store = memoryStore()
  const large = { segmentBytes: 4 * 1024 * 1024, stagingBytes: 1024 * 1024 }
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openBucketStore(store, { disk }, large)
  const stream = await manager.stream("s")
  for (let number = 0; number < 600; number += 4) {
    for (let one = number; one < number + 4; one++) stream.tryAppend(noise(`record ${one} `, 800))
    await stream.flush()
  }
  await stream.seal()
  await manager.settled()
  await stream.evict({ to: "tier1" })
  const reader = await openBucketStore(store, { disk }, { ...large, readOnly: true })
  const view = await reader.stream("s")
  await damage(disk, "/store/streams/s/warm/0000000001.seg.zst", (bytes) => {
    for (let at = 30_000; at < bytes.length - 20_000; at += 1000) bytes[at]! ^= 0x41
    return bytes
  })
  const numbers = async (): Promise<ReadonlyArray<number>> => {
    const found: Array<number> = []
    for await (const record of view.read()) found.push(record.recordNumber)
    return found
  }
  expect((await rejection(numbers))._tag).toBe("Corrupt")
  await stream.evict({ to: "tier2" })
  await until(
    "the reader sees it",
    () =>
      view.segments()[0]?.tier === "tier2" ||
      numbers().then(
        () => false,
        () => false,
      ),
  )
  expect(await numbers()).toEqual(upTo(600))
  await reader.close()
  await manager.close()
})
