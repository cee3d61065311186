// A store is read by another process while its writer goes on through rollovers, seals, trims and a replaced file: what is seen is
// always a prefix, in order and whole, `durable` never shows what a power cut could take, and what is new is seen within 50 ms.

import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import { AofManager, openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { startChild } from "../support/child.ts"
import { randomOf } from "../support/crash_model.ts"

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe("a read-only store on a disk with a writer", () => {
  test.each([1, 2, 3, 4])(
    "shows a whole prefix at every moment, seed %i",
    async (seed: number) => {
      const disk = new MemoryDisk()
      const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, preallocateBytesMax: 8192 }
      const random = randomOf(seed)
      const writer = await openWith(disk.layer, options)
      const stream = await writer.stream("s")
      let durable = 0
      let trimmed = 0
      let failures = seed === 4 ? 3 : 0
      disk.onOperation = ({ kind, path }) => {
        if (failures === 0 || kind !== "syncData" || !path.endsWith(".seg") || random(20) > 0) return undefined
        failures--
        return "EIO"
      }
      await stream.append("0 ")
      const reader = await openWith(disk.layer, { ...options, readOnly: true })
      const seen = await reader.stream("s")
      const followed: Array<number> = []
      const abort = new AbortController()
      const following = (async () => {
        for await (const record of seen.follow({ from: "start", signal: abort.signal })) {
          expect(record.text().split(" ")[0]).toBe(String(record.recordNumber))
          // The cut is made on a copy: what a follower has seen at `durable` must be in it.
          if (record.recordNumber >= durable) {
            const copy = disk.fork()
            copy.crash(() => false)
            const again = await openWith(copy.layer, { ...options, readOnly: true })
            expect((await again.stream("s")).info().nextRecordNumber).toBeGreaterThan(record.recordNumber)
            await again.close()
          }
          followed.push(record.recordNumber)
        }
      })().catch((error) => {
        if (!abort.signal.aborted) throw error
      })
      for (let number = 1; number < 300; ) {
        const count = random(5) === 0 ? 3 : 1
        const items = Array.from({ length: count }, (_, one) => `${number + one} `.padEnd(random(500), "."))
        const call = count > 1 ? stream.appendBatch(items) : stream.append(items[0]!)
        number += count
        const acked = number
        const noted = call.then(() => (durable = Math.max(durable, acked)))
        if (random(3) === 0) await noted
        if (random(30) === 0) await stream.seal()
        if (random(25) === 0) await pause(15)
        // The follower is given time, because a trim may overtake it otherwise.
        if (random(60) === 0) {
          await noted
          while ((followed.at(-1) ?? -1) < number - 1) await pause(2)
          trimmed = number - 1
          await stream.trim({ before: stream.info().lastId })
        }
      }
      while ((followed.at(-1) ?? -1) < 299) await pause(2)
      expect(trimmed).toBeGreaterThanOrEqual(0)
      expect(followed).toEqual(Array.from({ length: followed.length }, (_, one) => one))
      abort.abort()
      await following
      await reader.close()
      await writer.close()
    },
    60_000,
  )
})

/** A clock that stands still until it is told to move. */
class HandClock {
  #now = 1_700_000_000_000
  readonly #sleeps = new Map<() => void, number>()
  readonly layer: Layer.Layer<never>

  constructor() {
    const now = (): number => this.#now
    const nanos = (): bigint => BigInt(this.#now) * 1_000_000n
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: now,
      currentTimeMillis: Effect.sync(now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) =>
        Effect.callback<void>((resume) => {
          const wake = (): void => resume(Effect.void)
          this.#sleeps.set(wake, this.#now + Duration.toMillis(duration))
          return Effect.sync(() => void this.#sleeps.delete(wake))
        }),
    }
    this.layer = Layer.succeed(Clock.Clock, clock)
  }

  pass(ms: number): void {
    this.#now += ms
    for (const [wake, at] of [...this.#sleeps]) {
      if (at > this.#now) continue
      this.#sleeps.delete(wake)
      wake()
    }
  }
}

/** Lets time pass for as long as something takes; gives its milliseconds. What the disk is asked for meanwhile takes none. */
const timeOf = async (
  call: Promise<unknown>,
  { clock, disk }: { clock: HandClock; disk: MemoryDisk },
): Promise<number> => {
  let isDone = false
  const done = call.finally(() => (isDone = true))
  for (let ms = 0; ; ms += 5) {
    for (let [quietTurns, count] = [0, 0]; quietTurns < 20 && !isDone; quietTurns++) {
      await new Promise(setImmediate)
      if (disk.operationCount !== count) [quietTurns, count] = [0, disk.operationCount]
    }
    if (isDone) return done.then(() => ms)
    clock.pass(5)
  }
}

test("a follower of a store with another writer sees each record within 50 ms of its acknowledgement", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const clock = new HandClock()
  const layer = Layer.merge(disk.layer, clock.layer)
  const options = { root: "/store", segmentBytes: 8192 }
  const writer = await openWith(layer, options)
  const stream = await writer.stream("s")
  await stream.append("0 ")
  const reader = await openWith(layer, { ...options, readOnly: true })
  const follower = (await reader.stream("s")).follow({ from: "start" })
  const times: Array<number> = []
  for (let number = 0; number <= 60; number++) {
    if (number > 0) await stream.append(`${number} `.padEnd(700, "."))
    const step = follower.next()
    times.push(await timeOf(step, { clock, disk }))
    expect((await step).value?.recordNumber).toBe(number)
    // At any moment between two looks.
    clock.pass(number % 25)
    if (number % 20 === 19) await timeOf(stream.seal(), { clock, disk })
    if (number % 30 === 29) await timeOf(stream.trim({ before: stream.info().lastId }), { clock, disk })
  }
  expect(Math.max(...times)).toBeLessThanOrEqual(50)
  await timeOf(Promise.all([reader.close(), writer.close()]), { clock, disk })
}, 60_000)

test("a follower in another process sees each record, alone and among many", async () => {
  const root = mkdtempSync(join(tmpdir(), "bop-aof-follow-"))
  const writer = await AofManager.open({ root, segmentBytes: 16 * 1024 })
  const stream = await writer.stream("s")
  await stream.append("0 ")
  const child = startChild(currentRuntime, "follow_store.ts", [root])
  const latencies: Array<number> = []
  try {
    expect(await child.line()).toBe("0")
    for (let number = 1; number <= 60; number++) {
      const started = performance.now()
      await stream.append(`${number} `.padEnd(700, "."))
      expect(await child.line()).toBe(String(number))
      latencies.push(performance.now() - started)
      if (number % 20 === 0) await stream.seal()
      if (number % 30 === 0) await stream.trim({ before: stream.info().lastId })
    }
    // Many at once, across several segments.
    const many = Array.from({ length: 200 }, (_, one) => stream.append(`${61 + one} `.padEnd(900, ".")))
    await Promise.all(many)
    for (let number = 61; number <= 260; number++) expect(await child.line()).toBe(String(number))
  } finally {
    child.kill("SIGKILL")
    await child.closed
    await writer.close()
    rmSync(root, { recursive: true, force: true })
  }
  latencies.sort((a, b) => a - b)
  console.log(`median ${latencies[30]!.toFixed(0)} ms, largest ${latencies.at(-1)!.toFixed(0)} ms`)
}, 60_000)
