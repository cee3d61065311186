// Registered replicas: what they may still read stays in the bucket, for as long as their lease by the writer's clock.

import { describe, expect, test } from "bun:test"
import { openReplica } from "bop-aof"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import { ReplicaLeases } from "../../src/core/replica/replica_leases.ts"
import { makeTier2 } from "../../src/core/tier2/tier2.ts"
import { decodeReplicaLease, encodeReplicaLease, type ReplicaLease } from "../../src/format/replica_lease.ts"
import { makeTier2Config } from "../../src/model/tier2_config.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { rejection } from "../support/api.ts"
import {
  appendTexts,
  keysIn,
  numbersIn,
  openBucketStore,
  putBytes,
  textOfNumber,
  until,
  upTo,
} from "../support/bucket.ts"

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** What a writer sees, by a clock of the test. */
const watch = async (store: ObjectStore) => {
  const clock = await run(Clock.Clock)
  const config = makeTier2Config({ retry: { maxAttempts: 1, baseDelayMs: 1 } })
  const tier2 = makeTier2({ store, config, emit: () => {}, clock, random32: () => 1 })
  const time = { nowMs: 1_000_000 }
  const leases = new ReplicaLeases({ tier2, rootId: "abcd", nowMs: () => time.nowMs, emit: () => {} })
  const look = async (sequence = 0): Promise<ReadonlyArray<number>> => {
    await run(leases.look(sequence))
    return [leases.count, leases.lowestSequence]
  }
  return { look, time, leases }
}

const lease = (more: Partial<ReplicaLease> = {}): Uint8Array =>
  encodeReplicaLease({ leaseMs: 60_000, lastSequence: 7, renewals: 1, ...more })

describe("a registration", () => {
  test("is read as it was made, and anything else is none", () => {
    const value: ReplicaLease = { leaseMs: 3000, lastSequence: 12, renewals: 5 }
    expect(decodeReplicaLease(encodeReplicaLease(value))).toEqual(value)
    const good = encodeReplicaLease(value)
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bytes = good.slice()
      bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7))
      expect(decodeReplicaLease(bytes)).toBe(undefined)
    }
    for (let length = 0; length < good.length; length++)
      expect(decodeReplicaLease(good.subarray(0, length))).toBe(undefined)
    expect(decodeReplicaLease(encodeReplicaLease({ ...value, leaseMs: 10 }))).toBe(undefined)
    expect(decodeReplicaLease(new Uint8Array(10_000))).toBe(undefined)
  })

  test("holds from when the writer saw it change, and is removed when it has ended", async () => {
    const store = memoryStore()
    const { look, time } = await watch(store)
    expect(await look()).toEqual([0, Number.POSITIVE_INFINITY])
    await putBytes(store, "abcd/replicas/one", lease())
    await putBytes(store, "abcd/replicas/two", lease({ lastSequence: 5, leaseMs: 10_000 }))
    await putBytes(store, "abcd/replicas/rubbish", new Uint8Array(1000))
    await putBytes(store, "other/replicas/three", lease({ lastSequence: 1 }))
    // What was just looked at is good for a while.
    expect(await look()).toEqual([0, Number.POSITIVE_INFINITY])
    time.nowMs += 5000
    expect(await look()).toEqual([2, 5])
    time.nowMs += 9000
    await putBytes(store, "abcd/replicas/two", lease({ lastSequence: 6, leaseMs: 10_000, renewals: 2 }))
    expect(await look()).toEqual([2, 6])
    time.nowMs += 9000
    expect(await look()).toEqual([2, 6])
    time.nowMs += 5000
    expect(await look()).toEqual([1, 7])
    time.nowMs += 60_000
    expect(await look()).toEqual([0, Number.POSITIVE_INFINITY])
    // What it cannot read it leaves alone.
    expect(await keysIn(store)).toEqual(["abcd/replicas/rubbish", "other/replicas/three"])
  })

  test("is looked for anew when HEAD has given up something since the last look", async () => {
    const store = memoryStore()
    const { look } = await watch(store)
    expect(await look(5)).toEqual([0, Number.POSITIVE_INFINITY])
    await putBytes(store, "abcd/replicas/one", lease())
    expect(await look(5)).toEqual([0, Number.POSITIVE_INFINITY])
    expect(await look(8)).toEqual([1, 7])
    await putBytes(store, "abcd/replicas/two", lease({ lastSequence: 5 }))
    expect(await look(8)).toEqual([1, 7])
    expect(await look(9)).toEqual([2, 5])
  })

  test("is not known while the bucket does not answer", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const { look } = await watch(store)
    store.script = ({ kind }) => (kind === "list" ? "denied" : undefined)
    expect((await rejection(() => look()))._tag).toBe("Unavailable")
  })
})

describe("a registered replica", () => {
  test("keeps what it may read in the bucket until it has gone on, or is closed", async () => {
    const store = memoryStore()
    const writer = await openBucketStore(store)
    const stream = await writer.stream("orders")
    const ids = await appendTexts(stream, 0, 20)
    await stream.seal()
    await writer.settled()
    const replica = await openReplica({ store, pollMs: 3_600_000, leaseMs: 60_000 })
    const view = await replica.stream("orders")
    const registered = (await keysIn(store)).filter((key) => key.includes("/replicas/"))
    expect(registered.length).toBe(1)
    await stream.trim({ before: ids[15]! })
    await appendTexts(stream, 20, 21)
    await stream.seal()
    await writer.settled()
    await until("the writer has looked", () => writer.observe().bucket!.replicas === 1)
    const before = writer.observe().backlog.deletes
    expect(before).toBeGreaterThan(0)
    // By range out of objects that the writer has given up.
    expect((await view.get(ids[3]!)).text()).toBe(textOfNumber(3))
    expect(await numbersIn(view)).toEqual(upTo(20))
    expect(writer.observe().backlog.deletes).toBeGreaterThanOrEqual(before)
    await replica.close()
    expect((await keysIn(store)).some((key) => key.includes("/replicas/"))).toBe(false)
    await until("they are removed", () => writer.observe().backlog.deletes === 0)
    await writer.close()
  })

  test("can be interrupted while it is opened and its bucket does not answer", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const writer = await openBucketStore(store)
    await appendTexts(await writer.stream("orders"), 0, 3)
    await writer.close()
    let hanging = 0
    store.script = ({ kind }) => {
      if (kind !== "put" && kind !== "remove") return undefined
      hanging++
      return "hang"
    }
    const stopping = new AbortController()
    const reason = new Error("enough")
    let ended: unknown
    const opening = openReplica({ store, leaseMs: 60_000, requestTimeoutMs: 3_600_000, signal: stopping.signal })
    opening.catch((error) => (ended = error))
    await until("it registers", () => hanging > 0)
    stopping.abort(reason)
    await until("it has ended", () => ended !== undefined)
    expect(ended).toBe(reason)
  })

  test("is closed also when its bucket does not answer: its lease ends by itself", async () => {
    const store = new FaultyObjectStore(memoryStore())
    const writer = await openBucketStore(store)
    await appendTexts(await writer.stream("orders"), 0, 3)
    await writer.close()
    const replica = await openReplica({ store, leaseMs: 60_000, requestTimeoutMs: 3_600_000 })
    let removals = 0
    store.script = ({ kind }) => {
      if (kind !== "remove") return undefined
      removals++
      return "hang"
    }
    let isClosed = false
    replica.close().then(() => (isClosed = true))
    await until("it is closed", () => isClosed)
    expect(removals).toBe(1)
  })

  test("is refused a lease that is too short or too long", async () => {
    const store = memoryStore()
    for (const leaseMs of [-1, 1, 2999, 86_400_001, 3000.5]) {
      const error = await rejection(() => openReplica({ store, leaseMs }))
      expect([error._tag, error.what]).toEqual(["InvalidArgument", "replica.leaseMs"])
    }
  })
})
