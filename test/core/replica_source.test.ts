// What a replica takes in of HEAD: never what was there before, and its registration says what its readers see.

import { expect, test } from "bun:test"
import { openReplica } from "bop-aof"
import * as Effect from "effect/Effect"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import { HeadStore } from "../../src/core/bucket/head_store.ts"
import { ReplicaSource } from "../../src/core/replica/replica_source.ts"
import { headKey } from "../../src/format/head_object.ts"
import { unavailable } from "../../src/model/errors.ts"
import type { TierEventInput } from "../../src/model/tier_event.ts"
import { makeTier2Config } from "../../src/model/tier2_config.ts"
import { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { rejection } from "../support/api.ts"
import { appendTexts, numbersIn, openBucketStore, upTo } from "../support/bucket.ts"

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** Puts records `from` to `to - 1` into the bucket. */
const put = async (writer: AofManager, from: number, to: number): Promise<void> => {
  const stream = await writer.stream("orders")
  await appendTexts(stream, from, to)
  await stream.seal()
  await writer.settled()
}

/** A store that shows the HEAD of an earlier moment while it is told to. */
const remembering = async (inner: ObjectStore) => {
  const [info, bytes] = [await run(inner.head(headKey)), await run(inner.get(headKey))]
  const memory = { isStale: false }
  const store: ObjectStore = {
    kind: inner.kind,
    place: inner.place,
    put: (key, body, options) => inner.put(key, body, options),
    remove: (key) => inner.remove(key),
    list: (prefix, options) => inner.list(prefix, options),
    head: (key) => (memory.isStale && key === headKey ? Effect.succeed(info) : inner.head(key)),
    get: (key, range) => (memory.isStale && key === headKey ? Effect.succeed(bytes.slice()) : inner.get(key, range)),
  }
  return { store, memory }
}

for (const isSameWriter of [true, false]) {
  test(`a HEAD of ${isSameWriter ? "an earlier moment" : "an earlier writer"} takes nothing back`, async () => {
    const inner = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    let writer = await openBucketStore(inner, { disk })
    await put(writer, 0, 10)
    const { store, memory } = await remembering(inner)
    if (!isSameWriter) {
      await writer.close()
      writer = await openBucketStore(inner, { disk })
    }
    await put(writer, 10, 20)
    const events: Array<string> = []
    const onEvent = ({ name }: { readonly name: string }): void => void events.push(name)
    const replica = await openReplica({ store, pollMs: 3_600_000, onEvent })
    const view = await replica.stream("orders")
    const { epoch, headMs, heads } = replica.info()
    memory.isStale = true
    expect([await replica.poll(), await replica.poll()]).toEqual([false, false])
    expect(await numbersIn(view)).toEqual(upTo(20))
    expect(replica.info()).toMatchObject({ epoch, headMs, heads, failures: 0 })
    expect(events.filter((name) => name === "replica_head_refused").length).toBe(1)
    memory.isStale = false
    expect(await replica.poll()).toBe(false)
    await put(writer, 20, 30)
    expect(await replica.poll()).toBe(true)
    expect(await numbersIn(await replica.stream("orders"))).toEqual(upTo(30))
    await replica.close()
    await writer.close()
  })
}

test("what was taken in counts as seen when the readers see it, and is shown with the next poll where that failed", async () => {
  const store = memoryStore()
  const writer = await openBucketStore(store)
  await put(writer, 0, 10)
  const disk = new MemoryDisk({ modelsCrashes: false })
  const headStore = new HeadStore({
    store,
    config: makeTier2Config({}),
    random32: () => 1,
    send: (_, __, request) => request,
  })
  const directory = await run(Effect.provideContext(Directory, disk.services()))
  const events: Array<TierEventInput> = []
  const source = new ReplicaSource({ headStore, directory, root: "/replica", emit: (event) => void events.push(event) })
  await run(source.open)
  await run(source.show(Effect.void))
  const first = source.shownSequence
  await put(writer, 10, 20)
  expect(await run(source.poll)).toBe(true)
  expect(source.shownSequence).toBe(first)
  const failed = Effect.fail(unavailable("reading the manifest", "EIO", "/replica"))
  expect(await rejection(() => run(source.show(failed)))).toMatchObject({ _tag: "Unavailable" })
  expect(source.shownSequence).toBe(first)
  expect(await run(source.poll)).toBe(false)
  let refreshes = 0
  const refresh = Effect.sync(() => refreshes++)
  await run(source.show(refresh))
  await run(source.show(refresh))
  expect([refreshes, source.shownSequence > first]).toEqual([1, true])
  await writer.close()
})
