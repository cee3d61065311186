// A disk that fails, fills up or hangs, at any operation of a run. Callers get a typed error with the system's code, nothing that
// was acknowledged is lost by a power cut that follows, a failed sync is never believed later, and when the disk is well
// again the store goes on by itself. Waits can be provoked and cleared, and ending a wait loses and leaks nothing.

import { describe, expect, test } from "bun:test"
import { openWith } from "../../src/api/manager.ts"
import { APPEND_ADMISSION, APPEND_FLUSH, APPEND_ROLLOVER } from "../../src/core/append/append_codes.ts"
import { makeConfig } from "../../src/model/config.ts"
import { type DiskFault, type DiskOperation, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, randomOf, withStore } from "../support/crash_model.ts"
import { workloadOptions } from "../support/crash_workload.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const options = { ...workloadOptions, flushIntervalMs: 3_600_000 }
const isSegment = (path: string): boolean => path.endsWith(".seg")
/** What the timeouts below are far from, on any machine. */
const closeTimeoutMsDefault = makeConfig({ root: "/store" }).closeTimeoutMs
const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code
const tagOf = (error: unknown): unknown => (error as { _tag?: unknown })._tag
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "no rejection",
    (error) => error,
  )
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const until = async (isTrue: () => boolean): Promise<void> => {
  for (let turn = 0; !isTrue(); turn++) {
    if (turn > 2000) throw new Error("it did not come to that")
    await pause(1)
  }
}

/** What the store holds after a power cut that keeps nothing unsynced. */
const textsAfterCut = (disk: MemoryDisk, name = "s"): Promise<ReadonlyArray<string>> => {
  disk.onOperation = undefined
  disk.crash(() => false)
  return texts(disk, name)
}

const texts = (disk: MemoryDisk, name = "s"): Promise<ReadonlyArray<string>> =>
  withStore(disk.layer, options, async (manager) => {
    const found: Array<string> = []
    for await (const record of (await manager.stream(name)).read()) found.push(record.text())
    return found
  })

/** Fails the operations that `isHit` names, up to `count` times. */
const failing = (
  isHit: (operation: DiskOperation) => boolean,
  code: string,
  count = 1,
): ((operation: DiskOperation) => DiskFault) => {
  let left = count
  return (operation) => {
    if (left === 0 || !isHit(operation)) return undefined
    left--
    return code
  }
}

describe("a failed sync", () => {
  test("is answered by a replacement file in which every record keeps its id", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const first = await stream.append("a")
    disk.onOperation = failing(({ kind, path }) => kind === "syncData" && isSegment(path), "EIO")
    const second = await stream.append("b")
    const third = await stream.append("c")
    expect((await stream.get(first.recordId)).text()).toBe("a")
    expect((await stream.get(second.recordId)).text()).toBe("b")
    expect(await textsAfterCut(disk)).toEqual(["a", "b", "c"])
    await withStore(disk.layer, options, async (again) => {
      expect((await (await again.stream("s")).get(third.recordId)).text()).toBe("c")
    })
    await manager.close().catch(() => {})
  })

  test("is not believed later when the replacement fails too", async () => {
    for (const broken of ["create", "write", "syncData", "rename", "syncDirectory", "remove"] as const) {
      const disk = new MemoryDisk()
      const manager = await openWith(disk.layer, { ...options, preallocateBytesMax: 0 })
      const stream = await manager.stream("s")
      await stream.append("a")
      let isFirst = true
      let failures = 2
      disk.onOperation = ({ kind, path }) => {
        const isHit = isFirst
          ? kind === "syncData"
          : failures > 0 && kind === broken && (path.includes(".tmp") || kind === "syncDirectory")
        if (!isHit) return undefined
        if (!isFirst) failures--
        isFirst = false
        return "EIO"
      }
      expect(codeOf(await rejection(stream.append("b")))).toBe("EIO")
      await stream.ready().catch(() => {})
      await until(() => failures === 0)
      await rejection(stream.flush())
      await stream.flush()
      await stream.append("c")
      expect([broken, await textsAfterCut(disk)]).toEqual([broken, ["a", "b", "c"]])
      await manager.close().catch(() => {})
    }
  })

  test("leaves what was taken in the log: an append again has it twice, durable() again has not", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("a", { extId: 1 })
    const fail: MemoryDisk["onOperation"] = ({ kind }) => (kind === "syncData" ? "EIO" : undefined)
    disk.onOperation = fail
    const rejected = [stream.append("b", { extId: 2 }), stream.appendBatch(["c", "d"])].map(rejection)
    for (const error of await Promise.all(rejected)) expect(error).toMatchObject({ code: "EIO", retryable: true })
    disk.onOperation = undefined
    await stream.append("b", { extId: 2 })
    disk.onOperation = fail
    const ack = await stream.append("e", { level: "buffered" })
    for (let tries = 0; tries < 3; tries++) expect(codeOf(await rejection(stream.durable(ack.recordId)))).toBe("EIO")
    // Not taken: the stream is known not to take anything now.
    const late = stream.append("f", { level: "buffered" })
    expect(codeOf(await rejection(late))).toBe("EIO")
    disk.onOperation = undefined
    expect((await stream.durable(ack.recordId)).level).toBe("durable")
    await stream.flush()
    const behind = []
    for await (const record of stream.read({ after: recordId })) behind.push(record.text())
    expect(behind).toEqual(["b", "c", "d", "b", "e"])
    for await (const record of stream.read({ extId: 2, limit: 1 })) expect(record.text()).toBe("b")
    expect(await textsAfterCut(disk)).toEqual(["a", ...behind])
    await manager.close().catch(() => {})
  })

  test("of zeros that are written ahead does not hide that bytes were lost", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, {
      ...options,
      segmentBytes: 1024 * 1024,
      preallocateBytesMax: 1024 * 1024,
    })
    const stream = await manager.stream("s")
    let isZeroing = false
    let failures = 0
    let release = (): void => {}
    disk.onOperation = ({ kind, path }) => {
      if (kind === "zeroFill") isZeroing = true
      if (kind !== "syncData" || !isSegment(path) || !isZeroing || failures > 0) return undefined
      failures++
      return new Promise((resolve) => (release = () => resolve("EIO")))
    }
    const wanted: Array<string> = []
    // The sync of the zeros covers what was written meanwhile, and fails before the sync of the bytes begins.
    for (let one = 0; one < 200 && failures === 0; one++) {
      await stream.append("x".repeat(100), { level: one % 20 === 19 ? "durable" : "written" })
      wanted.push("x".repeat(100))
      await pause(0)
    }
    expect(failures).toBe(1)
    release()
    await pause(5)
    await stream.append("last")
    expect(await textsAfterCut(disk)).toEqual([...wanted, "last"])
    await manager.close().catch(() => {})
  })

  test("makes tryAppend answer Flush while it lasts, and not any longer", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    disk.onOperation = ({ kind, path }) =>
      (kind === "syncData" || kind === "create") && path.includes(".seg") ? "EIO" : undefined
    const failed = await rejection(stream.append("b"))
    expect([tagOf(failed), codeOf(failed)]).toEqual(["Unavailable", "EIO"])
    expect(stream.tryAppend("refused")).toBe(APPEND_FLUSH)
    expect(codeOf(await rejection(stream.append("refused too")))).toBe("EIO")
    disk.onOperation = undefined
    await until(() => stream.tryAppend("c") > 0)
    await stream.flush()
    expect(await textsAfterCut(disk)).toEqual(["a", "b", "c"])
    await manager.close().catch(() => {})
  })

  test("of what a store was closed with does not make the checksum wrong of the segment that goes on", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    stream.setCoordinatorWatermark(7)
    await quietDisk(disk)
    disk.onOperation = failing(
      ({ kind, path }) => kind === "syncData" && isSegment(path),
      "EIO",
      Number.POSITIVE_INFINITY,
    )
    expect(codeOf(await rejection(manager.close()))).toBe("EIO")
    disk.onOperation = undefined
    await withStore(disk.layer, options, async (again) => {
      const resumed = await again.stream("s")
      await resumed.append("b")
      await resumed.seal()
    })
    expect(await textsAfterCut(disk)).toEqual(["a", "b"])
    await withStore(disk.layer, options, async (again) => {
      expect((await again.scrub({ bytesPerSecond: 2 ** 36 })).findings).toEqual([])
    })
  })

  test("during a seal is answered by the seal, which is tried again", async () => {
    const steps: ReadonlyArray<(operation: DiskOperation) => boolean> = [
      ({ kind, path }) => kind === "truncate" && isSegment(path),
      ({ kind, path }) => kind === "syncData" && isSegment(path),
      ({ kind, path }) => kind === "rename" && path.includes("current.sealed"),
      ({ kind, path }) => kind === "syncData" && path.includes("current.sealed"),
      ({ kind, path }) => kind === "syncDirectory" && path.endsWith("segments"),
      ({ kind, path }) => kind === "syncData" && path.includes("/manifest/"),
      ({ kind, path }) => kind === "write" && path.includes("/manifest/"),
    ]
    for (const [at, step] of steps.entries()) {
      const disk = new MemoryDisk()
      const manager = await openWith(disk.layer, options)
      const stream = await manager.stream("s")
      await stream.append("a")
      disk.onOperation = failing(step, "EIO", 2)
      await rejection(stream.seal())
      await until(() => stream.info().segments[0]?.state === "sealed")
      await stream.append("b")
      expect([at, await textsAfterCut(disk)]).toEqual([at, ["a", "b"]])
      await withStore(disk.layer, options, async (again) => expect(again.recovery.quarantined).toEqual([]))
      await manager.close().catch(() => {})
    }
  })
})

/** Appends, seals and trims on a disk that fails sometimes, cuts the power, and compares what is there with what was answered. */
const runFailing = async (seed: number): Promise<void> => {
  const disk = new MemoryDisk()
  const random = randomOf(seed)
  const fails = chance(seed + 1, 1)
  const code = seed % 2 === 0 ? "EIO" : "ENOSPC"
  const manager = await openWith(disk.layer, { ...workloadOptions, closeTimeoutMs: 2000 })
  const stream = await manager.stream("s", { segmentBytes: seed % 3 === 0 ? 224 * 1024 : 8192 })
  disk.onOperation = ({ kind }) => (kind !== "read" && kind !== "list" && fails() ? code : undefined)
  const groups: Array<{ readonly texts: ReadonlyArray<string>; isAcked: boolean }> = []
  const calls: Array<Promise<unknown>> = []
  for (let step = 0; step < 120; step++) {
    const kind = random(10)
    const large = seed % 3 === 0 && kind === 0 ? 30_000 : 300
    const texts = Array.from({ length: kind < 3 ? 3 : 1 }, (_, one) =>
      `${step}/${one} `.padEnd(10 + random(large), "."),
    )
    const group = { texts, isAcked: false }
    groups.push(group)
    const call = kind < 3 ? stream.appendBatch(texts) : stream.append(texts[0]!)
    calls.push(call.then(() => void (group.isAcked = true), careful))
    if (kind === 9) calls.push(stream.seal().catch(careful))
    if (random(3) === 0) await Promise.all(calls.splice(0))
  }
  await Promise.all(calls)
  disk.onOperation = undefined
  await until(() => stream.tryAppend("well again") > 0)
  await stream.flush()
  disk.crash(chance(seed + 7, 8))
  await manager.close().catch(() => {})
  const found = await texts(disk)
  const taken = groups.filter((group) => group.isAcked || found.includes(group.texts[0]!))
  // What was refused may have been taken: then whole, and in its place.
  expect(found).toEqual([...taken.flatMap((group) => group.texts), "well again"])
}

const careful = (error: unknown): void => {
  if (!["Unavailable", "WouldBlock"].includes(String(tagOf(error)))) throw error
}

describe("a disk that fails now and then", () => {
  test.each(Array.from({ length: 8 }, (_, one) => one + 1))(
    "loses nothing, seed %i",
    async (seed: number) => {
      await runFailing(seed)
    },
    60_000,
  )
})

describe("a full disk", () => {
  test("at any operation gives Unavailable with ENOSPC, loses nothing, and goes on when there is room", async () => {
    for (let from = 1; from < 70; from += 3) {
      const disk = new MemoryDisk()
      let count = 0
      let refusals = 5
      disk.onOperation = ({ kind }) => {
        if (!["write", "create", "zeroFill", "makeDirectory"].includes(kind)) return undefined
        return ++count >= from && refusals-- > 0 ? "ENOSPC" : undefined
      }
      const acked: Array<string> = []
      const again = async <A>(step: () => Promise<A>): Promise<A> => {
        for (let tries = 0; ; tries++) {
          try {
            return await step()
          } catch (error) {
            expect([tagOf(error), codeOf(error)]).toEqual(["Unavailable", "ENOSPC"])
            if (tries > 2000) throw error
            // Nobody else may be writing: what counts is that somebody tries.
            await pause(1)
          }
        }
      }
      const manager = await again(() => openWith(disk.layer, options))
      const stream = await again(() => manager.stream("s"))
      for (let one = 0; one < 24; one++) {
        const text = `${one}`.padEnd(600, ".")
        await stream.append(text).then(
          () => acked.push(text),
          (error) => expect([tagOf(error), codeOf(error)]).toEqual(["Unavailable", "ENOSPC"]),
        )
      }
      await again(() => stream.seal())
      await again(() => stream.append("end"))
      const found = await textsAfterCut(disk)
      expect(found.at(-1)).toBe("end")
      // What was refused may have been taken, but each at most once and in order.
      const numbers = found.slice(0, -1).map((text) => Number.parseInt(text, 10))
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
      expect(acked.filter((text) => !found.includes(text))).toEqual([])
      await manager.close().catch(() => {})
    }
  }, 60_000)
})

/** A disk whose syncs of segments hang until they are let go. */
const hangingDisk = (): { readonly disk: MemoryDisk; readonly letGo: () => void } => {
  const disk = new MemoryDisk()
  const held: Array<() => void> = []
  disk.onOperation = ({ kind, path }) =>
    kind === "syncData" && isSegment(path)
      ? new Promise<undefined>((resolve) => held.push(() => resolve(undefined)))
      : undefined
  return {
    disk,
    letGo: () => {
      disk.onOperation = undefined
      for (const one of held.splice(0)) one()
    },
  }
}

describe("zeros that hang", () => {
  test("in a segment that is full hide nothing: what waits for them is found by its id", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, { ...options, segmentBytes: 64 * 1024, preallocateBytesMax: 8192 })
    const stream = await manager.stream("s")
    let release: (() => void) | undefined
    disk.onOperation = ({ kind }) => {
      if (kind !== "zeroFill" || release !== undefined) return undefined
      return new Promise((resolve) => (release = () => resolve(undefined)))
    }
    while (release === undefined) await stream.append("x".repeat(100))
    // Frames of some kilobytes: one of them reaches into the stretch that is being zeroed.
    const ids: Array<number> = []
    while (stream.segments().length === 1) {
      for (let one = 0; one < 10; one++) ids.push(stream.tryAppend(`${ids.length}`.padEnd(700, "y")))
      await pause(0)
    }
    const waits = Promise.all(ids.map((id) => stream.durable(id)))
    expect(ids.every((id) => id > 0)).toBe(true)
    await pause(5)
    release()
    await waits
    for (const [at, id] of ids.entries()) expect((await stream.get(id)).text().trimEnd()).toBe(`${at}`.padEnd(700, "y"))
    await manager.close()
  })

  test("in a segment that ends let the appends that wait go on in the next one, in their order", async () => {
    const disk = new MemoryDisk()
    const small = { segmentBytes: 64 * 1024, preallocateBytesMax: 8192, tier0: { bytesMax: 128 * 1024 } }
    const manager = await openWith(disk.layer, { ...options, ...small })
    const other = await manager.stream("other")
    while (other.info().bytes < 58 * 1024) await other.append("x".repeat(1000))
    await other.seal()
    const stream = await manager.stream("s")
    const isFull = (): boolean => stream.info().bytes > 55 * 1024
    let release: (() => void) | undefined
    disk.onOperation = ({ kind, path }) => {
      const isOther = !path.includes("/s/") || path.endsWith("spare.seg")
      if (kind !== "zeroFill" || isOther || stream.info().bytes < 40 * 1024) return undefined
      return new Promise((resolve) => (release = () => resolve(undefined)))
    }
    while (release === undefined) await stream.append("x".repeat(100))
    let code = 1
    while (!isFull() && code > 0) code = stream.tryAppend("y".repeat(700))
    while (code > 0) code = stream.tryAppend("y".repeat(700))
    expect(code).toBe(APPEND_ADMISSION)
    const appends = [0, 1, 2].map((at) => stream.append(`${at}`.padEnd(700, "z"), { level: "written" }))
    await pause(5)
    await other.evict({ to: "tier1" })
    await pause(5)
    release()
    const numbers = (await Promise.all(appends)).map(({ recordNumber }) => recordNumber)
    expect(numbers).toEqual([numbers[0]!, numbers[0]! + 1, numbers[0]! + 2])
    await stream.flush()
    const last: Array<string> = []
    for await (const record of stream.read({ last: 3 })) last.push(record.text().trimEnd().slice(0, 2))
    expect(last).toEqual(["0z", "1z", "2z"])
    disk.onOperation = undefined
    await manager.close()
  })
})

describe("a sync that hangs", () => {
  test("makes appends wait with Flush, and lets them go on when it ends", async () => {
    const { disk, letGo } = hangingDisk()
    const manager = await openWith(disk.layer, { ...options, segmentBytes: 1024 * 1024, unflushedBytesMax: 16_384 })
    const stream = await manager.stream("s")
    const taken: Array<string> = []
    let code = 1
    for (let one = 0; code > 0 && one < 1000; one++) {
      const text = `${one}`.padEnd(500, ".")
      code = stream.tryAppend(text)
      if (code > 0) taken.push(text)
    }
    expect(code).toBe(APPEND_FLUSH)
    expect(taken.length).toBeGreaterThan(20)
    let isReady = false
    const waiting = stream.ready().then(() => (isReady = true))
    const append = stream.append("waited")
    const batch = stream.appendBatch(["waited 2", "x".repeat(9000)])
    await pause(20)
    expect(isReady).toBe(false)
    letGo()
    await waiting
    expect((await append).recordNumber).toBe(taken.length)
    expect((await batch).first.recordNumber).toBe(taken.length + 1)
    expect(await textsAfterCut(disk)).toEqual([...taken, "waited", "waited 2", "x".repeat(9000)])
    await manager.close().catch(() => {})
  })

  test("keeps memory within unflushedBytesMax across segments: what is synced goes before more is taken", async () => {
    const disk = new MemoryDisk()
    disk.onOperation = ({ kind, path }) =>
      kind === "syncData" && isSegment(path) ? pause(2).then(() => undefined) : undefined
    const limits = { segmentBytes: 64 * 1024, stagingBytes: 4096, unflushedBytesMax: 40 * 1024, journalBytes: 0 }
    const manager = await openWith(disk.layer, { ...options, ...limits })
    const stream = await manager.stream("s")
    const heldBytes = (): number => manager.observe().flush.stagingBytes
    let mostBytes = 0
    for (let taken = 0; taken < 600; ) {
      if (stream.tryAppend("x".repeat(1000)) > 0) taken++
      else await stream.ready()
      mostBytes = Math.max(mostBytes, heldBytes())
    }
    expect(mostBytes).toBeGreaterThan(32 * 1024)
    // Three such records fill a buffer but for a quarter; each of two segments has one that is being filled, and one is only in part durable.
    expect(mostBytes).toBeLessThanOrEqual(limits.unflushedBytesMax * (4 / 3) + 3 * limits.stagingBytes)
    await manager.close()
  })

  test("makes the third rollover wait with Rollover, and lets it go on when it ends", async () => {
    const { disk, letGo } = hangingDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const taken: Array<string> = []
    let code = 1
    while (code > 0) {
      const text = `${taken.length}`.padEnd(1000, ".")
      code = stream.tryAppend(text)
      if (code > 0) taken.push(text)
    }
    expect(code).toBe(APPEND_ROLLOVER)
    const append = stream.append("waited")
    letGo()
    await append
    expect(await textsAfterCut(disk)).toEqual([...taken, "waited"])
    await manager.close().catch(() => {})
  })

  test("makes durable readers stop at Tail while written ones go on", async () => {
    const { disk, letGo } = hangingDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("a", { level: "written" })
    const cursor = stream.cursor()
    expect([cursor.next(), cursor.blocked]).toEqual([false, "Tail"])
    const written = stream.cursor({ level: "written" })
    expect(written.next()).toBe(true)
    expect(() => stream.tryGet(recordId)).toThrow()
    expect(stream.tryGet(recordId, { level: "written" }).text()).toBe("a")
    const durable = stream.get(recordId)
    await pause(5)
    letGo()
    expect((await durable).text()).toBe("a")
    await cursor.ready()
    expect(cursor.next()).toBe(true)
    await manager.close()
  })

  test("lets every waiting call be ended, which loses nothing that was taken", async () => {
    const { disk, letGo } = hangingDisk()
    const manager = await openWith(disk.layer, { ...options, segmentBytes: 1024 * 1024, unflushedBytesMax: 16_384 })
    const stream = await manager.stream("s")
    const abort = new AbortController()
    const { signal } = abort
    const first = await stream.append("first", { level: "written" })
    const calls: Array<Promise<unknown>> = [
      stream.append("aborted", { signal }),
      stream.appendBatch(["b1", "b2"], { signal }),
      stream.durable(first.recordId, { signal }),
      stream.flush({ signal }),
      stream.seal({ signal }),
      stream.trim({ before: first.recordId, signal }),
      stream.get(first.recordId, { signal }),
      stream.follow({ signal }).next(),
    ].map(rejection)
    while (stream.tryAppend("x".repeat(1000)) > 0);
    calls.push(rejection(stream.ready({ signal })), rejection(stream.append("never taken".padEnd(1000), { signal })))
    await pause(5)
    abort.abort(new Error("enough"))
    for (const [at, call] of calls.entries()) expect([at, String(await call)]).toEqual([at, "Error: enough"])
    letGo()
    await stream.append("after")
    const found = await textsAfterCut(disk)
    expect(found.slice(0, 4)).toEqual(["first", "aborted", "b1", "b2"])
    expect(found.at(-1)).toBe("after")
    expect(found.filter((text) => text.startsWith("never taken"))).toEqual([])
    await manager.close().catch(() => {})
  })

  test("does not keep close beyond closeTimeoutMs, and a late end of the sync changes nothing", async () => {
    const { disk, letGo } = hangingDisk()
    const manager = await openWith(disk.layer, { ...options, closeTimeoutMs: 60 })
    const stream = await manager.stream("s")
    const waiting = rejection(stream.append("a"))
    const started = performance.now()
    expect(codeOf(await rejection(manager.close()))).toBe("ETIMEDOUT")
    expect(performance.now() - started).toBeLessThan(closeTimeoutMsDefault)
    await manager.close()
    expect(tagOf(await waiting)).toBe("Closed")
    expect(tagOf(await rejection(stream.append("b")))).toBe("Closed")
    letGo()
    await quietDisk(disk)
    expect(await texts(disk)).toEqual(["a"])
  })

  test("does not keep close when it is the last sync or that of the manifest", async () => {
    for (const part of ["/segments/0", "/manifest/"]) {
      const disk = new MemoryDisk()
      const manager = await openWith(disk.layer, { ...options, closeTimeoutMs: 60 })
      const stream = await manager.stream("s")
      await stream.append("a")
      const held: Array<() => void> = []
      disk.onOperation = ({ kind, path }) =>
        (kind === "syncData" || kind === "truncate") && path.includes(part)
          ? new Promise<undefined>((resolve) => held.push(() => resolve(undefined)))
          : undefined
      const started = performance.now()
      expect([part, codeOf(await rejection(manager.close()))]).toEqual([part, "ETIMEDOUT"])
      expect(performance.now() - started).toBeLessThan(closeTimeoutMsDefault)
      disk.onOperation = undefined
      for (const one of held) one()
      await quietDisk(disk)
      expect(await texts(disk)).toEqual(["a"])
    }
  })
})
