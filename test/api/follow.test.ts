// Followers and live cursors: from history to the tail without gap or repeat, at the pace of the consumer, and how they end.

import { describe, expect, test } from "bun:test"
import type { AofRecord, ReadOptions } from "bop-aof"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, failure, fill, openMemory, rejection, small, stores, turns } from "../support/api.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const take = async (records: AsyncIterable<AofRecord<unknown>>, count: number): Promise<Array<number>> => {
  const found: Array<number> = []
  for await (const record of records) {
    found.push(record.recordNumber)
    if (found.length === count) break
  }
  return found
}
const range = (from: number, to: number): Array<number> => Array.from({ length: to - from }, (_, i) => from + i)

describe.each(stores)("followers on %s", (_, makeOpen) => {
  test("go from history to the tail without gap or repeat, under rollovers, seals and batches", async () => {
    const manager = await makeOpen()(small)
    const stream = await manager.stream("s")
    await fill(stream, 300, 60)
    const followers = [
      take(stream.follow(), 3000),
      take(stream.follow({ from: "end" }), 2700),
      take(stream.follow({ number: 250, level: "written" }), 2750),
      take(stream.follow({ last: 5 }), 2705),
      collect(stream.follow({ limit: 1500 })).then((records) => records.map((record) => record.recordNumber)),
    ]
    const slow = (async () => {
      const found: Array<number> = []
      for await (const record of stream.follow({ from: "start" })) {
        found.push(record.recordNumber)
        if (found.length % 100 === 0) await turns(1)
        if (found.length === 3000) break
      }
      return found
    })()
    for (let i = 300; i < 3000; ) {
      if (i % 10 === 0) {
        await stream.appendBatch(
          Array.from({ length: 10 }, () => "batch".repeat(10)),
          { level: "written" },
        )
        i += 10
      } else i += (await stream.append("one", { level: "buffered" })).recordId > 0 ? 1 : 0
      if (i % 500 === 0) await stream.seal()
    }
    await stream.flush()
    const [all, live, level, last, limited] = await Promise.all(followers)
    expect(all).toEqual(range(0, 3000))
    expect(live).toEqual(range(300, 3000))
    expect(level).toEqual(range(250, 3000))
    expect(last).toEqual(range(295, 3000))
    expect(limited).toEqual(range(0, 1500))
    expect(await slow).toEqual(range(0, 3000))
    await manager.close()
  })

  test("a follower under trims either goes on without a gap or ends in NotFound with the first id that is left", async () => {
    const manager = await makeOpen()(small)
    const stream = await manager.stream("s")
    const ids = await fill(stream, 2000, 60)
    const follower = stream.follow()
    for (let i = 0; i < 3; i++) expect((await follower.next()).value?.recordNumber).toBe(i)
    await stream.trim({ before: ids[1500]! })
    let expected = 3
    let error: unknown
    try {
      for (;;) {
        const { value } = await follower.next()
        expect(value!.recordNumber).toBe(expected)
        expect(value!.text()).toBe(`${expected} `.padEnd(60, "."))
        if (++expected === 2000) break
      }
    } catch (caught) {
      error = caught
    }
    if (expected < 2000) expect(error).toMatchObject({ _tag: "NotFound", limit: ids[1500] })
    const cursor = stream.cursor()
    expect(cursor.next()).toBe(true)
    expect(cursor.recordNumber).toBe(1500)
    await stream.seal()
    await stream.append("last")
    await stream.trim({ before: stream.info().lastId })
    let previous = 1500
    let gaps = 0
    for (let steps = 0; steps < 1000; steps++) {
      const moved = await Promise.resolve()
        .then(() => cursor.next())
        .catch((one) => one)
      if (moved === false) break
      if (moved === true) {
        expect(cursor.recordNumber).toBeGreaterThan(previous)
        if (cursor.recordNumber !== previous + 1) expect(gaps).toBe(1)
        previous = cursor.recordNumber
      } else {
        expect(moved).toMatchObject({ _tag: "NotFound", limit: stream.info().firstId })
        gaps++
      }
    }
    expect(previous).toBe(2000)
    expect(gaps).toBeLessThanOrEqual(1)
    await manager.close()
  })
})

describe("follow()", () => {
  test("begins exactly where it was told, also when that is not durable, not written or not appended yet", async () => {
    const manager = await openMemory({ flushIntervalMs: 3_600_000 })
    const stream = await manager.stream("s")
    await stream.append("0", { extId: 10, timestampMs: 1000 })
    const ids = [1, 2, 3, 4, 5].map((i) => stream.tryAppend(`${i}`, 10 * (i + 1), 1000 * (i + 1)))
    const starts: Array<readonly [ReadOptions, number]> = [
      [{ from: ids[2]! }, 3],
      [{ after: ids[2]! }, 4],
      [{ number: 4 }, 4],
      [{ number: 8 }, 8],
      [{ extId: 45 }, 4],
      [{ extId: 90 }, 8],
      [{ time: 4500 }, 4],
      [{ time: 9000 }, 8],
      [{ after: ids[4]! }, 6],
      [{ from: ids[4]! + 1000 }, 7],
    ]
    const followers = starts.map(([options]) => stream.follow(options))
    const cursors = starts.map(([options]) => stream.cursor(options))
    for (const cursor of cursors) expect(cursor.next()).toBe(false)
    expect(cursors[0]!.blocked).toBe("Tail")
    await turns()
    const written = stream.follow({ from: ids[3]!, level: "written" })
    expect((await written.next()).value).toMatchObject({ recordNumber: 4 })
    for (let i = 6; i < 10; i++) stream.tryAppend(`${i}`.padEnd(i === 6 ? 1000 : 1), 10 * (i + 1), 1000 * (i + 1))
    await stream.flush()
    for (const [i, [options, expected]] of starts.entries()) {
      expect([options, (await followers[i]!.next()).value?.recordNumber]).toEqual([options, expected])
      expect([options, cursors[i]!.next(), cursors[i]!.recordNumber]).toEqual([options, true, expected])
      expect([options, (await followers[i]!.next()).value?.recordNumber]).toEqual([options, expected + 1])
    }
    expect(await rejection(() => stream.follow({ from: ids[2]! + 3 }).next())).toMatchObject({
      _tag: "InvalidArgument",
    })
    await manager.close()
  })

  test("return() ends a step that waits, and leaves no waiter", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("x")
    const follower = stream.follow()
    await follower.next()
    const pending = [follower.next(), follower.next()]
    await turns()
    expect(await follower.return!()).toEqual({ done: true, value: undefined })
    expect(await Promise.all(pending)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
    expect(await follower.next()).toEqual({ done: true, value: undefined })
    const early = stream.follow()
    await early.return!()
    expect(await early.next()).toEqual({ done: true, value: undefined })
    await manager.close()
  })

  test("steps asked ahead are answered in order", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const follower = stream.follow()
    const steps = Array.from({ length: 20 }, () => follower.next())
    for (let i = 0; i < 20; i++) await stream.append(`${i}`)
    const found = await Promise.all(steps)
    expect(found.map((step) => step.value?.recordNumber)).toEqual(range(0, 20))
    await manager.close()
  })

  test("backwards is InvalidArgument", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    expect(await rejection(() => stream.follow({ reverse: true }).next())).toMatchObject({ what: "reverse" })
    await manager.close()
  })

  test("an idle follower asks nothing of the disk", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const stream = await manager.stream("s")
    await stream.append("x")
    const follower = stream.follow({ from: "end" })
    const step = follower.next()
    await quietDisk(disk)
    const before = disk.operationCount
    await new Promise((resolve) => setTimeout(resolve, 120))
    expect(disk.operationCount).toBe(before)
    await stream.append("y")
    expect((await step).value?.text()).toBe("y")
    await manager.close()
  })

  test("a follower that waits rejects with Closed when stream or manager close, and one that is abandoned says nothing", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const other = await manager.stream("other")
    const ends = [stream.follow().next(), other.follow().next()].map((step) => failure(step))
    const abandoned = other.follow()
    await turns()
    await stream.close()
    expect(await ends[0]).toMatchObject({ _tag: "Closed", retryable: false, what: "stream s" })
    await manager.close()
    expect(await ends[1]).toMatchObject({ _tag: "Closed" })
    expect(await rejection(() => abandoned.next())).toMatchObject({ _tag: "Closed" })
    expect(await abandoned.next()).toEqual({ done: true, value: undefined })
  })
})

describe("cursor()", () => {
  test("walks live growth, says why it is blocked, and ready() is its twin", async () => {
    const manager = await openMemory({ flushIntervalMs: 3_600_000, ...small })
    const stream = await manager.stream("s")
    const cursor = stream.cursor({ from: "start" })
    expect(cursor.next()).toBe(false)
    expect(cursor.blocked).toBe(undefined)
    let found = 0
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 20; i++) stream.tryAppend(`${round * 20 + i} `.padEnd(30, "."))
      expect(cursor.next()).toBe(false)
      expect(cursor.blocked).toBe("Tail")
      const ready = cursor.ready()
      await stream.flush()
      await ready
      while (cursor.next()) {
        // At once, while records are at hand.
        if (found < round * 20 + 19) await cursor.ready()
        expect(cursor.recordNumber).toBe(found)
        expect(Buffer.from(cursor.buffer.buffer, cursor.buffer.byteOffset + cursor.payloadStart, 3).toString()).toBe(
          `${found} ..`.slice(0, 3),
        )
        found++
      }
      expect(cursor.blocked).toBe(undefined)
    }
    expect(found).toBe(1000)
    await manager.close()
    expect(await failure(() => cursor.next())).toMatchObject({ _tag: "Closed" })
    expect(await rejection(() => cursor.ready())).toMatchObject({ _tag: "Closed" })
  })

  test("ready() before the first move resolves when records are at hand", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    for (let i = 0; i < 10; i++) stream.tryAppend(`${i}`)
    await stream.flush()
    for (const options of [{ number: 5 }, { last: 2 }, { from: "start" }, { reverse: true }] as const) {
      const cursor = stream.cursor(options)
      await cursor.ready()
      expect(cursor.next()).toBe(true)
    }
    await manager.close()
  })

  test("ends at its limit, and is closed once", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await fill(stream, 10)
    const cursor = stream.cursor({ limit: 2 })
    expect([cursor.next(), cursor.next(), cursor.next(), cursor.next()]).toEqual([true, true, false, false])
    expect(cursor.blocked).toBe(undefined)
    await cursor.ready()
    cursor.close()
    cursor.close()
    cursor[Symbol.dispose]()
    expect(await failure(() => cursor.next())).toMatchObject({ _tag: "Closed", what: "cursor" })
    expect(await rejection(() => cursor.ready())).toMatchObject({ _tag: "Closed", what: "cursor" })
    const early = stream.cursor({ reverse: true })
    early.next()
    early.close()
    expect(await failure(() => early.next())).toMatchObject({ _tag: "Closed", what: "cursor" })
    await manager.close()
  })

  test("closing the stream ends a cursor in the middle of a frame", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await fill(stream, 10)
    const forwards = stream.cursor()
    const back = stream.cursor({ reverse: true })
    expect([forwards.next(), back.next()]).toEqual([true, true])
    await stream.close()
    expect(await failure(() => forwards.next())).toMatchObject({ _tag: "Closed" })
    expect(await failure(() => back.next())).toMatchObject({ _tag: "Closed" })
    await manager.close()
  })
})

describe("AbortSignal", () => {
  test("each awaiting call rejects with the signal's reason, aborted before or while it waits", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({ ...small, flushIntervalMs: 3_600_000 }, disk)
    const stream = await manager.stream("s")
    await stream.append("x")
    const lastId = (): number => {
      const id = stream.tryAppend("more")
      return id > 0 ? id : stream.info().lastId
    }
    const calls: Array<readonly [string, (signal: AbortSignal) => Promise<unknown>]> = [
      ["append", (signal) => stream.append("a", { signal })],
      ["appendBatch", (signal) => stream.appendBatch(["a"], { signal })],
      ["durable", (signal) => stream.durable(lastId(), { signal })],
      ["flushUntil", (signal) => stream.flushUntil(lastId(), { signal })],
      [
        "flush",
        (signal) => {
          stream.tryAppend("c")
          return stream.flush({ signal })
        },
      ],
      ["get", (signal) => stream.get(lastId(), { signal })],
      ["seal", (signal) => stream.seal({ signal })],
      ["trim", (signal) => stream.trim({ before: lastId(), signal })],
      ["read", (signal) => collect(stream.read({ from: "start", signal }))],
      ["follow", (signal) => collect(stream.follow({ from: "end", signal }))],
      ["cursor.ready", (signal) => stream.cursor({ from: "end" }).ready({ signal })],
      [
        "ready",
        (signal) => {
          for (let i = 0; i < 10_000 && stream.tryAppend(new Uint8Array(1000)) > 0; i++);
          return stream.ready({ signal })
        },
      ],
      ["blocked append", (signal) => stream.append(new Uint8Array(1000), { signal })],
      ["blocked appendBatch", (signal) => stream.appendBatch([new Uint8Array(1000)], { signal })],
      ["openReader", (signal) => stream.openReader(stream.info().segments[0]!.index, { signal })],
      ["stream", (signal) => manager.stream("new", { signal })],
      ["deleteStream", (signal) => manager.deleteStream("new", { signal })],
      ["stream.close", (signal) => stream.close({ signal })],
      ["manager.close", (signal) => manager.close({ signal })],
    ]
    const immediate = new Set(["read", "openReader"])
    for (const [name, call] of calls) {
      const reason = new Error(name)
      const info = stream.info()
      expect([name, await rejection(() => call(AbortSignal.abort(reason)))]).toEqual([name, reason])
      if (name === "append") expect(stream.info().count).toBe(info.count)
    }
    let open = (): void => {}
    const held = new Promise<undefined>((resolve) => {
      open = () => resolve(undefined)
    })
    disk.onOperation = (operation) => (/sync|makeDirectory/i.test(operation.kind) ? held : undefined)
    const closing = /close|stream|deleteStream/
    for (const [name, call] of calls) {
      if (immediate.has(name) || closing.test(name)) continue
      const controller = new AbortController()
      const reason = new Error(name)
      const error = rejection(() => call(controller.signal))
      await turns(1)
      controller.abort(reason)
      expect([name, await error]).toEqual([name, reason])
    }
    const closes = ["stream.close", "manager.close"].map(async (name) => {
      const controller = new AbortController()
      const reason = new Error(name)
      const error = rejection(() => calls.find(([one]) => one === name)![1](controller.signal))
      await turns(1)
      controller.abort(reason)
      expect(await error).toBe(reason)
    })
    await Promise.all(closes)
    disk.onOperation = undefined
    open()
    await manager.close()
    const again = await openMemory({}, disk)
    const reopened = await again.stream("s")
    expect(again.recovery.isClean).toBe(true)
    expect((await collect(reopened.read())).length).toBe(reopened.info().count)
    await again.close()
  })
})
