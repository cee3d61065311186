// Every call that waits for the tiers is aborted, at each turn of the event loop in which it may be, and with the object store holding
// each of its requests. Afterwards nothing is held: no bytes of a budget but those of files, no pin, no request in the queue; the same
// call does its work; and no record was lost or is there twice.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import { memoryStore } from "../../src/api/object_store.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"
import { filesOf } from "../support/tier_check.ts"
import { noise, tierOptions } from "../support/tier_workload.ts"

const textOf = (number: number): string => noise(`record ${number} `, 900)

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Runs `call` and aborts it after so many turns; true when it had ended by then. Whatever else it rejects with is thrown. */
const abortAfter = (turns: number, call: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> =>
  abortWhen(async () => {
    for (let one = 0; one < turns; one++) await turn()
  }, call)

/** The same, when `passed` has ended. */
const abortWhen = async (
  passed: () => Promise<void>,
  call: (signal: AbortSignal) => Promise<unknown>,
): Promise<boolean> => {
  const controller = new AbortController()
  const reason = new Error("aborted by the test")
  let isDone = false
  const ended = call(controller.signal).then(
    () => {
      isDone = true
    },
    (error) => {
      if (error !== reason) throw error
    },
  )
  await passed()
  const wasDone = isDone
  controller.abort(reason)
  await ended
  return wasDone
}

/** Nothing is held but what lies on the disk. */
const checkNothingHeld = async (manager: AofManager, disk: MemoryDisk): Promise<void> => {
  await manager.settled()
  let [hot, warm] = [0, 0]
  for (const [path, bytes] of await filesOf(disk, "/store/streams")) {
    if (path.endsWith(".seg")) hot += bytes
    if (path.endsWith(".zst")) warm += bytes
    expect(path.endsWith(".tmp") && !path.includes("current")).toBe(false)
  }
  const { tier0, tier1 } = manager.observe()
  expect([tier0.activationQueueDepth, tier0.pinnedSegments, tier1.hydrationQueueDepth]).toEqual([0, 0, 0])
  expect(tier1.usedBytes).toBe(warm)
  expect(tier0.usedBytes).toBe(hot)
}

const options: AofManagerOptions = {
  ...tierOptions,
  // Files are exactly as long as what was written.
  preallocateBytesMax: 0,
  tier0: { bytesMax: 128 * 1024 },
  tier1: { ...tierOptions.tier1, bytesMax: 128 * 1024 },
}

/** A store with five cold segments and the ids of their records. */
const withCold = async (
  use: (parts: {
    readonly manager: AofManager
    readonly stream: Aof
    readonly disk: MemoryDisk
    readonly ids: ReadonlyArray<number>
    readonly store: FaultyObjectStore
  }) => Promise<void>,
): Promise<void> => {
  const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
  const store = new FaultyObjectStore(memoryStore())
  const tier2 = { ...tierOptions.tier2, store, requestTimeoutMs: 600_000 }
  await withStore(disk.layer, { ...options, tier2 }, async (manager) => {
    const stream = await manager.stream("s")
    const ids: Array<number> = []
    for (let number = 0; number < 35; number++) ids.push((await stream.append(textOf(number))).recordId)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    await use({ manager, stream, disk, ids, store })
    let number = 0
    for await (const record of stream.read()) expect(record.text()).toBe(textOf(number++))
    expect(number).toBe(stream.info().nextRecordNumber)
    await stream.evict({ to: "tier2" })
    await checkNothingHeld(manager, disk)
  })
}

const calls: ReadonlyArray<
  readonly [string, (stream: Aof, ids: ReadonlyArray<number>, signal: AbortSignal) => Promise<unknown>]
> = [
  ["openReader", async (stream, _, signal) => (await stream.openReader(2, { signal })).close()],
  ["prefetch to Tier 0", (stream, _, signal) => stream.prefetch({ to: "tier0", from: 2, count: 2, signal })],
  ["prefetch to Tier 1", (stream, _, signal) => stream.prefetch({ to: "tier1", from: 2, count: 2, signal })],
  ["get", (stream, ids, signal) => stream.get(ids[12]!, { signal })],
  [
    "read",
    async (stream, _, signal) => {
      for await (const record of stream.read({ signal })) if (record.recordNumber > 20) break
    },
  ],
  [
    "follow",
    async (stream, _, signal) => {
      for await (const record of stream.follow({ from: "start", signal })) if (record.recordNumber > 20) break
    },
  ],
]

const cases = calls.map(([name, call]) => ({ name, call }))
/** Those that ask for nothing ahead, and end what they have begun when nobody waits for it any more. */
const waiting = cases.filter(({ name }) => name === "get" || name === "openReader")

describe("an aborted", () => {
  test.each(cases)(
    "$name of cold records leaves nothing behind, whenever it is aborted",
    async ({ call }) => {
      let turns = 0
      for (let isDone = false; !isDone; turns++) {
        await withCold(async ({ manager, stream, disk, ids }) => {
          isDone = await abortAfter(turns, (signal) => call(stream, ids, signal))
          await checkNothingHeld(manager, disk)
          await call(stream, ids, new AbortController().signal)
        })
        expect(turns).toBeLessThan(2000)
      }
      expect(turns).toBeGreaterThan(1)
    },
    120_000,
  )

  test.each(waiting)("$name ends at once while the object store does not answer", async ({ call }) => {
    await withCold(async ({ manager, stream, disk, ids, store }) => {
      store.script = ({ kind }) => (kind === "get" ? "hang" : undefined)
      expect(await abortAfter(50, (signal) => call(stream, ids, signal))).toBe(false)
      await checkNothingHeld(manager, disk)
      store.script = undefined
      await call(stream, ids, new AbortController().signal)
    })
  })

  test("evict goes on without the caller", async () => {
    for (let turns = 0; turns < 60; turns += 3) {
      await withCold(async ({ manager, stream, disk }) => {
        await stream.prefetch({ to: "tier0" })
        await abortAfter(turns, (signal) => stream.evict({ to: "tier2", signal }))
        await checkNothingHeld(manager, disk)
        expect(stream.segments().filter((one) => one.state === "sealed" && one.tier === "tier0")).toEqual([])
      })
    }
  }, 60_000)

  test("append that waits for Admission takes nothing, or its record is there once", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
    const store = new FaultyObjectStore(memoryStore())
    const tier2 = { ...tierOptions.tier2, store }
    const tight = { ...options, tier2, tier0: { bytesMax: 65_536 }, tier1: { ...tierOptions.tier1, bytesMax: 65_536 } }
    await withStore(disk.layer, tight, async (manager) => {
      const stream = await manager.stream("s")
      store.down = "Network"
      let number = 0
      // Room is made in the background: only when nothing moves any more there is none.
      const isRoomMade = (): Promise<boolean> =>
        abortWhen(
          () => quietDisk(disk),
          (signal) => stream.ready({ signal }),
        )
      while (stream.tryAppend(textOf(number)) > 0 || (await isRoomMade())) {
        number = stream.info().nextRecordNumber
        expect(number).toBeLessThan(1000)
      }
      const before = stream.info().nextRecordNumber
      const used = manager.observe().tier0.usedBytes
      const turns = Array.from({ length: 20 }, (_, one) => one)
      await Promise.all(turns.map((one) => abortAfter(one, (signal) => stream.append(textOf(before), { signal }))))
      expect(stream.info().nextRecordNumber).toBe(before)
      expect(manager.observe().tier0.usedBytes).toBe(used)
      const last = stream.append(textOf(before))
      store.down = undefined
      expect((await last).recordNumber).toBe(before)
      let next = 0
      for await (const record of stream.read()) expect(record.text()).toBe(textOf(next++))
      expect(next).toBe(before + 1)
      await stream.seal()
      await stream.evict({ to: "tier2" })
      await checkNothingHeld(manager, disk)
    })
    const { objects } = await Effect.runPromise(store.list(""))
    expect(new Set(objects.map(({ key }) => key)).size).toBe(objects.length)
  }, 60_000)
})
