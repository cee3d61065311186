// Many tasks at once against one model. Invariants: what was acknowledged is at its number, in order, exactly once; batches are whole;
// reads have no gap, no repeat and no foreign bytes; nothing trimmed is read; the figures agree in the end and after a reopen.
// A failure prints the seed; run it alone with TORTURE_SEED=<seed>.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager } from "bop-aof"
import { AofManager as RealManager } from "bop-aof"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, makeRandom, makeRoot, openMemory, turns } from "../support/api.ts"

const seeds = process.env["TORTURE_SEED"] === undefined ? [1, 2, 3, 4, 5, 6] : [Number(process.env["TORTURE_SEED"])]
const options = { segmentBytes: 8192, stagingBytes: 4096, unflushedBytesMax: 16 * 1024 }

interface World {
  readonly random: (n: number) => number
  readonly acked: Map<number, string>
  stream: Aof
  manager: AofManager
  trimmedTo: number
  steps: number
}

const isExpected = (error: any): boolean => error?._tag === "Closed" || error?._tag === "NotFound"

const payload = (world: World, name: string, i: number): string => `${name}:${i}:`.padEnd(8 + world.random(400), name)

const appender = async (world: World, name: string): Promise<void> => {
  for (let i = 0; world.steps > 0; world.steps--) {
    const { stream, random } = world
    try {
      const kind = random(10)
      if (kind < 5) {
        const text = payload(world, name, i++)
        const { recordNumber } = await stream.append(text, { level: kind < 2 ? "written" : "durable" })
        note(world, recordNumber, text)
      } else if (kind < 8) {
        const items = Array.from({ length: 1 + random(12) }, () => payload(world, name, i++))
        const { first, count } = await stream.appendBatch(items)
        expect(count).toBe(items.length)
        for (const [at, text] of items.entries()) note(world, first.recordNumber + at, text)
      } else {
        const text = payload(world, name, i++)
        const id = stream.tryAppend(text)
        if (id < 0) await stream.ready()
        else note(world, (await stream.durable(id)).recordNumber, text)
      }
    } catch (error) {
      if (!isExpected(error)) throw error
      await turns(1)
    }
  }
}

const note = (world: World, recordNumber: number, text: string): void => {
  expect(world.acked.has(recordNumber)).toBe(false)
  world.acked.set(recordNumber, text)
}

const check = (
  world: World,
  record: { recordNumber: number; text: () => string },
  expected: number | undefined,
): void => {
  if (expected !== undefined && record.recordNumber !== expected)
    throw new Error(`record ${record.recordNumber} came where ${expected} was due`)
  const text = record.text()
  const known = world.acked.get(record.recordNumber)
  if (known !== undefined && known !== text) throw new Error(`record ${record.recordNumber} is ${text}, not ${known}`)
  if (!/^[a-z]:\d+:/.test(text)) throw new Error(`record ${record.recordNumber} is ${text}`)
}

const reader = async (world: World): Promise<void> => {
  while (world.steps > 0) {
    const { stream, random } = world
    try {
      const info = stream.info()
      const number = info.firstRecordNumber + random(Math.max(1, info.count))
      const kind = random(6)
      let expected: number | undefined
      if (kind < 2) {
        for await (const record of stream.read(kind === 0 ? { number } : { last: 1 + random(50) })) {
          check(world, record, expected)
          expected = record.recordNumber + 1
        }
      } else if (kind === 2) {
        for await (const record of stream.read({ reverse: true, limit: 60 })) {
          check(world, record, expected)
          expected = record.recordNumber - 1
        }
      } else if (kind === 3) {
        for await (const record of stream.follow({ number, limit: 80, level: "written" })) {
          check(world, record, expected)
          expected = record.recordNumber + 1
          if (world.steps <= 0) break
        }
      } else if (kind === 4) {
        const cursor = stream.cursor({ number })
        for (let i = 0; i < 200 && cursor.next(); i++) {
          if (expected !== undefined) expect(cursor.recordNumber).toBe(expected)
          expected = cursor.recordNumber + 1
          const record = stream.tryGet(cursor.recordId)
          check(world, record, cursor.recordNumber)
        }
        cursor.close()
      } else if (info.lastId > 0) {
        check(world, await stream.get(info.lastId), undefined)
      }
    } catch (error) {
      if (!isExpected(error)) throw error
    }
    await turns(1)
  }
}

const keeper = async (world: World): Promise<void> => {
  while (world.steps > 0) {
    const { stream, random } = world
    try {
      const kind = random(8)
      const info = stream.info()
      if (kind < 3) await stream.seal()
      else if (kind < 5 && info.count > 100) {
        const [record] = await collect(
          stream.read({ number: info.firstRecordNumber + random(info.count - 50), limit: 1 }),
        )
        if (record !== undefined) {
          await stream.trim({ before: record.recordId })
          world.trimmedTo = Math.max(world.trimmedTo, record.recordNumber)
          expect(stream.info().firstRecordNumber).toBeGreaterThanOrEqual(world.trimmedTo)
        }
      } else if (kind === 5) await stream.flush()
      else if (kind === 6) await Promise.all([stream.flush(), stream.seal(), stream.flush()])
      else {
        await stream.close()
        world.stream = await world.manager.stream("s")
      }
    } catch (error) {
      if (!isExpected(error)) throw error
      world.stream = await world.manager.stream("s")
    }
    await turns(1 + random(8))
  }
}

const run = async (seed: number, open: () => Promise<AofManager>, steps: number): Promise<void> => {
  const manager = await open()
  const random = makeRandom(seed)
  const world: World = { random, acked: new Map(), stream: await manager.stream("s"), manager, trimmedTo: 0, steps }
  const tasks = ["a", "b", "c", "d"].map((name) => appender(world, name))
  const others = [keeper(world), reader(world), reader(world), reader(world)]
  await Promise.all(tasks)
  // Followers that wait at the tail need one more record to see that it is over.
  const ending = Promise.all(others)
  let isOver = false
  void ending.finally(() => (isOver = true)).catch(() => {})
  while (!isOver) {
    await world.stream.append("z:0:").catch(() => turns(1))
    await turns(1)
  }
  await ending
  await manager.close()
  const again = await open()
  expect(again.recovery.isClean).toBe(true)
  const stream = await again.stream("s")
  const records = await collect(stream.read())
  const info = stream.info()
  expect(info.count).toBe(records.length)
  expect(info.firstRecordNumber).toBeGreaterThanOrEqual(world.trimmedTo)
  for (const [i, record] of records.entries()) check(world, record, info.firstRecordNumber + i)
  const numbers = new Set(records.map((record) => record.recordNumber))
  for (const number of world.acked.keys()) if (number >= info.firstRecordNumber) expect(numbers.has(number)).toBe(true)
  const next = new Map<string, number>()
  for (const record of records) {
    const [name, i] = record.text().split(":") as [string, string]
    if (name === "z") continue
    const before = next.get(name)
    if (before !== undefined) expect(Number(i)).toBeGreaterThan(before)
    next.set(name, Number(i))
  }
  await again.close()
}

describe("everything at once", () => {
  test.each(seeds)("on a memory disk, seed %d", async (seed) => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: seed % 2 === 0 })
    await run(seed, () => openMemory(options, disk), 600)
  })

  test.each(seeds.slice(0, 2))("on a real disk, seed %d", async (seed) => {
    const root = makeRoot()
    await run(seed, () => RealManager.open({ root, ...options }), 250)
  })
})
