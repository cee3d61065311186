// Options of every call: what is no object, or has a name that the call does not take, is InvalidArgument, and comes as every
// other error of that call: from a call that waits as a rejection, from one that does not as an exception.

import { describe, expect, test } from "bun:test"
import { AofManager, ManifestInspector, memoryStore, openReplica, type ReadOptions } from "bop-aof"
import { AofManager as MemoryManager } from "bop-aof/memory"
import { s3Store } from "bop-aof/s3"
import { failure, makeRoot, openMemory, rejection, texts } from "../support/api.ts"
import { openBucketStore } from "../support/bucket.ts"

const noOptions: ReadonlyArray<unknown> = [null, 0, 1, "x", true, [], [1], { foo: 1 }]
const noSignals: ReadonlyArray<unknown> = [null, 1, {}, { signal: null }]

/** What a call that waits rejects with; an exception of the call itself is none. */
const rejected = (call: () => Promise<unknown>): Promise<unknown> => {
  const promise = call()
  expect(promise).toBeInstanceOf(Promise)
  return rejection(() => promise)
}

const invalid = { _tag: "InvalidArgument" }

describe("calls that wait", () => {
  test("reject with InvalidArgument for what is no option, and for what is no signal", async () => {
    const store = memoryStore()
    const manager = await openBucketStore(store)
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("x")
    await stream.seal()
    await stream.evict({ to: "tier2" })
    const replica = await openReplica({ store, pollMs: 3_600_000 })
    const calls: Record<string, (options: never) => Promise<unknown>> = {
      append: (options) => stream.append("y", options),
      appendBatch: (options) => stream.appendBatch(["y"], options),
      ready: (options) => stream.ready(options),
      durable: (options) => stream.durable(recordId, options),
      flushUntil: (options) => stream.flushUntil(recordId, options),
      flush: (options) => stream.flush(options),
      read: (options) => stream.read(options).next(),
      follow: (options) => stream.follow(options).next(),
      "cursor.ready": (options) => stream.cursor().ready(options),
      get: (options) => stream.get(recordId, options),
      openReader: (options) => stream.openReader(1, options),
      seal: (options) => stream.seal(options),
      trim: (options) => stream.trim(options),
      prefetch: (options) => stream.prefetch(options),
      evict: (options) => stream.evict(options),
      "stream.close": (options) => stream.close(options),
      stream: (options) => manager.stream("s", options),
      deleteStream: (options) => manager.deleteStream("s", options),
      settled: (options) => manager.settled(options),
      customEvent: (options) => manager.customEvent(1, new Uint8Array(1), options),
      scrub: (options) => manager.scrub(options),
      reconcile: (options) => manager.reconcile(options),
      moveBucket: (options) => manager.moveBucket(options),
      "replica.stream": (options) => replica.stream("s", options),
      poll: (options) => replica.poll(options),
      close: (options) => manager.close(options),
      open: (options) => AofManager.open(options),
      "memory.open": (options) => MemoryManager.open(options),
      repair: (options) => AofManager.repair(options),
      openReplica: (options) => openReplica(options),
      "ManifestInspector.open": (options) => ManifestInspector.open(makeRoot(), options),
    }
    for (const [name, call] of Object.entries(calls)) {
      for (const options of noOptions)
        expect([name, await rejected(() => call(options as never))]).toMatchObject([name, invalid])
    }
    const needed: Record<string, object> = {
      trim: { before: recordId },
      moveBucket: { to: memoryStore() },
      open: { root: makeRoot() },
      repair: { root: makeRoot() },
      openReplica: { store },
    }
    for (const [name, call] of Object.entries(calls)) {
      for (const signal of noSignals) {
        const error = await rejected(() => call({ ...needed[name], signal } as never))
        expect([name, error]).toMatchObject([name, { ...invalid, what: "signal" }])
      }
    }
    // None of them has done anything.
    expect(await texts(stream)).toEqual(["x"])
    await replica.close()
    await manager.close()
  })

  test("reconcile() takes no plan that is neither true nor false", async () => {
    const manager = await openBucketStore(memoryStore())
    expect(await rejected(() => manager.reconcile({ plan: 1 as never }))).toMatchObject(invalid)
    expect((await manager.reconcile({ plan: true })).isPlan).toBe(true)
    await manager.close()
  })
})

describe("calls that do not wait", () => {
  test("throw InvalidArgument for what is no option, and take no signal", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("x")
    await stream.seal()
    const calls: Record<string, (options: never) => unknown> = {
      cursor: (options) => stream.cursor(options),
      tryGet: (options) => stream.tryGet(recordId, options),
      tryOpenReader: (options) => stream.tryOpenReader(1, options),
      sealedSegments: (options) => stream.sealedSegments(options),
      s3Store: (options) => s3Store(options),
    }
    const signals = [null, new AbortController().signal, AbortSignal.abort()]
    for (const [name, call] of Object.entries(calls)) {
      for (const options of [...noOptions, ...signals.map((signal) => ({ signal }))]) {
        expect([name, await failure(() => call(options as never))]).toMatchObject([name, invalid])
      }
    }
    const error = await failure(() => stream.cursor({ signal: AbortSignal.abort() } as ReadOptions as never))
    expect(error).toMatchObject({ value: "signal", limit: expect.not.stringContaining("signal") })
    expect(stream.tryGet(recordId, { level: "written" }).text()).toBe("x")
    await manager.close()
  })
})
