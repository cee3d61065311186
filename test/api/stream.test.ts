// What else a stream does: seal, trim, info, retention, codecs, the coordinator's watermark, and reading from another process.

import { describe, expect, test } from "bun:test"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { type Aof, AofManager, type AofManagerOptions, type Codec } from "bop-aof"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, failure, fill, makeRoot, openMemory, rejection, small, stores, texts, turns } from "../support/api.ts"

const checkInfo = async (stream: Aof<any, any>): Promise<void> => {
  await stream.flush()
  const info = stream.info()
  const records = await collect(stream.read())
  expect(info.count).toBe(records.length)
  expect(info.firstId).toBe(records[0]?.recordId ?? 0)
  expect(info.lastId).toBe(records.at(-1)?.recordId ?? 0)
  expect(info.nextRecordNumber).toBe(info.firstRecordNumber + info.count)
  if (records.length > 0) {
    expect(info.firstRecordNumber).toBe(records[0]!.recordNumber)
    expect(info.watermarks).toEqual({ buffered: info.lastId, written: info.lastId, durable: info.lastId })
  }
  expect(info.unflushedBytes).toBe(0)
  expect(info.bytes).toBe(info.segments.reduce((sum, one) => sum + one.bytes, 0))
  let next = info.segments[0]?.firstRecordNumber ?? info.nextRecordNumber
  for (const segment of info.segments) {
    expect(segment.firstRecordNumber).toBe(next)
    next += segment.count
  }
  expect(next).toBe(info.nextRecordNumber)
  expect(stream.segments()).toEqual(info.segments)
}

describe.each(stores)("seal(), trim() and info() on %s", (_, makeOpen) => {
  test("figures agree with what can be read, through seals, trims and reopens", async () => {
    const open = makeOpen()
    let manager = await open(small)
    let stream = await manager.stream("s")
    await checkInfo(stream)
    await stream.seal()
    await checkInfo(stream)
    expect(stream.info().segments).toEqual([])
    const ids = await fill(stream, 300)
    await checkInfo(stream)
    await Promise.all([stream.seal(), stream.seal(), stream.seal()])
    expect(stream.info().segments.every((one: { readonly state: string }) => one.state === "sealed")).toBe(true)
    await checkInfo(stream)
    await stream.trim({ before: ids[150]! })
    await checkInfo(stream)
    await stream.append("more")
    const sealing = stream.seal()
    const acks = Array.from({ length: 200 }, () => stream.append("while sealing".repeat(8)))
    await Promise.all([sealing, ...acks])
    await checkInfo(stream)
    for (const clean of [true, true, true]) {
      await manager.close()
      manager = await open(small)
      expect(manager.recovery.isClean).toBe(clean)
      stream = await manager.stream("s")
      expect(stream.info().firstRecordNumber).toBe(150)
      await checkInfo(stream)
      await stream.append("after reopen")
      await checkInfo(stream)
    }
    await manager.close()
  })

  test("trim() holds, is repeated without harm, and what overtakes it wins", async () => {
    const open = makeOpen()
    const manager = await open(small)
    const stream = await manager.stream("s")
    const ids = await fill(stream, 500)
    await stream.trim({ before: ids[100]! })
    await stream.trim({ before: ids[100]! })
    await stream.trim({ before: ids[50]! })
    expect(stream.info().firstRecordNumber).toBe(100)
    const unflushed = stream.tryAppend("unflushed")
    await Promise.all([200, 300, 250, 120].map((at) => stream.trim({ before: ids[at]! })))
    expect(stream.info().firstRecordNumber).toBe(300)
    await Promise.all([stream.trim({ before: unflushed }), stream.trim({ before: ids[400]! })])
    expect(stream.info()).toMatchObject({ firstRecordNumber: 500, count: 1, firstId: unflushed, lastId: unflushed })
    const before = stream.info().segments.length
    await stream.seal()
    await stream.append("next")
    await stream.trim({ before: stream.info().lastId })
    expect(stream.info().segments.length).toBeLessThanOrEqual(before)
    await manager.close()
    const again = await open(small)
    expect((await again.stream("s")).info()).toMatchObject({ firstRecordNumber: 501, count: 1 })
    expect(await texts(await again.stream("s"))).toEqual(["next"])
    await again.close()
  })
})

describe("trim()", () => {
  test.each([
    ["a future id", (ids: Array<number>) => ({ before: ids.at(-1)! + 8 })],
    ["another segment's id", (ids: Array<number>) => ({ before: ids.at(-1)! + 2 ** 28 })],
    ["the middle of a record", (ids: Array<number>) => ({ before: ids[30]! + 3 })],
    ["no id", () => ({ before: -1 })],
    ["nothing", () => ({})],
    ["no options", () => undefined],
    ["an unknown name", (ids: Array<number>) => ({ befor: ids[0] })],
  ])("before %s is InvalidArgument and trims nothing", async (_, options) => {
    const manager = await openMemory(small)
    const stream = await manager.stream("s")
    const ids = await fill(stream, 50)
    expect(await rejection(() => stream.trim(options(ids) as never))).toMatchObject({ _tag: "InvalidArgument" })
    expect(stream.info().count).toBe(50)
    await manager.close()
  })
})

describe("retention", () => {
  test("by bytes keeps about as much as it says, and only whole sealed segments go", async () => {
    const manager = await openMemory({ ...small, retention: { bytes: 50_000 } })
    const stream = await manager.stream("s")
    for (let i = 0; i < 30; i++) {
      await fill(stream, 100)
      await stream.seal()
      await turns(4)
    }
    // It goes on behind the appends, and leaves the disk to them in between.
    for (let tries = 0; tries < 1000 && stream.info().bytes >= 80_000; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const { bytes, firstRecordNumber, nextRecordNumber } = stream.info()
    expect(bytes).toBeLessThan(80_000)
    expect(firstRecordNumber).toBeGreaterThan(2000)
    expect(nextRecordNumber).toBe(3000)
    await checkInfo(stream)
    await manager.close()
  })

  test("by age takes old segments also while nothing is appended, and a stream's own rule holds from its first opening", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    let manager = await openMemory(small, disk)
    for (const name of ["keeps", "off", "drops"]) {
      const stream = await manager.stream(name)
      await fill(stream, 300)
      await stream.seal()
    }
    await manager.close()
    await new Promise((resolve) => setTimeout(resolve, 5))
    manager = await openMemory({ ...small, retention: { ageMs: 1 } }, disk)
    await turns(10)
    const keeps = await manager.stream("keeps", { retention: {} })
    const off = await manager.stream("off", { retention: false })
    const drops = await manager.stream("drops")
    for (let i = 0; i < 500 && drops.info().count > 0; i++) await turns(2)
    expect(drops.info()).toMatchObject({ count: 0, firstId: 0, lastId: 0, nextRecordNumber: 300 })
    expect([keeps.info().count, off.info().count]).toEqual([300, 300])
    // Asked for with another rule it follows that from then on.
    await manager.stream("keeps", { retention: { ageMs: 1 } })
    for (let i = 0; i < 500 && keeps.info().count > 0; i++) await turns(2)
    expect([keeps.info().count, off.info().count]).toEqual([0, 300])
    const follower = drops.follow()
    const step = follower.next()
    await turns(3)
    expect((await drops.append("again")).recordNumber).toBe(300)
    expect((await step).value?.text()).toBe("again")
    expect(await texts(drops)).toEqual(["again"])
    await manager.close()
  })
})

describe("codecs", () => {
  test("json gives values back, and refuses what it cannot express before anything is taken", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const stream = await manager.stream<any>("s", { codec: "json" })
    expect(await manager.stream("s", { codec: "json" })).toBe(stream)
    expect((await manager.stream("s")) as unknown).toBe(stream)
    const values = [1, "text", null, true, [1, 2], { a: { b: "ü" } }, { payload: 1, other: 2 }, "\ud800"]
    for (const value of values) await stream.append(value)
    expect(stream.tryAppend({ tried: true })).toBeGreaterThan(0)
    await stream.appendBatch([{ payload: { x: 1 }, extId: 3 }, { payload: 5, kind: "a value with a payload" }, "plain"])
    expect((await collect(stream.read())).map((record) => record.value)).toEqual([
      ...values,
      { tried: true },
      { x: 1 },
      { payload: 5, kind: "a value with a payload" },
      "plain",
    ])
    const circle: { self?: unknown } = {}
    circle.self = circle
    for (const value of [undefined, () => {}, Symbol("s"), 5n, circle]) {
      expect(await rejection(() => stream.append(value))).toMatchObject({ _tag: "InvalidArgument", what: "json value" })
      expect(await failure(() => stream.tryAppend(value))).toMatchObject({ _tag: "InvalidArgument" })
      expect(await rejection(() => stream.appendBatch([1, value]))).toMatchObject({ _tag: "InvalidArgument" })
    }
    expect(stream.info().count).toBe(12)
    expect((await stream.get(stream.info().lastId)).text()).toBe('"plain"')
    await manager.close()
    const again = await openMemory({}, disk)
    const plain = await again.stream("s")
    const [first] = await collect(plain.read())
    expect(first!.text()).toBe("1")
    expect(first!.value as Uint8Array).toBe(first!.bytes)
    expect(await rejection(() => again.stream("s", { codec: "json" }))).toMatchObject({ _tag: "InvalidArgument" })
    await again.close()
  })

  test("a codec of one's own, whose errors are its own", async () => {
    const manager = await openMemory()
    const codec: Codec<number> = {
      name: "f64",
      encode: (value) => {
        if (Number.isNaN(value)) throw new RangeError("not a number")
        return new Uint8Array(new Float64Array([value]).buffer)
      },
      decode: (bytes) => new Float64Array(bytes.slice().buffer)[0]!,
    }
    const stream = await manager.stream("s", { codec })
    await stream.append(1.5)
    await stream.appendBatch([2.5, { payload: 3.5 }])
    const values: Array<number> = []
    for await (const record of stream.read()) values.push(record.value)
    expect(values).toEqual([1.5, 2.5, 3.5])
    expect(await rejection(() => stream.append(Number.NaN))).toBeInstanceOf(RangeError)
    expect(await rejection(() => stream.appendBatch([Number.NaN]))).toBeInstanceOf(RangeError)
    expect(await failure(() => stream.tryAppend(Number.NaN))).toBeInstanceOf(RangeError)
    expect(await rejection(() => manager.stream("s", { codec: "json" }))).toMatchObject({ _tag: "InvalidArgument" })
    const nameless = await manager.stream("n", { codec: { encode: (one: string) => one, decode: () => "decoded" } })
    await nameless.append("x")
    expect((await nameless.read().next()).value?.value).toBe("decoded")
    await manager.close()
  })
})

describe("the coordinator's watermark", () => {
  test("set before a seal that a close overtakes is kept, and the close ends", async () => {
    const manager = await openMemory()
    const stream = await manager.stream("a")
    stream.setCoordinatorWatermark(5n)
    await Promise.all([stream.append("x"), stream.seal(), stream.close()])
    const again = await manager.stream("a")
    expect([again.coordinatorWatermark, again.info().count]).toEqual([5n, 1])
    await manager.close()
  })

  test("is kept over every kind of close", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    let expected = 0n
    const steps: Array<(stream: Aof) => Promise<unknown>> = [
      async () => {},
      (stream) => stream.append("x"),
      (stream) => stream.seal(),
      async () => {},
      (stream) => fill(stream, 300),
      async () => {},
      (stream) => stream.append("x").then(() => stream.trim({ before: stream.info().lastId })),
      async () => {},
    ]
    for (const step of steps) {
      const manager = await openMemory(small, disk)
      const stream = await manager.stream("s")
      expect(stream.coordinatorWatermark).toBe(expected)
      expect(stream.info().coordinatorWatermark).toBe(expected)
      await step(stream)
      expected = expected * 2n + 1n
      stream.setCoordinatorWatermark(expected)
      expect(stream.coordinatorWatermark).toBe(expected)
      await manager.close()
    }
    const manager = await openMemory(small, disk)
    const stream = await manager.stream("s")
    for (const value of [-1, 1.5, 2n ** 64n, "5", undefined]) {
      expect(await failure(() => stream.setCoordinatorWatermark(value as never))).toMatchObject({
        _tag: "InvalidArgument",
      })
    }
    stream.setCoordinatorWatermark(2n ** 64n - 1n)
    await manager.close()
    const last = await openMemory(small, disk)
    expect((await last.stream("s")).coordinatorWatermark).toBe(2n ** 64n - 1n)
    await last.close()
  })
})

describe.each([["a real disk"], ["a memory disk"]])("a read-only manager on %s", (kind) => {
  const make = (): ((options?: Partial<AofManagerOptions>) => Promise<AofManager>) => {
    const root = makeRoot()
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: false })
    return (options = {}) =>
      kind === "a real disk" ? AofManager.open({ root, ...options }) : openMemory(options, disk)
  }

  test("sees a consistent prefix while a writer goes on, and follows it", async () => {
    const open = make()
    const writer = await open(small)
    const stream = await writer.stream("s")
    await fill(stream, 300)
    const reader = await open({ readOnly: true })
    const view = await reader.stream("s")
    expect((await collect(view.read({ level: "written" }))).length).toBe(300)
    const follower = collect(view.follow({ from: "start", limit: 2000 }))
    const cursor = view.cursor({ from: "end", level: "written" })
    const unseen: Array<number> = []
    for (let i = 0; i < 17; i++) {
      unseen.push((await fill(stream, 100)).at(-1)!)
      if (i % 5 === 0) await stream.seal()
      const record = await view.get(unseen.at(-1)!, { level: "written" })
      expect(record.recordNumber).toBe(399 + 100 * i)
    }
    const records = await follower
    expect(records.map((record) => record.recordNumber)).toEqual(Array.from({ length: 2000 }, (_, i) => i))
    expect((await view.get(unseen.at(-1)!)).recordNumber).toBe(1999)
    expect((await view.durable(unseen[3]!)).level).toBe("durable")
    await view.flush()
    let walked = 300
    while (walked < 2000) {
      if (!cursor.next()) await cursor.ready()
      else expect(cursor.recordNumber).toBe(walked++)
    }
    await writer.close()
    await reader.close()
  })

  test("refuses every change, names a missing root, and needs no lock", async () => {
    const open = make()
    const error = await rejection(() => open({ root: "/nowhere/at/all", readOnly: true }))
    expect(error).toMatchObject({ _tag: "NotFound", what: "root", value: "/nowhere/at/all" })
    const writer = await open(small)
    const stream = await writer.stream("s")
    const { recordId } = await stream.append("x")
    const readers = await Promise.all([open({ readOnly: true }), open({ readOnly: true })])
    const view = await readers[0]!.stream("s")
    const calls: Array<() => unknown> = [
      () => view.append("x"),
      () => view.appendBatch(["x"]),
      () => view.tryAppend("x"),
      () => view.seal(),
      () => view.trim({ before: recordId }),
      () => readers[0]!.deleteStream("s"),
      () => view.setCoordinatorWatermark(1),
      () => view.ready(),
    ]
    for (const call of calls) {
      expect([String(call), await failure(call)]).toMatchObject([
        String(call),
        { _tag: "InvalidArgument", retryable: false },
      ])
    }
    expect(await rejection(() => readers[0]!.stream("other"))).toMatchObject({ _tag: "NotFound" })
    await (await writer.stream("other")).append("new")
    expect(await texts(await readers[0]!.stream("other"), { level: "written" })).toEqual(["new"])
    await Promise.all([...readers, writer].map((one) => one.close()))
  })

  test("survives trims, deletion and a new stream of the same name", async () => {
    const open = make()
    const writer = await open(small)
    const stream = await writer.stream("s")
    const ids = await fill(stream, 500)
    const reader = await open({ readOnly: true })
    const view = await reader.stream("s")
    const follower = view.follow({ from: "start", level: "written" })
    expect((await follower.next()).value?.recordNumber).toBe(0)
    await stream.trim({ before: ids[400]! })
    let previous = 0
    let error: any
    while (previous < 499 && error === undefined) {
      await follower.next().then(
        ({ value }) => {
          expect(value!.recordNumber).toBe(previous + 1)
          previous++
        },
        (one) => (error = one),
      )
    }
    if (error !== undefined) expect(error._tag).toBe("NotFound")
    expect((await collect(view.read({ level: "written" })))[0]?.recordNumber).toBe(400)
    // It may end before the deletion does.
    const ended = failure(view.follow({ from: "end", level: "written" }).next())
    await writer.deleteStream("s")
    expect(await ended).toMatchObject({ _tag: "Closed" })
    expect(await rejection(() => reader.stream("s"))).toMatchObject({ _tag: "NotFound" })
    await (await writer.stream("s")).append("fresh")
    expect(await texts(await reader.stream("s"), { level: "written" })).toEqual(["fresh"])
    await Promise.all([reader.close(), writer.close()])
  })
})

test("a seal that fails is Unavailable, appends that wait for it too, and both succeed when the disk does", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const manager = await openMemory({ segmentBytes: 4096, stagingBytes: 4096 }, disk)
  const stream = await manager.stream("s")
  await stream.append("x")
  disk.onOperation = ({ kind, path }) => (kind === "rename" && path.includes("current.sealed") ? "EIO" : undefined)
  expect(await rejection(() => stream.seal())).toMatchObject({ _tag: "Unavailable", code: "EIO" })
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, () => stream.append(new Uint8Array(1500)).catch((error) => error)),
  )
  expect(outcomes.some((one) => one.code === "EIO")).toBe(true)
  disk.onOperation = undefined
  let isSealed = false
  for (let i = 0; i < 10 && !isSealed; i++)
    isSealed = await stream.seal().then(
      () => true,
      () => turns(5).then(() => false),
    )
  expect((await stream.append("again")).level).toBe("durable")
  await checkInfo(stream)
  await manager.close()
})

test("a trimmed segment's file is gone, and so is a deleted stream's directory", async () => {
  const root = makeRoot()
  const manager = await AofManager.open({ root, ...small })
  const stream = await manager.stream("s")
  const ids = await fill(stream, 500)
  await stream.seal()
  const path = join(root, "streams", "s", "segments")
  const before = readdirSync(path).filter((name) => /^\d+\.seg$/.test(name)).length
  await stream.trim({ before: ids[499]! })
  expect(before).toBeGreaterThan(3)
  expect(readdirSync(path).filter((name) => /^\d+\.seg$/.test(name)).length).toBe(1)
  await manager.deleteStream("s")
  expect(readdirSync(join(root, "streams"))).toEqual([])
  await manager.close()
})

test("a trim past a segment whose seal is not recorded yet loses nothing that follows, also in a crash", async () => {
  const disk = new MemoryDisk()
  const manager = await openMemory({ ...small, preallocateBytesMax: 0 }, disk)
  const stream = await manager.stream("s")
  await fill(stream, 100, 50)
  await stream.seal()
  disk.onOperation = ({ kind, path }) => (kind === "rename" && path.includes("current.sealed") ? "EIO" : undefined)
  await fill(stream, 10, 50)
  await stream.seal().catch(() => {})
  const first = await stream.append("kept 0")
  const reader = await openMemory({ readOnly: true }, disk)
  const view = await reader.stream("s")
  await stream.trim({ before: first.recordId })
  // One frame only: a later one would say how far the stream was durable.
  const expected = ["kept 0"]
  expect(await texts(view, { level: "written" })).toEqual(expected)
  await reader.close()
  // Only what a sync covers survives.
  disk.onOperation = undefined
  disk.crash(() => false)
  const again = await openMemory(small, disk)
  const reopened = await again.stream("s")
  expect(await texts(reopened)).toEqual(expected)
  expect(reopened.info()).toMatchObject({ firstRecordNumber: 110, nextRecordNumber: 111 })
  expect((await reopened.append("more")).recordNumber).toBe(111)
  await again.close()
  await manager.close().catch(() => {})
})
