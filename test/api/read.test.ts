// Reads from every start, forwards and backwards, across segments, rollovers and trims; and what records are made of.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager, ReadOptions } from "bop-aof"
import { collect, failure, fill, openMemory, rejection, small, stores, texts } from "../support/api.ts"

const count = 500
const startMs = 1_600_000_000_000

/** 500 records in many segments: number i has extId 10 * i and time startMs + 1000 * i. */
const makeStream = async (manager: AofManager): Promise<{ stream: Aof; ids: Array<number> }> => {
  const stream = await manager.stream("s")
  const ids: Array<number> = []
  for (let i = 0; i < count; i++) {
    const ack = stream.append(`${i} `.padEnd(1 + ((i * 37) % 300), "."), {
      extId: 10 * i,
      timestampMs: startMs + 1000 * i,
    })
    if (i % 25 === 24) await ack
    void ack.then(({ recordId, recordNumber }) => {
      ids[recordNumber] = recordId
    })
  }
  await stream.flush()
  expect(stream.info().segments.length).toBeGreaterThan(4)
  return { stream, ids }
}

/** `expect` costs too much for what is compared a hundred thousand times. */
const same = (actual: unknown, expected: unknown): void => {
  if (!Object.is(actual, expected)) throw new Error(`${String(actual)} is not ${String(expected)}`)
}

const numbers = async (stream: Aof, options: ReadOptions): Promise<Array<number>> => {
  const records = await collect(stream.read(options))
  for (const record of records) {
    same(Number.parseInt(record.text(), 10), record.recordNumber)
    same(record.extId, BigInt(10 * record.recordNumber))
    same(record.timestampMs, startMs + 1000 * record.recordNumber)
  }
  return records.map((record) => record.recordNumber)
}

const walk = (stream: Aof, options: ReadOptions): Array<number> => {
  const cursor = stream.cursor(options)
  const found: Array<number> = []
  while (cursor.next()) {
    const text = new TextDecoder().decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd))
    same(Number.parseInt(text, 10), cursor.recordNumber)
    same(cursor.extId, BigInt(10 * cursor.recordNumber))
    found.push(cursor.recordNumber)
  }
  cursor.close()
  return found
}

const range = (from: number, to: number): Array<number> =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)
const backwards = (from: number): Array<number> => range(0, from + 1).reverse()

describe.each(stores)("starts on %s", (_, makeOpen) => {
  test("each start gives exactly the records that it names, forwards and backwards, by iterator and by cursor", async () => {
    const open = makeOpen()
    let manager = await open({ ...small, recordBytesMax: 2000 })
    let { stream, ids } = await makeStream(manager)
    for (let round = 0; round < 2; round++) {
      const at = 123
      const id = ids[at]!
      const time = startMs + 1000 * at
      const cases: Array<readonly [ReadOptions, number]> = [
        [{}, 0],
        [{ from: "start" }, 0],
        [{ from: "end" }, count],
        [{ from: id }, at],
        [{ after: id }, at + 1],
        [{ number: at }, at],
        [{ number: 0 }, 0],
        [{ number: count - 1 }, count - 1],
        [{ number: count }, count],
        [{ number: count + 50 }, count],
        [{ time }, at],
        [{ time: time - 999 }, at],
        [{ time: new Date(time) }, at],
        [{ time: 0 }, 0],
        [{ time: -5 }, 0],
        [{ time: time + 1e12 }, count],
        [{ time: Number.POSITIVE_INFINITY }, count],
        [{ extId: 10 * at }, at],
        [{ extId: BigInt(10 * at - 9) }, at],
        [{ extId: 0 }, 0],
        [{ extId: 2n ** 64n - 1n }, count],
        [{ last: 7 }, count - 7],
        [{ last: count }, 0],
        [{ last: count * 9 }, 0],
        [{ after: ids[count - 1]! }, count],
        [{ from: ids[0]! }, 0],
        [{ after: ids[0]! }, 1],
        [{ from: ids[count - 1]! + 2 ** 29 }, count],
      ]
      for (const [options, from] of cases) {
        expect([options, await numbers(stream, options)]).toEqual([options, range(from, count)])
        expect([options, walk(stream, options)]).toEqual([options, range(from, count)])
        const limited = { ...options, limit: 3 }
        expect([limited, await numbers(stream, limited)]).toEqual([limited, range(from, Math.min(from + 3, count))])
      }
      const reversed: Array<readonly [ReadOptions, Array<number>]> = [
        [{}, backwards(count - 1)],
        [{ from: "end" }, backwards(count - 1)],
        [{ from: "start" }, [0]],
        [{ number: 0 }, [0]],
        [{ from: id }, backwards(at)],
        [{ after: id }, backwards(at - 1)],
        [{ number: at }, backwards(at)],
        [{ time }, backwards(at)],
        [{ extId: 10 * at }, backwards(at)],
        [{ last: 10 }, range(count - 10, count).reverse()],
        [{ last: 10, limit: 3 }, range(count - 3, count).reverse()],
        [{ from: ids[0]! }, [0]],
        [{ after: ids[0]! }, []],
        [{ number: at, limit: 2 }, [at, at - 1]],
        [{ from: "end", limit: 1 }, [count - 1]],
        [{ number: count }, []],
        [{ from: ids[count - 1]! + 2 ** 29 }, []],
        [{ after: ids[count - 1]! + 2 ** 29 }, []],
        [{ time: time + 1e12 }, []],
        [{ extId: 2n ** 64n - 1n }, []],
      ]
      for (const [options, expected] of reversed) {
        const both = { ...options, reverse: true }
        expect([both, await numbers(stream, both)]).toEqual([both, expected])
        expect([both, walk(stream, both)]).toEqual([both, expected])
      }
      await manager.close()
      manager = await open({ ...small, recordBytesMax: 2000 })
      stream = await manager.stream("s")
    }
    await manager.close()
  })

  test("every id finds its record, and no other place of a segment is one", async () => {
    const open = makeOpen()
    const manager = await open(small)
    const stream = await manager.stream("s")
    // Payloads that imitate record and frame headers as well as they can.
    const ids: Array<number> = []
    for (let i = 0; i < 60; i++) {
      const payload = new Uint8Array(96)
      const view = new DataView(payload.buffer)
      for (let at = 0; at < 96; at += 8) {
        view.setUint32(at, 8, true)
        view.setUint16(at + 4, (56 + at + i * 104) & 0xffff, true)
      }
      ids.push((await stream.append(payload, { level: i % 20 === 19 ? "durable" : "written" })).recordId)
      if (i === 40) await stream.seal()
    }
    await stream.flush()
    const known = new Set(ids)
    for (const id of ids) {
      for (let shift = 0; shift < 104; shift += 1) {
        if (known.has(id + shift)) {
          same(stream.tryGet(id + shift).recordId, id + shift)
          continue
        }
        const error = await failure(() => stream.tryGet(id + shift))
        same(error._tag, "InvalidArgument")
        if (shift % 13 === 1 && id + shift < ids.at(-1)!) {
          expect(await failure(() => stream.cursor({ from: id + shift }))).toMatchObject({ _tag: "InvalidArgument" })
          expect(await failure(() => stream.cursor({ after: id + shift }))).toMatchObject({ _tag: "InvalidArgument" })
        }
      }
    }
    await manager.close()
  })

  test("records stay unchanged for as long as they are held", async () => {
    const open = makeOpen()
    let manager = await open(small)
    let stream = await manager.stream("s")
    await fill(stream, 2000, 50)
    const held = await collect(stream.read())
    for await (const record of stream.follow({ from: "start", limit: 2000 })) held.push(record)
    for (const record of held.slice(0, 2000)) held.push(await stream.get(record.recordId))
    const follower = stream.follow({ from: "end", level: "written", limit: 2000 })
    const following = collect(follower)
    await fill(stream, 2000, 50)
    held.push(...(await following))
    const copies = held.map((record) => Buffer.from(record.copy()))
    await fill(stream, 2000, 60)
    await stream.seal()
    await stream.trim({ before: stream.info().lastId })
    await manager.close()
    ;(globalThis as { Bun?: { gc: (force: boolean) => void } }).Bun?.gc(true)
    manager = await open(small)
    stream = await manager.stream("s")
    await fill(stream, 1000, 70)
    await manager.close()
    expect(held.length).toBe(8000)
    held.forEach((record, i) => {
      const number = record.recordNumber % 2000
      if (Buffer.compare(record.bytes, copies[i]!) !== 0) throw new Error(`record ${i} has changed`)
      if (record.text() !== `${number} `.padEnd(50, ".")) throw new Error(`record ${i} is not what was appended`)
    })
  })
})

describe("read options", () => {
  test.each([
    ["two starts", { from: "start", number: 1 }],
    ["an unknown name", { form: "start" }],
    ["an unknown place", { from: "middle" }],
    ["a negative id", { from: -1 }],
    ["an id of 0", { after: 0 }],
    ["a fraction", { number: 1.5 }],
    ["a negative number", { number: -1 }],
    ["no records", { last: 0 }],
    ["a time that is none", { time: new Date("never") }],
    ["a text as time", { time: "2020" }],
    ["a negative extId", { extId: -1n }],
    ["a limit of 0", { limit: 0 }],
    ["a limit of half", { limit: 0.5 }],
    ["an endless limit", { limit: Number.POSITIVE_INFINITY }],
    ["a level that readers do not have", { level: "buffered" }],
    ["a direction", { reverse: "yes" }],
    ["null", null],
    ["a string", "start"],
  ])("%s is InvalidArgument, from read, follow and cursor", async (_, options) => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("x")
    expect(await rejection(() => stream.read(options as never).next())).toMatchObject({ _tag: "InvalidArgument" })
    expect(await rejection(() => stream.follow(options as never).next())).toMatchObject({ _tag: "InvalidArgument" })
    expect(await failure(() => stream.cursor(options as never))).toMatchObject({
      _tag: "InvalidArgument",
      retryable: false,
    })
    await manager.close()
  })

  test("an empty stream is empty from every start", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const starts: Array<ReadOptions> = [
      {},
      { from: "start" },
      { from: "end" },
      { number: 0 },
      { number: 9 },
      { time: 0 },
      { extId: 0 },
      { last: 3 },
      { from: 2 ** 28 + 1592 },
      { after: 2 ** 28 },
    ]
    for (const start of starts) {
      expect(await texts(stream, start)).toEqual([])
      expect(await texts(stream, { ...start, reverse: true })).toEqual([])
      expect(stream.cursor(start).next()).toBe(false)
    }
    await manager.close()
  })

  test("a trimmed start is NotFound with the first id that is left", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    const ids = await fill(stream, 600)
    await stream.trim({ before: ids[450]! })
    const limit = ids[450]!
    expect(stream.info()).toMatchObject({ firstId: limit, firstRecordNumber: 450, count: 150 })
    for (const start of [{ from: ids[0]! }, { from: ids[449]! }, { after: ids[10]! }, { number: 0 }, { number: 449 }]) {
      for (const reverse of [false, true]) {
        const error = await rejection(() => stream.read({ ...start, reverse }).next())
        expect(error).toMatchObject({ _tag: "NotFound", limit, retryable: false })
      }
    }
    expect(await failure(() => stream.tryGet(ids[449]!))).toMatchObject({ _tag: "NotFound", limit })
    expect(await rejection(() => stream.get(ids[0]!))).toMatchObject({ _tag: "NotFound", limit })
    for (const start of [
      { from: "start" },
      { from: limit },
      { number: 450 },
      { time: 0 },
      { extId: 0 },
      { last: 1e6 },
    ] as const) {
      expect((await collect(stream.read(start))).length).toBe(150)
    }
    expect((await collect(stream.read({ reverse: true }))).map((record) => record.recordNumber).at(-1)).toBe(450)
    const back = await collect(stream.read({ from: "start", reverse: true }))
    expect(back.map((record) => record.recordNumber)).toEqual([450])
    await manager.close()
  })

  test("read() ends at the watermark of its call, not of its first step", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("before")
    const read = stream.read()
    const later = stream.read({ level: "written" })
    await stream.append("after")
    expect((await collect(read)).map((record) => record.text())).toEqual(["before"])
    expect((await collect(later)).map((record) => record.text())).toEqual(["before"])
    await manager.close()
  })

  test("times that go back are found by the first record at or above", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    const times = Array.from({ length: 400 }, (_, i) => 1000 + ((i * 7919) % 5000))
    for (const timestampMs of times) await stream.append("x".repeat(80), { timestampMs, level: "written" })
    await stream.flush()
    for (let time = 0; time < 7000; time += 97) {
      const expected = times.findIndex((one) => one >= time)
      const first = await collect(stream.read({ time, limit: 1 }))
      expect([time, first[0]?.recordNumber ?? -1]).toEqual([time, expected])
    }
    await manager.close()
  })
})

describe("get() and tryGet()", () => {
  test("get() waits for the watermark and asks for it; tryGet() throws WouldBlock Tail with numbers", async () => {
    const manager = await openMemory({ flushIntervalMs: 3_600_000 })
    const stream = await manager.stream("s")
    const first = stream.tryAppend("first")
    const id = stream.tryAppend("second")
    const error = await failure(() => stream.tryGet(id))
    expect(error).toMatchObject({ _tag: "WouldBlock", retryable: true, reason: { _tag: "Tail", pending: 2 } })
    const record = await stream.get(id)
    expect(record).toMatchObject({ recordId: id, recordNumber: 1 })
    expect(record.text()).toBe("second")
    expect(stream.tryGet(first).text()).toBe("first")
    const third = stream.tryAppend("third")
    expect((await stream.get(third, { level: "written" })).text()).toBe("third")
    expect(stream.tryGet(third, { level: "written" }).text()).toBe("third")
    expect(await failure(() => stream.tryGet(third, { level: "durable" }))).toMatchObject({ _tag: "WouldBlock" })
    await manager.close()
  })

  test.each([[-1], [0], [1.5], ["7"], [undefined], [2 ** 53], [7n]])("no id: %#", async (id) => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("x")
    expect(await rejection(() => stream.get(id as never))).toMatchObject({ _tag: "InvalidArgument", what: "record id" })
    expect(await failure(() => stream.tryGet(id as never))).toMatchObject({
      _tag: "InvalidArgument",
      what: "record id",
    })
    await manager.close()
  })

  test("an id that no append can have returned is InvalidArgument for all who take ids, also on a trimmed stream", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("x")
    const check = async (id: number): Promise<void> => {
      const calls: Array<() => unknown> = [
        () => stream.get(id),
        () => stream.tryGet(id),
        () => stream.durable(id),
        () => stream.trim({ before: id }),
        () => collect(stream.read({ from: id })),
        () => collect(stream.read({ after: id })),
      ]
      for (const call of calls) {
        expect(await rejection(async () => call())).toMatchObject({ _tag: "InvalidArgument", value: id })
      }
    }
    for (const id of [1, 12_345, 2 ** 28, recordId - 1]) await check(id)
    await stream.trim({ before: (await stream.append("y")).recordId })
    for (const id of [1, 12_345]) await check(id)
    expect(await rejection(() => stream.get(recordId))).toMatchObject({ _tag: "NotFound" })
    await manager.close()
  })

  test("what is appended and not shown yet is no end to go back from", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    for (const text of ["a", "b"]) await stream.append(text)
    const id = stream.tryAppend("c")
    for (const start of [{ from: id }, { after: id }, { number: 2 }]) {
      expect(await texts(stream, { ...start, reverse: true })).toEqual(["b", "a"])
    }
    expect(await texts(stream, { number: 3, reverse: true })).toEqual([])
    await manager.close()
  })

  test("null is no option", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("x")
    const calls: Array<() => unknown> = [
      () => stream.get(recordId, { level: null as never }),
      () => stream.tryGet(recordId, { level: null as never }),
      () => stream.append("y", { extId: null as never }),
      () => stream.appendBatch([{ payload: "y", extId: null as never }]),
      () => stream.cursor({ from: null as never }),
      () => stream.cursor().ready({ foo: 1 } as never),
    ]
    for (const call of calls) expect(await rejection(async () => call())).toMatchObject({ _tag: "InvalidArgument" })
    await manager.close()
  })

  test("a future id, a bad level and an unknown option are InvalidArgument", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("x")
    expect(await rejection(() => stream.get(recordId + 100))).toMatchObject({
      _tag: "InvalidArgument",
      limit: recordId,
    })
    expect(await rejection(() => stream.get(recordId, { level: "buffered" } as never))).toMatchObject({ what: "level" })
    expect(await rejection(() => stream.get(recordId, { leve: "written" } as never))).toMatchObject({
      _tag: "InvalidArgument",
    })
    expect(await failure(() => stream.tryGet(recordId, { level: "x" } as never))).toMatchObject({ what: "level" })
    await manager.close()
  })
})

describe("openReader() and tryOpenReader()", () => {
  test("read one segment each, and together the stream", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    await fill(stream, 500)
    const found: Array<number> = []
    for (const segment of stream.info().segments) {
      const cursor = await stream.openReader(segment.index)
      const before = found.length
      while (cursor.next()) found.push(cursor.recordNumber)
      expect(found.length - before).toBe(segment.count)
      if (segment.state === "sealed") {
        expect(cursor.blocked).toBe(undefined)
        await cursor.ready()
        expect(cursor.next()).toBe(false)
      }
    }
    expect(found).toEqual(range(0, 500))
    const last = stream.info().segments.at(-1)!.index
    expect(await rejection(() => stream.openReader(last + 1))).toMatchObject({
      _tag: "NotFound",
      what: "segment",
      value: last + 1,
    })
    expect(await failure(() => stream.tryOpenReader(-1))).toMatchObject({ _tag: "InvalidArgument" })
    expect(await failure(() => stream.tryOpenReader("1" as never))).toMatchObject({ _tag: "InvalidArgument" })
    expect(await failure(() => stream.tryOpenReader(last, { level: "x" } as never))).toMatchObject({ what: "level" })
    await manager.close()
  })
})

describe("many readers at once", () => {
  test("share the turns of the event loop, however much is at hand, and all get on", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await fill(stream, 4000)
    const readers = 8
    const seen = new Array<number>(readers).fill(0)
    let [total, least] = [0, 0]
    let isOver = false
    const inTurns: Array<number> = []
    let atLast = 0
    const turn = (): void => {
      inTurns.push(total - atLast)
      atLast = total
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const read = async (reader: number): Promise<void> => {
      for await (const _ of stream.read()) {
        total++
        // The last one to begin is under way before the first is done.
        if (++seen[reader]! === 4000 && least === 0) least = Math.min(...seen)
      }
    }
    await Promise.all(Array.from({ length: readers }, (_, reader) => read(reader)))
    isOver = true
    expect(seen).toEqual(new Array(readers).fill(4000))
    // After the first thousand of each, a thousand in a turn, and as many again where two turns count as one.
    expect(inTurns.filter((count) => count > 2048).length).toBeLessThanOrEqual(1)
    expect(least).toBeGreaterThan(0)
    await manager.close()
  })
})
