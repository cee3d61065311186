// What `stream.segments()` says of the bucket: bytes of the object of a segment, once another machine would find it there.

import { expect, test } from "bun:test"
import { AofManager } from "bop-aof/effect"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import { openReplica } from "../../src/api/replica.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendTexts, bucketOptions, openBucketStore, segmentsIn, until } from "../support/bucket.ts"

const coldOf = (stream: Pick<Aof, "segments">): ReadonlyArray<number | undefined> =>
  stream.segments().map(({ coldBytes }) => coldBytes)

/** Bytes of the objects of segments, by key. */
const objectBytes = async (store: FaultyObjectStore): Promise<ReadonlyArray<number>> => {
  const keys = await segmentsIn(store)
  return Promise.all(keys.map(async (key) => (await Effect.runPromise(store.head(key)))!.lengthBytes))
}

test("the bytes of an object are said once a HEAD names it, by the writer, a read-only store, a replica and another machine", async () => {
  const store = new FaultyObjectStore(memoryStore())
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openBucketStore(store, { disk, retry: { maxAttempts: 1 } })
  const stream = await manager.stream("orders")
  await appendTexts(stream, 0, 5)
  await stream.seal()
  await manager.settled()
  store.script = ({ kind, key }) => (kind === "put" && !key.includes("/segments/") ? "internal" : undefined)
  await appendTexts(stream, 5, 10)
  await stream.seal()
  await until("it is uploaded, and no HEAD says so", async () => {
    const { unuploadedSegments, uncompressedSegments } = manager.observe().backlog
    return unuploadedSegments + uncompressedSegments === 0 && (await segmentsIn(store)).length === 2
  })
  const [first, second] = await objectBytes(store)
  await appendTexts(stream, 10, 11)
  expect(coldOf(stream)).toEqual([first, undefined, undefined])
  store.script = undefined
  await until("a HEAD names it", () => coldOf(stream)[1] !== undefined)
  expect(coldOf(stream)).toEqual([first, second, undefined])
  expect(stream.info().segments[1]!.coldBytes).toBe(second)

  const reader = await openBucketStore(store, { disk }, { readOnly: true })
  expect(coldOf(await reader.stream("orders"))).toEqual([first, second, undefined])
  await reader.close()
  const replica = await openReplica({ store })
  expect(coldOf(await replica.stream("orders"))).toEqual([first, second])
  await replica.close()
  await manager.close()

  const program = Effect.gen(function* () {
    const another = yield* AofManager.open(bucketOptions(store))
    return (yield* another.stream("orders")).segments().map(({ coldBytes, tier }) => [tier, coldBytes])
  })
  const machine = new MemoryDisk({ modelsCrashes: false })
  expect(await Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(machine.layer)))).toEqual([
    ["tier2", first],
    ["tier2", second],
  ])
})

test("a store without a bucket has no object of a segment until it is uploaded", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const { tier2: _, ...options } = bucketOptions(memoryStore())
  const manager = await openBucketStore(memoryStore(), { disk }, { ...options, tier2: { upload: "pressure" } })
  const stream = await manager.stream("orders")
  await appendTexts(stream, 0, 5)
  await stream.seal()
  await manager.settled()
  expect(coldOf(stream)).toEqual([undefined])
  await stream.evict({ to: "tier2" })
  const [segment] = stream.segments()
  expect([segment!.tier, segment!.coldBytes]).toEqual(["tier2", segment!.warmBytes])
  await manager.close()
})
