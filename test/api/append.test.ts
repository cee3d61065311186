// Append in all its forms: payloads, options, levels, back-pressure, batches, group commit.

import { describe, expect, test } from "bun:test"
import { type AofManager, APPEND_FLUSH, APPEND_ROLLOVER, InvalidArgument } from "bop-aof"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, failure, fill, openMemory, rejection, small, stores, texts, turns } from "../support/api.ts"

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const maxU64 = 2n ** 64n - 1n

describe.each(stores)("payloads on %s", (_, makeOpen) => {
  test("every form comes back as it was, also after a reopen", async () => {
    const open = makeOpen()
    const manager = await open()
    const stream = await manager.stream("orders")
    const whole = new Uint8Array(1000).map((_, i) => i * 7)
    const huge = "ü€😀".repeat(40_000)
    const payloads: Array<Uint8Array | string> = [
      whole,
      whole.subarray(10, 20),
      new Uint8Array(0),
      "",
      "plain",
      "\uFEFFbom",
      "a\ud800b",
      "\udfff",
      "😀".repeat(50),
      huge,
      Buffer.from("a buffer"),
      new Uint8Array(new ArrayBuffer(64), 8, 16).fill(3),
    ]
    const acks = await Promise.all(payloads.map((payload) => stream.append(payload)))
    expect(acks.map((ack) => ack.recordNumber)).toEqual(payloads.map((_, i) => i))
    const expected = payloads.map((one) => (typeof one === "string" ? bytesOf(one) : new Uint8Array(one)))
    const check = async (name: string, from: AofManager): Promise<void> => {
      const records = await collect((await from.stream(name)).read())
      expect(records.length).toBe(expected.length)
      records.forEach((record, i) => {
        expect(Buffer.compare(record.bytes, expected[i]!)).toBe(0)
        expect(record.recordId).toBe(acks[i]!.recordId)
        expect(record.extId).toBe(0n)
      })
      expect(records[5]!.text()).toBe("\uFEFFbom")
      expect(records[6]!.text()).toBe("a\uFFFDb")
      expect(records[9]!.text()).toBe(huge)
    }
    await check("orders", manager)
    await manager.close()
    const again = await open()
    await check("orders", again)
    await again.close()
  })

  test("recordBytesMax is allowed exactly and no byte more, with both numbers", async () => {
    const manager = await makeOpen()()
    const stream = await manager.stream("large")
    const largest = new Uint8Array(8 * 1024 * 1024).fill(5)
    const ack = await stream.append(largest)
    expect(Buffer.compare((await stream.get(ack.recordId)).bytes, largest)).toBe(0)
    const error = await rejection(() => stream.append(new Uint8Array(8 * 1024 * 1024 + 1)))
    expect(error).toMatchObject({
      _tag: "InvalidArgument",
      value: 8 * 1024 * 1024 + 1,
      limit: 8 * 1024 * 1024,
      retryable: false,
    })
    const text = await rejection(() => stream.append("€".repeat(3 * 1024 * 1024)))
    expect(text).toMatchObject({ _tag: "InvalidArgument", value: 9 * 1024 * 1024 })
    expect(stream.info().count).toBe(1)
    await manager.close()
  })
})

describe("append()", () => {
  test("copies the payload before it returns, whatever the level and however long it waits", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory(small, disk)
    const stream = await manager.stream("s")
    const gate = holdSyncs(disk)
    const payload = new Uint8Array(2000)
    const acks: Array<Promise<unknown>> = []
    for (let i = 0; i < 30; i++) {
      payload.fill(i)
      const signal = i % 3 === 0 ? new AbortController().signal : undefined
      acks.push(
        i % 5 === 4
          ? stream.appendBatch([payload, { payload }], { level: "written" })
          : stream.append(payload, { signal, level: i % 2 === 0 ? "durable" : "written" }),
      )
      payload.fill(255)
    }
    gate.open()
    await Promise.all(acks)
    await stream.flush()
    const firsts = (await collect(stream.read())).map((record) => record.bytes[0])
    expect(firsts).toEqual(Array.from({ length: 30 }, (_, i) => (i % 5 === 4 ? [i, i] : [i])).flat())
    await manager.close()
  })

  test("what waits is taken in the order of the calls, so a rising extId stays acceptable", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    const acks = await Promise.all(
      Array.from({ length: 300 }, (_, i) => stream.append(new Uint8Array(i % 7 === 0 ? 3500 : 20), { extId: i + 1 })),
    )
    expect(acks.map((ack) => ack.recordNumber)).toEqual(Array.from({ length: 300 }, (_, i) => i))
    await manager.close()
  })

  test.each([
    ["level", { level: "bogus" }],
    ["level", { level: null }],
    ["append option", { extid: 7 }],
    ["extId", { extId: -1 }],
    ["extId", { extId: 1.5 }],
    ["extId", { extId: 2n ** 64n }],
    ["extId", { extId: "7" }],
    ["timestampMs", { timestampMs: -1 }],
    ["timestampMs", { timestampMs: 1.5 }],
    ["timestampMs", { timestampMs: new Date() }],
    ["timestampMs", { timestampMs: 8.64e15 + 1 }],
    ["signal", { signal: 5 }],
  ])("a bad %s is (%#) refused before anything is taken", async (what, options) => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const error = await rejection(() => stream.append("x", options as never))
    expect(error).toBeInstanceOf(InvalidArgument)
    expect(error).toMatchObject({ _tag: "InvalidArgument", what, retryable: false })
    expect(error.message).toContain("allowed is")
    expect(stream.info().count).toBe(0)
    await manager.close()
  })

  test.each([[5], [null], [undefined], [{}], [new ArrayBuffer(4)], [[1, 2]], [new DataView(new ArrayBuffer(4))]])(
    "no payload: %#",
    async (payload) => {
      const manager = await openMemory()
      const stream = await manager.stream("s")
      expect(await rejection(() => stream.append(payload as never))).toMatchObject({
        _tag: "InvalidArgument",
        what: "payload",
      })
      expect(await failure(() => stream.tryAppend(payload as never))).toMatchObject({ _tag: "InvalidArgument" })
      expect(await rejection(() => stream.appendBatch([payload as never]))).toMatchObject({ _tag: "InvalidArgument" })
      expect(stream.info().count).toBe(0)
      await manager.close()
    },
  )

  test("extId may be a number or a bigint, equal, 0 in between, up to 2^64 - 1, and never goes down", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const stream = await manager.stream("s")
    const given: Array<number | bigint> = [7n, 7, 0, 8n, 0n, Number.MAX_SAFE_INTEGER, 2n ** 53n, maxU64, maxU64]
    for (const extId of given) await stream.append("x", { extId })
    expect((await collect(stream.read())).map((record) => record.extId)).toEqual(given.map(BigInt))
    const error = await rejection(() => stream.append("x", { extId: 9 }))
    expect(error).toMatchObject({ _tag: "InvalidArgument", what: "extId", value: 9 })
    expect(String(error.limit)).toContain(String(maxU64))
    await manager.close()
    const again = await openMemory({}, disk)
    const reopened = await again.stream("s")
    expect(await failure(() => reopened.tryAppend("x", 9n))).toMatchObject({ _tag: "InvalidArgument", what: "extId" })
    expect(reopened.tryAppend("x", maxU64)).toBeGreaterThan(0)
    await again.close()
  })

  test("timestamps go forwards and back by any distance", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const times = [1000, 1001, 0, 70_000, 65_535, 8.64e15, 5, 5, 66_000]
    for (const timestampMs of times) stream.tryAppend("x", 0, timestampMs)
    await stream.appendBatch([
      { payload: "x", timestampMs: 3 },
      { payload: "x", timestampMs: 1e12 },
    ])
    expect((await collect(stream.read())).map((record) => record.timestampMs)).toEqual([...times, 3, 1e12])
    await manager.close()
  })

  test("each level says what it is, and buffered resolves without a write", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const stream = await manager.stream("s")
    for (const level of ["buffered", "written", "durable"] as const) {
      const ack = await stream.append("x", { level })
      expect(ack.level).toBe(level)
      const { watermarks } = stream.info()
      if (level !== "buffered") expect(watermarks[level]).toBeGreaterThanOrEqual(ack.recordId)
      expect((await stream.appendBatch(["y"], { level })).level).toBe(level)
    }
    expect(await stream.append("z")).toMatchObject({ level: "durable" })
    await manager.close()
  })
})

describe("tryAppend()", () => {
  test("answers Flush when too much waits for a sync, and ready() tells when to go on", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory(small, disk)
    const stream = await manager.stream("s")
    const gate = holdSyncs(disk)
    let code = 1
    let taken = 0
    while (code > 0) {
      code = stream.tryAppend(new Uint8Array(1000).fill(taken))
      if (code > 0) taken++
      if (taken > 1000) throw new Error("never blocked")
    }
    expect([APPEND_FLUSH, APPEND_ROLLOVER]).toContain(code)
    expect(stream.info().count).toBe(taken)
    let isReady = false
    const ready = stream.ready().then(() => {
      isReady = true
    })
    await turns()
    expect(isReady).toBe(false)
    gate.open()
    await ready
    expect(stream.tryAppend("again")).toBeGreaterThan(0)
    await stream.flush()
    expect(stream.info().count).toBe(taken + 1)
    await stream.ready()
    await manager.close()
  })

  test("answers Rollover while two segments are being sealed", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({ segmentBytes: 4096, stagingBytes: 4096 }, disk)
    const stream = await manager.stream("s")
    const gate = holdSyncs(disk)
    let code = 1
    for (let i = 0; code > 0; i++) {
      code = stream.tryAppend(new Uint8Array(1500))
      if (i > 1000) throw new Error("never blocked")
    }
    expect(code).toBe(APPEND_ROLLOVER)
    const { segments } = stream.info()
    expect(segments.filter((one) => one.state === "sealing").length).toBe(2)
    gate.open()
    await stream.ready()
    expect(stream.tryAppend("x")).toBeGreaterThan(0)
    await manager.close()
  })
})

describe("bytes that are not there", () => {
  const gone = new Uint8Array(8)
  structuredClone(gone, { transfer: [gone.buffer] })
  const resizable = new ArrayBuffer(16, { maxByteLength: 32 })
  const shrunk = new Uint8Array(resizable, 8, 8)
  resizable.resize(4)

  test.each([
    ["given away", gone],
    ["shrunk away", shrunk],
  ])("%s are InvalidArgument, also for an append that waits, and nothing is taken", async (_, payload) => {
    const manager = await openMemory({ ...small, unflushedBytesMax: 65_536 })
    const stream = await manager.stream("s")
    await stream.append("before")
    const large = new Uint8Array(3000)
    expect(await rejection(async () => stream.tryAppend(payload))).toMatchObject({
      _tag: "InvalidArgument",
      what: "payload memory",
    })
    const batch = () => stream.appendBatch([large, large, payload])
    expect(await rejection(batch)).toMatchObject({ _tag: "InvalidArgument" })
    const full = Array.from({ length: 60 }, () => stream.append(large))
    expect(await rejection(() => stream.append(payload))).toMatchObject({ _tag: "InvalidArgument" })
    expect(await rejection(batch)).toMatchObject({ _tag: "InvalidArgument" })
    await Promise.all(full)
    await stream.append("after")
    expect((await texts(stream)).filter((text) => text.length < 3000)).toEqual(["before", "after"])
    await manager.close()
  })
})

describe("appendBatch()", () => {
  test("takes no array with holes", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const json = await manager.stream("j", { codec: "json" })
    const hole = ["a", "b", "c"]
    delete hole[1]
    for (const items of [new Array<string>(2), hole]) {
      expect(await rejection(() => stream.appendBatch(items))).toMatchObject({ _tag: "InvalidArgument" })
      expect(await rejection(() => json.appendBatch(items))).toMatchObject({ _tag: "InvalidArgument" })
    }
    await stream.append("after")
    expect(await texts(stream)).toEqual(["after"])
    await manager.close()
  })

  test("takes payloads and detailed items, and acknowledges first and last", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("before")
    const ack = await stream.appendBatch([
      "a",
      bytesOf("b"),
      { payload: "c", extId: 5, timestampMs: 9 },
      { payload: bytesOf("d") },
    ])
    const records = await collect(stream.read({ number: 1 }))
    expect(ack).toEqual({
      first: { recordId: records[0]!.recordId, recordNumber: 1, level: "durable" },
      last: { recordId: records[3]!.recordId, recordNumber: 4, level: "durable" },
      count: 4,
      level: "durable",
    })
    expect(records.map((record) => record.text())).toEqual(["a", "b", "c", "d"])
    expect(records[2]).toMatchObject({ extId: 5n, timestampMs: 9 })
    await manager.close()
  })

  test.each([1, 90, 4000, 9000])(
    "with records of %d bytes larger than a frame and a buffer comes whole",
    async (bytes) => {
      const manager = await openMemory({ segmentBytes: 1024 * 1024, stagingBytes: 8192, unflushedBytesMax: 8192 })
      const stream = await manager.stream("s")
      const items = Array.from({ length: Math.ceil(200_000 / (bytes + 20)) }, (_, i) => new Uint8Array(bytes).fill(i))
      for (let round = 0; round < 3; round++) {
        const ack = await stream.appendBatch(items)
        expect(ack.count).toBe(items.length)
        await stream.append("between")
      }
      const records = await collect(stream.read())
      expect(records.length).toBe(3 * (items.length + 1))
      records.forEach((record, i) => {
        const at = i % (items.length + 1)
        const expected = at === items.length ? bytesOf("between") : items[at]!
        expect(Buffer.compare(record.bytes, expected)).toBe(0)
      })
      const reverse = await collect(stream.read({ from: "end", reverse: true }))
      expect(reverse.map((record) => record.recordId).reverse()).toEqual(records.map((record) => record.recordId))
      await manager.close()
    },
  )

  test("larger than a segment is refused with both numbers and takes nothing", async () => {
    const manager = await openMemory({ segmentBytes: 16 * 1024 })
    const stream = await manager.stream("s")
    const error = await rejection(() => stream.appendBatch(Array.from({ length: 20 }, () => new Uint8Array(1000))))
    expect(error).toMatchObject({ _tag: "InvalidArgument", what: "batch bytes in one segment" })
    expect(error.value).toBeGreaterThan(error.limit)
    expect(error.message).toContain(`allowed is ${error.limit}, what fits a segment of segmentBytes, 16384`)
    expect(stream.info().count).toBe(0)
    await manager.close()
  })

  const MiB = 1024 * 1024
  test.each([
    [{}, {}, "as recordBytesMax says"],
    [{ segmentBytes: MiB }, {}, `what fits a segment of segmentBytes, ${MiB}`],
    [{}, { segmentBytes: MiB }, `what fits a segment of segmentBytes, ${MiB}`],
    [{ tier0: { bytesMax: 4 * MiB } }, {}, `segmentBytes, ${MiB} (by default a quarter of tier0.bytesMax)`],
    [{ tier0: { bytesMax: 4 * MiB }, segmentBytes: 64 * MiB }, {}, `half of tier0.bytesMax, ${4 * MiB}`],
    [{}, { tier0BytesMax: MiB }, `half of tier0BytesMax, ${MiB}`],
  ])("that is too large names the option which says so (%j, %j)", async (options, own, why) => {
    const manager = await openMemory(options)
    const stream = await manager.stream("s", own)
    const one = await rejection(() => stream.append(new Uint8Array(9 * MiB)))
    expect([one.what, one.value, one.message]).toEqual([
      "payload bytes",
      9 * MiB,
      expect.stringMatching(new RegExp(`allowed is ${one.limit}, .*`)),
    ])
    expect(one.message).toContain(why)
    await stream.append(new Uint8Array(one.limit))
    await manager.close()
  })

  test("is refused empty, with one bad item, or with unknown names, and takes nothing", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    await stream.append("x", { extId: 10 })
    const bad: Array<unknown> = [
      [],
      ["a", 5],
      ["a", { payload: 5 }],
      [{ payload: "a", extId: 9 }],
      [
        { payload: "a", extId: 12 },
        { payload: "b", extId: 11 },
      ],
      [{ payload: "a", timestampMs: -1 }],
      [{ payload: "a", extid: 1 }],
      "abc",
      undefined,
      null,
      new Uint8Array(4),
      [{}],
      [null],
      ["a", new Uint8Array(8 * 1024 * 1024 + 1)],
    ]
    for (const items of bad) {
      expect(await rejection(() => stream.appendBatch(items as never))).toMatchObject({ _tag: "InvalidArgument" })
    }
    expect(await rejection(() => stream.appendBatch(["a"], { level: "x" } as never))).toMatchObject({ what: "level" })
    expect(await rejection(() => stream.appendBatch(["a"], { extId: 5 } as never))).toMatchObject({
      _tag: "InvalidArgument",
    })
    expect(await rejection(() => stream.appendBatch(["a"], null as never))).toMatchObject({ _tag: "InvalidArgument" })
    expect(stream.info().count).toBe(1)
    expect(await texts(stream)).toEqual(["x"])
    await manager.close()
  })
})

describe("durable(), flushUntil() and flush()", () => {
  test("one group commit serves many producers", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const stream = await manager.stream("s")
    let syncs = 0
    disk.onOperation = (operation) => {
      if (operation.kind === "syncData") syncs++
    }
    const acks = await Promise.all(Array.from({ length: 200 }, (_, i) => stream.append(`${i}`)))
    expect(acks.map((ack) => ack.recordNumber)).toEqual(Array.from({ length: 200 }, (_, i) => i))
    expect(syncs).toBeLessThan(5)
    await manager.close()
  })

  test("durable() acknowledges every id that was returned, also inside an open frame", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const ids = Array.from({ length: 50 }, (_, i) => stream.tryAppend(`record ${i}`))
    const acks = await Promise.all(ids.map((id, i) => (i % 2 === 0 ? stream.durable(id) : stream.flushUntil(id))))
    expect(acks).toEqual(ids.map((recordId, recordNumber) => ({ recordId, recordNumber, level: "durable" as const })))
    expect(stream.info().watermarks.durable).toBe(ids.at(-1)!)
    await manager.close()
  })

  test.each([[-1], [-3], [0], [1.5], [Number.NaN], [2 ** 60], ["5"], [undefined], [5n]])("no id: %#", async (id) => {
    const manager = await openMemory()
    const stream = await manager.stream("s")
    const first = stream.tryAppend("x".repeat(100))
    expect(await rejection(() => stream.durable(id as never))).toMatchObject({
      _tag: "InvalidArgument",
      what: "record id",
    })
    expect(await rejection(() => stream.durable(first + 1))).toMatchObject({ _tag: "InvalidArgument" })
    expect(await rejection(() => stream.flushUntil(first + 2 ** 28))).toMatchObject({ _tag: "InvalidArgument" })
    await manager.close()
  })

  test("an id in the middle of a record is no id, and a trimmed one is NotFound with the first id that is left", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    const ids = await fill(stream, 400)
    expect(await rejection(() => stream.durable(ids[3]! + 4))).toMatchObject({ _tag: "InvalidArgument" })
    await stream.trim({ before: ids[300]! })
    expect(await rejection(() => stream.durable(ids[0]!))).toMatchObject({ _tag: "NotFound", limit: ids[300] })
    expect((await stream.durable(ids[300]!)).recordNumber).toBe(300)
    await manager.close()
  })

  test("flush() covers all that was appended before it, and nothing to do is done at once", async () => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    await stream.flush()
    for (let round = 0; round < 20; round++) {
      let last = 0
      for (let i = 0; i < 9; i++) last = Math.max(last, stream.tryAppend(new Uint8Array(900)))
      await stream.flush()
      expect(stream.info().watermarks.durable).toBeGreaterThanOrEqual(last)
    }
    await manager.close()
  })
})

/** Holds every sync until it is opened. */
const holdSyncs = (disk: MemoryDisk): { readonly open: () => void } => {
  let open = (): void => {}
  const opened = new Promise<undefined>((resolve) => {
    open = () => resolve(undefined)
  })
  disk.onOperation = (operation) => (operation.kind === "syncData" ? opened : undefined)
  return {
    open: () => {
      disk.onOperation = undefined
      open()
    },
  }
}
