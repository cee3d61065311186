// The manager: options, names, streams made, deleted and made again, closing, read-only opening, and what may be wrong with a root.

import { describe, expect, test } from "bun:test"
import * as fs from "node:fs"
import { join } from "node:path"
import { AofManager, Closed, InvalidArgument, isAofError, Unavailable } from "bop-aof"
import { AofManager as MemoryManager } from "bop-aof/memory"
import { crc32 } from "../../src/format/checksum.ts"
import { encodeRootFile, rootFile } from "../../src/format/root_file.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { collect, failure, fill, makeRoot, openMemory, rejection, small, stores, texts, turns } from "../support/api.ts"

describe("options", () => {
  test.each([
    ["none at all", undefined],
    ["null", null],
    ["no root", {}],
    ["an empty root", { root: "" }],
    ["a root of a wrong type", { root: 5 }],
    ["a root with a zero byte", { root: "/tmp/a\0b" }],
    ["an unknown name", { root: "/r", segmentbytes: 4096 }],
    ["segmentBytes below", { root: "/r", segmentBytes: 4095 }],
    ["segmentBytes above", { root: "/r", segmentBytes: 256 * 1024 * 1024 + 1 }],
    ["segmentBytes as text", { root: "/r", segmentBytes: "65536" }],
    ["stagingBytes below", { root: "/r", stagingBytes: 1 }],
    ["unflushedBytesMax below", { root: "/r", unflushedBytesMax: 0 }],
    ["recordBytesMax of 0", { root: "/r", recordBytesMax: 0 }],
    ["recordBytesMax not a number", { root: "/r", recordBytesMax: Number.NaN }],
    ["flushIntervalMs of 0", { root: "/r", flushIntervalMs: 0 }],
    ["inlineSyncMsMax below", { root: "/r", inlineSyncMsMax: -0.1 }],
    ["inlineSyncMsMax above", { root: "/r", inlineSyncMsMax: 1001 }],
    ["inlineSyncMsMax not a number", { root: "/r", inlineSyncMsMax: Number.NaN }],
    ["inlineSyncMsMax as text", { root: "/r", inlineSyncMsMax: "1" }],
    ["closeTimeoutMs endless", { root: "/r", closeTimeoutMs: Number.POSITIVE_INFINITY }],
    ["preallocateBytesMax negative", { root: "/r", preallocateBytesMax: -1 }],
    ["readOnly as text", { root: "/r", readOnly: "yes" }],
    ["retention as a number", { root: "/r", retention: 5 }],
    ["retention with an unknown name", { root: "/r", retention: { days: 1 } }],
    ["retention of 0 bytes", { root: "/r", retention: { bytes: 0 } }],
    ["a signal that is none", { root: "/r", signal: {} }],
  ])("%s: InvalidArgument with name, value and limit", async (_, options) => {
    const error = await rejection(() => AofManager.open(options as never))
    expect(error).toBeInstanceOf(InvalidArgument)
    expect(isAofError(error)).toBe(true)
    expect(error).toMatchObject({ _tag: "InvalidArgument", retryable: false })
    expect(typeof error.what).toBe("string")
    expect(error.limit).toBeDefined()
    expect(error.message).toContain(error.what)
    expect(fs.existsSync("/r")).toBe(false)
  })

  test.each([
    ["create", { create: 1 }],
    ["segmentBytes", { segmentBytes: 5 }],
    ["retention.ageMs", { retention: { ageMs: -1 } }],
    ["codec", { codec: "xml" }],
    ["codec", { codec: {} }],
    ["stream option", { segmentbytes: 4096 }],
    ["stream options", null],
    ["stream options", 5],
    ["signal", { signal: 1 }],
  ])("a stream with a bad %s is refused and not made: %#", async (what, options) => {
    const manager = await openMemory()
    expect(await rejection(() => manager.stream("s", options as never))).toMatchObject({
      _tag: "InvalidArgument",
      what,
    })
    expect(manager.streams()).toEqual([])
    await manager.close()
  })
})

describe("names", () => {
  test.each([
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "/a",
    "a\\b",
    "a b",
    "ü",
    "a\0",
    "a".repeat(129),
    5,
    null,
    undefined,
    {},
  ])("no name: %#", async (name) => {
    const manager = await openMemory()
    const call = async (run: (name: string) => Promise<unknown>): Promise<unknown> =>
      rejection(() => run(name as string))
    expect(await call((one) => manager.stream(one))).toMatchObject({
      _tag: "InvalidArgument",
      what: "stream name",
      value: name,
    })
    expect(await call((one) => manager.deleteStream(one))).toMatchObject({
      _tag: "InvalidArgument",
      what: "stream name",
    })
    expect(manager.streams()).toEqual([])
    await manager.close()
  })

  test.each([
    "a",
    "-",
    "_",
    "a.b",
    "A-1_2.z",
    "a..b",
    "x".repeat(128),
    "spare.seg",
    "segments",
    "constructor",
    "__proto__",
    "0",
  ])("%s is one, and survives a reopen", async (name) => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    await (await manager.stream(name)).append("x")
    await manager.close()
    const again = await openMemory({}, disk)
    expect(again.streams()).toEqual([name])
    expect(await texts(await again.stream(name))).toEqual(["x"])
    await again.close()
  })
})

describe.each(stores)("streams on %s", (_, makeOpen) => {
  test("the same name is the same object, also when it is asked for at once", async () => {
    const open = makeOpen()
    const manager = await open()
    const many = await Promise.all(Array.from({ length: 20 }, () => manager.stream("s")))
    expect(new Set(many).size).toBe(1)
    expect(many[0]!.name).toBe("s")
    const others = await Promise.all(Array.from({ length: 20 }, (_, i) => manager.stream(`other-${i}`)))
    expect(new Set(others.map((one) => one.info().streamId)).size).toBe(20)
    expect(await rejection(() => manager.stream("missing", { create: false }))).toMatchObject({
      _tag: "NotFound",
      value: "missing",
    })
    expect(manager.streams().length).toBe(21)
    expect(await manager.stream("s", { create: false })).toBe(many[0]!)
    await manager.close()
  })

  test("a deleted stream is gone for good; its name begins anew with an id that was never used", async () => {
    const open = makeOpen()
    let manager = await open(small)
    const ids = new Set<number>()
    for (let round = 0; round < 5; round++) {
      const stream = await manager.stream("s")
      const { streamId } = stream.info()
      expect(ids.has(streamId)).toBe(false)
      ids.add(streamId)
      expect(stream.info()).toMatchObject({ count: 0, firstId: 0, lastId: 0, nextRecordNumber: 0 })
      await fill(stream, 200)
      const follower = stream.follow({ from: "end" }).next()
      const cursor = stream.cursor()
      cursor.next()
      const sealing = stream.seal().catch((error: unknown) => error)
      const inFlight = Array.from({ length: 50 }, () => stream.append("in flight").catch((error: any) => error))
      const deleting = manager.deleteStream("s")
      const outcomes = await Promise.all(inFlight)
      expect(outcomes.every((one) => one instanceof Closed || one.level === "durable")).toBe(true)
      expect(await failure(follower)).toMatchObject({ _tag: "Closed" })
      await sealing
      await deleting
      expect(await failure(() => cursor.next())).toMatchObject({ _tag: "Closed" })
      expect(await failure(() => stream.info())).toMatchObject({ _tag: "Closed" })
      expect(await failure(() => stream.tryAppend("x"))).toMatchObject({ _tag: "Closed" })
      expect(await rejection(() => stream.append("x"))).toMatchObject({ _tag: "Closed" })
      expect(manager.streams()).toEqual([])
      if (round % 2 === 1) {
        await manager.close()
        manager = await open(small)
        expect(manager.streams()).toEqual([])
        expect(manager.recovery.isClean).toBe(true)
      }
    }
    expect(await rejection(() => manager.deleteStream("s"))).toMatchObject({
      _tag: "NotFound",
      what: "stream",
      value: "s",
    })
    await manager.close()
  })

  test("a name deleted and made again while the old stream still flushes holds nothing of the old one", async () => {
    const open = makeOpen()
    const manager = await open(small)
    for (let round = 0; round < 10; round++) {
      const old = await manager.stream("s")
      for (let i = 0; i < 40; i++) old.tryAppend(`old ${round} ${i}`.padEnd(300))
      const [, fresh] = await Promise.all([manager.deleteStream("s"), manager.stream("s")])
      expect(fresh).not.toBe(old)
      await fresh.append(`new ${round}`)
      await turns(3)
      expect(await texts(fresh)).toEqual([`new ${round}`])
      await fresh.close()
      expect(await texts(await manager.stream("s"))).toEqual([`new ${round}`])
      await manager.deleteStream("s")
    }
    await manager.close()
  })

  test("stream.close() drains, is joined by a second one, and the name opens again", async () => {
    const open = makeOpen()
    const manager = await open(small)
    const stream = await manager.stream("s")
    const id = stream.tryAppend("unflushed")
    await Promise.all([stream.close(), stream.close(), stream[Symbol.asyncDispose]()])
    await stream.close()
    expect(await rejection(() => stream.durable(id))).toMatchObject({ _tag: "Closed" })
    const [again, same] = await Promise.all([manager.stream("s"), manager.stream("s")])
    expect(again).toBe(same)
    expect(await texts(again)).toEqual(["unflushed"])
    const closing = again.close()
    expect(await rejection(() => again.append("late"))).toMatchObject({ _tag: "Closed" })
    const third = await manager.stream("s")
    await closing
    expect(third).not.toBe(again)
    await third.append("more")
    await Promise.all([third.close(), manager.close()])
    const last = await open(small)
    expect(last.recovery.isClean).toBe(true)
    expect(await texts(await last.stream("s"))).toEqual(["unflushed", "more"])
    await last.close()
  })
})

describe("closing", () => {
  test("what is appended before close() is there after it; calls after it are Closed; a second close does nothing", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory(small, disk)
    const streams = await Promise.all(Array.from({ length: 20 }, (_, i) => manager.stream(`s${i}`)))
    for (const stream of streams)
      for (let i = 0; i < 9; i++) expect(stream.tryAppend(new Uint8Array(1000))).toBeGreaterThan(0)
    const pending = streams.map((stream) => stream.append("last"))
    const closing = [manager.close(), manager.close(), manager[Symbol.asyncDispose]()]
    expect(await rejection(() => manager.stream("new"))).toMatchObject({ _tag: "Closed", what: "manager" })
    await Promise.all(pending)
    await Promise.all(closing)
    await manager.close()
    const stream = streams[0]!
    const calls: Array<() => unknown> = [
      () => manager.stream("s0"),
      () => manager.streams(),
      () => manager.deleteStream("s0"),
      () => manager.settled(),
      () => {
        throw stream.whyBlocked(-1)
      },
      () => stream.append("x"),
      () => stream.appendBatch(["x"]),
      () => stream.tryAppend("x"),
      () => stream.ready(),
      () => stream.durable(1),
      () => stream.flush(),
      () => stream.read().next(),
      () => stream.follow().next(),
      () => stream.cursor(),
      () => stream.get(1),
      () => stream.tryGet(1),
      () => stream.seal(),
      () => stream.trim({ before: 1 }),
      () => stream.info(),
      () => stream.segments(),
      () => stream.tryOpenReader(1),
      () => stream.openReader(1),
      () => stream.setCoordinatorWatermark(1),
    ]
    for (const call of calls) expect([String(call), (await failure(call))._tag]).toEqual([String(call), "Closed"])
    await stream.close()
    const again = await openMemory(small, disk)
    expect(again.recovery.isClean).toBe(true)
    for (let i = 0; i < 20; i++) expect((await again.stream(`s${i}`)).info().count).toBe(10)
    await again.close()
  })

  test("a stream that is just being made is closed too", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const manager = await openMemory({}, disk)
    const making = manager
      .stream("s")
      .then((stream) => stream.append("x"))
      .catch((error) => error)
    await manager.close()
    const outcome = await making
    const again = await openMemory({}, disk)
    expect(again.recovery.isClean).toBe(true)
    if (outcome._tag === "Closed") expect(await texts(await again.stream("s"))).toEqual([])
    else expect(await texts(await again.stream("s"))).toEqual(["x"])
    await again.close()
  })

  test("await using closes", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    let closed: AofManager
    {
      const manager = await openMemory({}, disk)
      closed = manager
      await (await manager.stream("s"))[Symbol.asyncDispose]()
      await manager[Symbol.asyncDispose]()
    }
    expect(await failure(() => closed.streams())).toMatchObject({ _tag: "Closed" })
  })
})

describe("a root", () => {
  test("held by another manager of this process is Unavailable with its holder, until that is closed", async () => {
    const root = makeRoot()
    const manager = await AofManager.open({ root })
    const error = await rejection(() => AofManager.open({ root: `${root}/` }))
    expect(error).toBeInstanceOf(Unavailable)
    expect(error).toMatchObject({ _tag: "Unavailable", retryable: true, holder: { pid: process.pid } })
    expect(error.message).toContain(String(process.pid))
    await (await manager.stream("s")).append("still works")
    await manager.close()
    const again = await AofManager.open({ root })
    await again.close()
  })

  test("that is a file, or lies below one, is Unavailable", async () => {
    const root = makeRoot()
    fs.writeFileSync(join(root, "file"), "text")
    for (const readOnly of [false, true]) {
      const error = await rejection(() => AofManager.open({ root: join(root, "file"), readOnly }))
      expect(error).toMatchObject({ _tag: "Unavailable", code: "ENOTDIR" })
      expect(error.message).toContain("the root, which is a file and has to be a directory, failed with ENOTDIR")
    }
    expect(await rejection(() => AofManager.open({ root: join(root, "file", "below") }))).toMatchObject({
      _tag: "Unavailable",
    })
    expect(fs.readFileSync(join(root, "file"), "utf8")).toBe("text")
  })

  test.skipIf(process.getuid?.() === 0)(
    "[needs a user that is not root] without permission is Unavailable with EACCES",
    async () => {
      const root = makeRoot()
      fs.chmodSync(root, 0o500)
      const error = await rejection(() => AofManager.open({ root: join(root, "store") }))
      expect(error).toMatchObject({ _tag: "Unavailable", code: "EACCES", retryable: false })
      expect(await rejection(() => AofManager.open({ root }))).toMatchObject({ code: "EACCES", value: root })
    },
  )

  test("of a newer format is InvalidArgument with both versions, and nothing is changed", async () => {
    const root = makeRoot()
    const bytes = encodeRootFile(new Uint8Array(16).fill(7), 1)
    new DataView(bytes.buffer).setUint32(rootFile.at.version, 9, true)
    const { checksum } = rootFile.at
    new DataView(bytes.buffer).setUint32(checksum, crc32(bytes.subarray(0, checksum), 0), true)
    fs.writeFileSync(join(root, "ROOT"), bytes)
    for (const readOnly of [false, true]) {
      const error = await rejection(() => AofManager.open({ root, readOnly }))
      expect(error).toMatchObject({ _tag: "InvalidArgument", value: 9, limit: 1 })
      expect(error.message).toMatch(/9.*1/)
    }
    expect(Buffer.compare(fs.readFileSync(join(root, "ROOT")), bytes)).toBe(0)
  })

  test("that is damaged is Corrupt, and one of another program's files is left alone", async () => {
    const root = makeRoot()
    fs.writeFileSync(join(root, "ROOT"), "something else")
    expect(await rejection(() => AofManager.open({ root }))).toMatchObject({ _tag: "Corrupt" })
    const other = makeRoot()
    fs.writeFileSync(join(other, "notes.txt"), "mine")
    const manager = await AofManager.open({ root: other })
    await manager.close()
    expect(fs.readFileSync(join(other, "notes.txt"), "utf8")).toBe("mine")
  })

  test("on a full disk is Unavailable with ENOSPC at each call, and goes on when there is room", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false, capacityBytes: 96 * 1024 })
    const manager = await openMemory({ ...small, preallocateBytesMax: 0 }, disk)
    const stream = await manager.stream("s")
    let last = 0
    let error: any
    for (let i = 0; i < 200 && error === undefined; i++) {
      await stream
        .append(new Uint8Array(1000))
        .then((ack) => (last = ack.recordNumber + 1))
        .catch((one) => (error = one))
    }
    expect(error).toMatchObject({ _tag: "Unavailable", code: "ENOSPC", retryable: true })
    expect(last).toBeGreaterThan(20)
    expect((await collect(stream.read())).length).toBeGreaterThanOrEqual(last)
    expect(await rejection(() => stream.append("more"))).toMatchObject({ _tag: "Unavailable", code: "ENOSPC" })
    const { segments } = stream.info()
    const keep = stream.tryOpenReader(segments[3]!.index)
    keep.next()
    await stream.trim({ before: keep.recordId })
    let ack: unknown
    for (let i = 0; i < 100 && ack === undefined; i++) ack = await stream.append("room again").catch(() => turns(5))
    expect(ack).toMatchObject({ level: "durable" })
    await manager.close()
  })

  test("too small a disk refuses opening with ENOSPC and gives the lock back", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false, capacityBytes: 10 })
    for (let i = 0; i < 2; i++) {
      expect(await rejection(() => openMemory({}, disk))).toMatchObject({ _tag: "Unavailable", code: "ENOSPC" })
    }
  })
})

describe("bop-aof/memory", () => {
  test("opens without a root, each manager with a disk of its own", async () => {
    const [one, other] = await Promise.all([MemoryManager.open(), MemoryManager.open({ segmentBytes: 4096 })])
    await (await one.stream("s")).append("x")
    expect(other.streams()).toEqual([])
    expect(await texts(await one.stream("s"))).toEqual(["x"])
    expect(await rejection(() => MemoryManager.open({ segmentBytes: 1 }))).toMatchObject({ _tag: "InvalidArgument" })
    await Promise.all([one.close(), other.close()])
  })

  test("has a class, whose instances its managers are, as the entry points of one runtime have", async () => {
    const open = { memory: () => MemoryManager.open(), main: () => AofManager.open({ root: makeRoot() }) }
    const [own, main] = await Promise.all([open.memory(), open.main()])
    expect(own).toBeInstanceOf(MemoryManager)
    expect(own).toBeInstanceOf(AofManager)
    expect(main).not.toBeInstanceOf(MemoryManager)
    await Promise.all([own.close(), main.close()])
    const fixed = {
      Bun: () => import("bop-aof/bun"),
      Deno: () => import("bop-aof/deno"),
      Node: () => import("bop-aof/node"),
    }
    const name = "Bun" in globalThis ? "Bun" : "Deno" in globalThis ? "Deno" : "Node"
    const { AofManager: FixedManager } = await fixed[name]()
    const manager: AofManager = await FixedManager.open({ root: makeRoot() })
    expect(manager).toBeInstanceOf(FixedManager)
    await manager.close()
  })

  test("opens and repairs with the rejections of the main module; there is nothing to repair", async () => {
    for (const options of [null, 1, [], { foo: 1 }, { root: null }, { root: "" }] as never[]) {
      expect(await rejection(() => MemoryManager.open(options))).toMatchObject({ _tag: "InvalidArgument" })
      expect(await rejection(() => MemoryManager.repair(options))).toMatchObject({ _tag: "InvalidArgument" })
    }
    expect(await rejection(() => MemoryManager.repair({ root: "/memory" }))).toMatchObject({ _tag: "NotFound" })
  })
})
