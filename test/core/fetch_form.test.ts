// A fetch of a replica is on its way when the writer puts another warm form in the place of the object, and the replica learns of it meanwhile: what
// comes is not taken for a part of the new form, and nobody reads by the old one.

import { expect, test } from "bun:test"
import { memoryStore, type ObjectStore, openReplica } from "bop-aof"
import * as Effect from "effect/Effect"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { keysIn, openBucketStore } from "../support/bucket.ts"

const count = 400
const text = (number: number): string => `record ${number} `.padEnd(900, `${number * 7919} abc `)
const isSegment = (key: string): boolean => key.includes("/segments/")
const formOf = (frameBytes: number, level: number) => ({
  segmentBytes: 1024 * 1024,
  tier1: { level, frameBytes, residencyMsMin: 0, retryBackoffMs: 1 },
})

/** A store whose answers for segments are held while there is a `hold`. */
const holding = (store: ObjectStore) => {
  const state: { hold: Promise<void> | undefined; onAsked: () => void } = { hold: undefined, onAsked: () => {} }
  const get: ObjectStore["get"] = (key, range) =>
    Effect.flatMap(store.get(key, range), (answer) => {
      const { hold } = state
      if (!isSegment(key) || hold === undefined) return Effect.succeed(answer)
      state.onAsked()
      return Effect.as(
        Effect.promise(() => hold),
        answer,
      )
    })
  const proxy = new Proxy(store, {
    get: (target, name) => {
      const value = name === "get" ? get : target[name as keyof ObjectStore]
      return typeof value === "function" ? value.bind(target) : value
    },
  })
  return { state, store: proxy }
}

for (const [name, frameBytes] of [
  ["the same frames", 4096],
  ["smaller frames", 65_536],
] as const) {
  test(`a fetch that ends after another warm form of ${name} was learned of is not taken for that`, async () => {
    const store = memoryStore()
    const disk = new MemoryDisk({ modelsCrashes: false })
    const ids: Array<number> = []
    const first = await openBucketStore(store, { disk }, formOf(frameBytes, 1))
    const orders = await first.stream("orders")
    for (let number = 0; number < count; number++) ids.push((await orders.append(text(number))).recordId)
    await orders.seal()
    await first.settled()
    const held = holding(store)
    const replica = await openReplica({ store: held.store, pollMs: 3_600_000 })
    const view = await replica.stream("orders")
    // Its seek table is known from here on.
    if (frameBytes !== 4096) expect((await view.get(ids[0]!)).text()).toBe(text(0))
    let letGo = (): void => {}
    held.state.hold = new Promise((resolve) => {
      letGo = resolve
    })
    const asked = new Promise<void>((resolve) => {
      held.state.onAsked = resolve
    })
    const reading = view.get(ids.at(-1)!)
    await asked

    // The writer has lost the warm file and the object, and makes both anew.
    await first.close()
    const remove = Effect.flatMap(Directory, (directory) =>
      directory.remove("/store/streams/orders/warm/0000000001.seg.zst"),
    )
    await Effect.runPromise(Effect.provide(remove, disk.layer))
    for (const key of (await keysIn(store)).filter(isSegment)) await Effect.runPromise(store.remove(key))
    const second = await openBucketStore(store, { disk }, formOf(4096, 19))
    await second.stream("orders")
    expect((await second.reconcile()).missing).toHaveLength(1)
    for (let tries = 0; tries < 200 && !(await keysIn(store)).some(isSegment); tries++) await second.settled()
    await second.settled()
    while (!(await replica.poll())) await second.settled()
    await replica.stream("orders")

    held.state.hold = undefined
    letGo()
    expect((await reading).text()).toBe(text(count - 1))
    for (let at = 0; at < count; at++) expect((await view.get(ids[at]!)).text()).toBe(text(at))
    let next = 0
    for await (const record of view.read({ from: "start" })) expect(record.text()).toBe(text(next++))
    expect(next).toBe(count)
    await replica.close()
    await second.close()
  })
}
