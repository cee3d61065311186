// What lies in Tier 2 beside what the manifest says: objects that nothing names, and segments whose object is gone.

import { describe, expect, test } from "bun:test"
import { openReplica } from "bop-aof"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, openMemory } from "../support/api.ts"
import {
  appendTexts,
  filled,
  headIn,
  keysIn,
  numbersIn,
  openBucketStore,
  putBytes,
  segmentsIn,
  until,
  upTo,
} from "../support/bucket.ts"

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

describe("reconcile", () => {
  test("finds nothing in order, and counts what is there", async () => {
    const store = memoryStore()
    const { manager } = await filled(store)
    const report = await manager.reconcile()
    expect([report.orphans, report.missing, report.isPlan, report.place]).toEqual([[], [], false, "memory"])
    expect(report.objects).toBe((await keysIn(store)).length - 1)
    expect(report.bytes).toBeGreaterThan(0)
    await manager.close()
  })

  test("queues objects of this root that nothing names, of its own epoch and older ones", async () => {
    const store = memoryStore()
    const { manager, stream } = await filled(store)
    const root = (await segmentsIn(store))[0]!.split("/")[0]!
    const orphans = [
      `${root}/manifest/0000000999-e1-0123456789abcdef.chunk`,
      `${root}/segments/1/0000000777-e0-0123456789abcdef.zst`,
      `${root}/segments/1/0000000777-e1-0123456789abcdef.zst`,
    ]
    const others = [
      `${root}/segments/1/0000000777-e9-0123456789abcdef.zst`,
      `${root}/segments/1/notes.txt`,
      "0123456789abcdef0123456789abcdef/segments/1/0000000777-e1-0123456789abcdef.zst",
      "readme",
    ]
    for (const key of [...orphans, ...others]) await putBytes(store, key, Uint8Array.of(1, 2, 3))
    const before = await keysIn(store)
    const plan = await manager.reconcile({ plan: true })
    expect(plan.orphans.map(({ key }) => key)).toEqual(orphans)
    await manager.settled()
    expect(await keysIn(store)).toEqual(before)
    const report = await manager.reconcile()
    expect(report.orphans.map(({ key, bytes }) => [key, bytes])).toEqual(orphans.map((key) => [key, 3]))
    await until("they are gone", async () => {
      const keys = await keysIn(store)
      return orphans.every((key) => !keys.includes(key))
    })
    const after = await keysIn(store)
    for (const key of others) expect(after).toContain(key)
    expect(await numbersIn(stream)).toEqual(upTo(30))
    await manager.close()
    // What was there before is there for the next machine, too.
    const second = await openBucketStore(store)
    expect(await numbersIn(await second.stream("orders"))).toEqual(upTo(30))
    await second.close()
  })

  test("uploads again what has a local copy, and names what has none", async () => {
    const store = memoryStore()
    const { manager, stream } = await filled(store)
    const keys = await segmentsIn(store)
    await run(store.remove(keys[0]!))
    await run(store.remove(keys[1]!))
    await putBytes(store, keys[1]!, Uint8Array.of(1))
    const plan = await manager.reconcile({ plan: true })
    expect(plan.missing.map(({ problem, isRepairable, key }) => [problem, isRepairable, key])).toEqual([
      ["missing", true, keys[0]!],
      ["length", true, keys[1]!],
    ])
    expect(await segmentsIn(store)).toEqual(keys.slice(1))
    const report = await manager.reconcile()
    expect(report.missing.length).toBe(2)
    await manager.settled()
    await until("they are there again", async () => (await segmentsIn(store)).length === keys.length)
    await stream.evict({ to: "tier2" })
    expect(await numbersIn(stream)).toEqual(upTo(30))
    // Now the bucket has the only copy.
    const [gone] = await segmentsIn(store)
    await run(store.remove(gone!))
    const { missing } = await manager.reconcile()
    expect(missing.map(({ stream: name, segmentIndex, isRepairable }) => [name, segmentIndex, isRepairable])).toEqual([
      ["orders", stream.segments()[0]!.index, false],
    ])
    expect(missing[0]!.to).toBeGreaterThan(missing[0]!.from)
    await manager.close()
  })

  test("is not misled by what is uploaded meanwhile, nor by a registered replica", async () => {
    const store = memoryStore()
    const { manager, stream } = await filled(store)
    const replica = await openReplica({ store, leaseMs: 60_000 })
    const appending = (async () => {
      for (let number = 30; number < 90; number += 10) {
        await appendTexts(stream, number, number + 10)
        await stream.seal()
      }
    })()
    for (let round = 0; round < 10; round++) {
      const { orphans, missing } = await manager.reconcile()
      expect([orphans, missing]).toEqual([[], []])
    }
    await appending
    await manager.settled()
    expect((await keysIn(store)).some((key) => key.includes("/replicas/"))).toBe(true)
    await replica.close()
    await manager.close()
    const second = await openBucketStore(store)
    expect(await numbersIn(await second.stream("orders"))).toEqual(upTo(90))
    await second.close()
  })

  test("fails as a whole while the store does not answer, and without Tier 2", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const { manager } = await filled(store)
    store.script = ({ kind }) => (kind === "list" ? "denied" : undefined)
    const head = await headIn(store)
    expect((await failure(manager.reconcile()))._tag).toBe("Unavailable")
    expect(await headIn(store)).toEqual(head)
    expect((await failure(manager.reconcile({ plann: true } as never)))._tag).toBe("InvalidArgument")
    for (const [what, value] of [
      ["plan", 1],
      ["plan", "yes"],
      ["plan", null],
      ["from", 5],
      ["from", null],
      ["from", {}],
    ] as const) {
      const error = await failure(manager.reconcile({ [what]: value }))
      expect([error._tag, error.what, error.value]).toEqual(["InvalidArgument", what, value])
    }
    expect((await failure(manager.moveBucket({ to: 5 } as never))).what).toBe("moveBucket.to")
    await manager.close()
    const plain = await openMemory({ tier2: false })
    expect((await failure(plain.reconcile()))._tag).toBe("InvalidArgument")
    await plain.close()
  })

  test("brings everything that is local to another bucket, which is then enough", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const before = memoryStore()
    const { manager: first } = await filled(before, disk)
    await first.close()
    const after = memoryStore()
    const second = await openBucketStore(after, { disk })
    const back = await second.stream("orders")
    await appendTexts(back, 30, 40)
    await back.seal()
    const { missing } = await second.reconcile()
    expect(missing.length).toBeGreaterThan(0)
    expect(missing.every(({ isRepairable }) => isRepairable)).toBe(true)
    await second.settled()
    await until("all is there", async () => (await second.reconcile({ plan: true })).missing.length === 0)
    await second.close()
    const third = await openBucketStore(after)
    expect(await numbersIn(await third.stream("orders"))).toEqual(upTo(40))
    expect(third.recovery.lost).toEqual([])
    await third.close()
    // Whoever opens the old bucket finds its own epoch there, and not the records that came later.
    const old = await openBucketStore(before)
    expect(await numbersIn(await old.stream("orders"))).toEqual(upTo(30))
    await old.close()
  })

  test("copies from the store before what is only there, verified, and not what is damaged there", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const before = memoryStore()
    const { manager: first, stream } = await filled(before, disk)
    await stream.evict({ to: "tier2" })
    await first.close()
    const after = memoryStore()
    const second = await openBucketStore(after, { disk })
    const plan = await second.reconcile({ plan: true, from: before })
    expect(plan.missing.length).toBeGreaterThan(2)
    expect(new Set(plan.missing.map(({ action }) => action))).toEqual(new Set(["it would be copied from memory"]))
    expect(await segmentsIn(after)).toEqual([])
    const keys = await segmentsIn(before)
    const bytes = await run(before.get(keys[1]!))
    bytes[100] = bytes[100]! ^ 1
    await run(before.remove(keys[1]!))
    await putBytes(before, keys[1]!, bytes)
    const half = await second.reconcile({ from: before })
    expect(half.missing.filter(({ isRepairable }) => !isRepairable).map(({ key }) => key)).toEqual([keys[1]!])
    expect(await segmentsIn(after)).toEqual(keys.filter((key) => key !== keys[1]))
    bytes[100] = bytes[100]! ^ 1
    await run(before.remove(keys[1]!))
    await putBytes(before, keys[1]!, bytes)
    const { missing } = await second.reconcile({ from: before })
    expect(missing.every(({ isRepairable }) => isRepairable)).toBe(true)
    expect(await segmentsIn(after)).toEqual(keys)
    expect(await numbersIn(await second.stream("orders"))).toEqual(upTo(30))
    await second.settled()
    await second.close()
    const third = await openBucketStore(after)
    expect(await numbersIn(await third.stream("orders"))).toEqual(upTo(30))
    await third.close()
  })

  test("ends with Closed when the manager is closed before its epoch was taken", async () => {
    const store = new FaultyObjectStore(memoryStore())
    store.script = () => "timeoutBefore"
    const manager = await openBucketStore(store, { requestTimeoutMs: 60_000 })
    const waiting = failure(manager.reconcile())
    await manager.close()
    expect((await waiting)._tag).toMatch(/Closed|Unavailable/)
  })
})
