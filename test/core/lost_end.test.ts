// The last segments of a stream are known and no tier has them: whoever reads all there is comes to the end of it, and what looks for a record that
// is lost, or comes to one that was appended behind, says so. A stream of which only the records of an open segment are gone ends where it ends.

import { describe, expect, test } from "bun:test"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import { openReplica } from "../../src/api/replica.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure } from "../support/api.ts"
import { appendTexts, bucketOptions, headIn, numbersIn, openBucketStore, until, upTo } from "../support/bucket.ts"

const kept = 10
const sealed = 20

/** A bucket whose writer was lost: records from `from` on are in sealed segments that never got there, and `open` more in no sealed one. */
const lostMachine = async (from = kept, open = 2) => {
  const inner = memoryStore()
  const store = new FaultyObjectStore(inner)
  const disk = new MemoryDisk({ modelsCrashes: false })
  const first = await openBucketStore(store, { disk, retry: { maxAttempts: 1 } })
  const stream = await first.stream("orders")
  const ids = [...(await appendTexts(stream, 0, from))]
  if (from > 0) await stream.seal()
  await first.settled()
  store.script = ({ kind, key }) => (kind === "put" && key.includes("/segments/") ? "denied" : undefined)
  if (from < sealed) {
    ids.push(...(await appendTexts(stream, from, sealed)))
    await stream.seal()
  }
  // A HEAD that knows of the seals.
  const before = (await headIn(inner))!.lastSequence
  await first.stream("other")
  await until("HEAD knows", async () => (await headIn(inner))!.lastSequence > before)
  await first.settled()
  await appendTexts(stream, sealed, sealed + open)
  disk.kill()
  await first.close().catch(() => {})
  return { inner, ids }
}

const message = `stream orders: records ${kept} to ${sealed - 1} are missing`

const said = async (call: Promise<unknown>): Promise<ReadonlyArray<unknown>> => {
  const error = await failure(call)
  return [error._tag, error.message]
}

/** All that a cursor shows, errors included. */
const walked = (stream: Aof, options: Parameters<Aof["cursor"]>[0]): ReadonlyArray<unknown> => {
  const cursor = stream.cursor(options)
  const found: Array<unknown> = []
  for (let turn = 0; turn < 100; turn++) {
    try {
      if (!cursor.next()) break
      found.push(cursor.recordNumber)
    } catch (error) {
      found.push((error as Error).message)
    }
  }
  cursor.close()
  return found
}

/** Reads the lost end in all ways; nothing was appended behind it. */
const expectLost = async (stream: Aof, ids: ReadonlyArray<number>): Promise<number> => {
  const missing = ["Corrupt", message]
  expect(stream.info()).toMatchObject({ count: sealed, lastId: ids.at(-1) })
  expect(await numbersIn(stream)).toEqual(upTo(kept))
  const error = await failure(numbersIn(stream, { from: undefined, last: 1 }))
  expect([error._tag, error.message]).toEqual(missing)
  const { from, to } = error as unknown as { from: number; to: number }
  expect([from > ids[kept - 1]!, from < ids[kept]!, to > ids.at(-1)!]).toEqual([true, true, true])
  expect(await numbersIn(stream, { limit: kept })).toEqual(upTo(kept))
  for (const start of [
    { last: 1 },
    { number: kept },
    { number: sealed - 1 },
    { from: ids[kept]! },
    { after: ids.at(-1)! },
  ]) {
    expect(await said(numbersIn(stream, { from: undefined, ...start }))).toEqual(missing)
  }
  const backwards = { from: undefined, reverse: true }
  for (const start of [{}, { last: 5 }, { number: kept + 1 }, { from: ids.at(-1)! }]) {
    expect(await said(numbersIn(stream, { ...backwards, ...start }))).toEqual(missing)
  }
  expect(await numbersIn(stream, { ...backwards, from })).toEqual([...upTo(kept)].reverse())
  expect(await numbersIn(stream, { ...backwards, from: ids[kept - 1]! })).toEqual([...upTo(kept)].reverse())
  // What is behind all there is, and above everything that was lost, is still to come.
  expect(await numbersIn(stream, { from })).toEqual([])
  expect(await numbersIn(stream, { from: undefined, after: ids[kept - 1]! })).toEqual([])
  expect(await numbersIn(stream, { from: undefined, time: Date.now() + 3_600_000 })).toEqual([])
  expect(await numbersIn(stream, { from: undefined, extId: 7 })).toEqual([])
  expect(await numbersIn(stream, { from: undefined, number: sealed })).toEqual([])
  expect(await numbersIn(stream, { from: "end" })).toEqual([])
  expect(await numbersIn(stream, { from: to })).toEqual([])
  expect(await said(stream.get(ids.at(-1)!))).toEqual(missing)
  expect(await said(stream.get(ids[kept]!))).toEqual(missing)
  expect((await stream.get(ids[kept - 1]!)).recordNumber).toBe(kept - 1)
  expect(walked(stream, { from: ids[kept - 1]! })).toEqual([kept - 1])
  expect(walked(stream, { from: "end", reverse: true })).toEqual([message, ...[...upTo(kept)].reverse()])
  return to
}

const firstOf = async (stream: Aof, options: Parameters<Aof["follow"]>[0]): Promise<number> => {
  for await (const record of stream.follow(options)) return record.recordNumber
  return -1
}

const withReplica = async (store: ObjectStore, use: (stream: Aof) => Promise<unknown>): Promise<void> => {
  const replica = await openReplica({ store })
  await use(await replica.stream("orders"))
  await replica.close()
}

describe("the lost end of a stream", () => {
  test("is told to all that look for records of it, in the writer, in another process and in a replica", async () => {
    const { inner, ids } = await lostMachine()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(inner, { disk })
    expect(manager.recovery.lost.map(({ stream }) => stream)).toContain("orders")
    await manager.settled()
    const stream = await manager.stream("orders")
    const to = await expectLost(stream, ids)
    const readOnly = { ...bucketOptions(inner), readOnly: true }
    const reader: AofManager = await openWith(disk.layer, readOnly)
    expect(await expectLost(await reader.stream("orders", { create: false }), ids)).toBe(to)
    await withReplica(inner, async (view) => expect(await expectLost(view, ids)).toBe(to))
    await reader.close()
    await manager.close()
  })

  test("is told to a follower with what is appended behind it, and there it goes on", async () => {
    const { inner, ids } = await lostMachine()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openBucketStore(inner, { disk })
    const stream = await manager.stream("orders")
    const readOnly = { ...bucketOptions(inner), readOnly: true }
    const reader: AofManager = await openWith(disk.layer, readOnly)
    const seen = await reader.stream("orders", { create: false })
    const waiting: Array<Promise<number>> = []
    let to = 0
    const bounded = stream.read({ from: ids[kept - 1]! })
    await bounded.next()
    const followed: Array<number> = []
    const follow = async (one: Aof): Promise<void> => {
      for await (const { recordNumber } of one.follow({ from: "start" })) followed.push(recordNumber)
    }
    const failures = [stream, seen].map((one) => failure(follow(one)))
    for (const one of [stream, seen]) {
      to = ((await failure(one.get(ids.at(-1)!))) as unknown as { to: number }).to
      waiting.push(firstOf(one, { from: to }))
    }
    await until("both have all there is", async () => followed.length === 2 * kept)
    await appendTexts(stream, sealed, sealed + 3)
    expect(await Promise.all(waiting)).toEqual([sealed, sealed])
    for (const error of await Promise.all(failures)) expect([error._tag, error.message]).toEqual(["Corrupt", message])
    // One that began before ends where the stream ended then.
    expect((await bounded.next()).done).toBe(true)
    const behind = [sealed, sealed + 1, sealed + 2]
    for (const one of [stream, seen]) {
      expect(await numbersIn(one, { from: to })).toEqual(behind)
      expect(await numbersIn(one, { from: undefined, last: 3 })).toEqual(behind)
      expect(await said(numbersIn(one))).toEqual(["Corrupt", message])
      expect(await said(one.get(ids.at(-1)!))).toEqual(["Corrupt", message])
      expect(await said(numbersIn(one, { from: ids.at(-1)! }))).toEqual(["Corrupt", message])
      const whole = [...behind].reverse().concat([...upTo(kept)].reverse())
      expect(walked(one, { from: "end", reverse: true })).toEqual([...whole.slice(0, 3), message, ...whole.slice(3)])
    }
    await stream.seal()
    await manager.settled()
    await withReplica(inner, async (view) => expect(await numbersIn(view, { from: to })).toEqual(behind))
    await reader.close()
    await manager.close()
  })

  test("may be all of it, and can be trimmed away", async () => {
    const { inner, ids } = await lostMachine(0)
    const manager = await openBucketStore(inner)
    const stream = await manager.stream("orders")
    const missing = ["Corrupt", `stream orders: records 0 to ${sealed - 1} are missing`]
    expect(stream.info()).toMatchObject({ count: sealed, firstRecordNumber: 0 })
    expect(await numbersIn(stream)).toEqual([])
    for (const options of [{ last: 2 }, { number: 3 }, { from: "end", reverse: true }] as const) {
      expect(await said(numbersIn(stream, { from: undefined, ...options }))).toEqual(missing)
    }
    expect(await said(numbersIn(stream, { from: undefined, time: 0 }))).toEqual(missing)
    expect(await said(stream.get(ids[0]!))).toEqual(missing)
    const { to } = (await failure(stream.get(ids[0]!))) as unknown as { to: number }
    const following = firstOf(stream, { from: to })
    const [id] = await appendTexts(stream, sealed, sealed + 1)
    expect(await following).toBe(sealed)
    await stream.trim({ before: id! })
    expect(await numbersIn(stream)).toEqual([sealed])
    expect(stream.info()).toMatchObject({ count: 1, firstRecordNumber: sealed })
    await manager.close()
  })

  test("is none where nobody was told of a seal", async () => {
    const { inner } = await lostMachine(sealed, 3)
    const manager = await openBucketStore(inner)
    const stream = await manager.stream("orders")
    expect(await numbersIn(stream)).toEqual(upTo(sealed))
    expect(await numbersIn(stream, { from: undefined, last: 2 })).toEqual([sealed - 2, sealed - 1])
    expect(await numbersIn(stream, { from: "end", reverse: true, limit: 2 })).toEqual([sealed - 1, sealed - 2])
    const following = firstOf(stream, { from: "end" })
    const [id] = await appendTexts(stream, sealed, sealed + 1)
    expect(await following).toBe(sealed)
    await stream.trim({ before: id! })
    expect(await numbersIn(stream)).toEqual([sealed])
    await manager.close()
  })
})
