// Bytes of a store that was closed, or killed, are flipped, cut off, removed or added to. It always opens; reading names the range
// that does not check and goes on behind it; every record outside of that range is there with its bytes; a batch with one bad frame
// is bad as a whole; nothing is skipped in silence: what is missing was thrown as an error or stands in `manager.recovery`.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { randomOf, withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const options = { root: "/store", segmentBytes: 256 * 1024, stagingBytes: 8192, preallocateBytesMax: 0 }
const segments = "/store/streams/s/segments"
const segment = (index: number): string => `${segments}/${String(index).padStart(10, "0")}.seg`
const text = (number: number): string => `record ${number} `.padEnd(900, "0123456789")
/** The records of a batch of several frames. */
const batchFrom = 40
const batchTo = 43

/** Three segments, the last one open; the second begins with record 30 and holds a large batch. */
const makeStore = async (isClosed: boolean): Promise<MemoryDisk> => {
  const disk = new MemoryDisk()
  const manager = await openWith(disk.layer, options)
  const stream = await manager.stream("s")
  const append = async (from: number, to: number): Promise<void> => {
    for (let number = from; number < to; number++) await stream.append(text(number), { extId: number + 1 })
  }
  await append(0, 30)
  await stream.seal()
  await append(30, batchFrom)
  await stream.appendBatch(
    Array.from({ length: batchTo - batchFrom }, (_, one) => ({
      payload: text(batchFrom + one).padEnd(40_000, "."),
      extId: batchFrom + one + 1,
    })),
  )
  await append(batchTo, 50)
  await stream.seal()
  await append(50, 70)
  if (isClosed) await manager.close()
  else {
    await quietDisk(disk)
    disk.kill()
  }
  return disk
}

const recordCount = 70

/** Runs something with the directory of a disk. */
const onDisk = <A>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(Effect.provideContext(Effect.flatMap(Directory, use), disk.services()) as Effect.Effect<A>)

const change = (disk: MemoryDisk, path: string, at: number, bytes: (old: number) => number): Promise<void> =>
  onDisk(disk, (directory) =>
    Effect.sync(() => {
      const file = directory.openUnsafe(path, "write")
      const one = new Uint8Array(1)
      file.readUnsafe(one, 0, 1, at)
      one[0] = bytes(one[0]!)
      file.writeUnsafe(one, 0, 1, at)
      file.closeUnsafe()
    }),
  )

const sizeOf = (disk: MemoryDisk, path: string): Promise<number> =>
  onDisk(disk, (directory) => Effect.map(directory.readFile(path), (bytes) => bytes?.length ?? 0))

const cut = (disk: MemoryDisk, path: string, length: number): Promise<void> =>
  onDisk(disk, (directory) => {
    const file = directory.openUnsafe(path, "write")
    return Effect.ensuring(
      file.truncate(length),
      Effect.sync(() => file.closeUnsafe()),
    )
  })

interface Reading {
  readonly numbers: ReadonlyArray<number>
  readonly errors: ReadonlyArray<{ readonly from: number; readonly to: number }>
  readonly reported: number
  readonly manager: AofManager["recovery"]
}

/** Reads all that can be read by a cursor, which goes on behind damage; every record must have its own bytes. */
const readAll = (disk: MemoryDisk): Promise<Reading> =>
  withStore(disk.layer, options, async (manager) => {
    const stream = await manager.stream("s")
    const numbers: Array<number> = []
    const errors: Array<{ from: number; to: number }> = []
    const cursor = stream.cursor({ from: "start" })
    const decoder = new TextDecoder()
    for (let tries = 0; tries < 500; tries++) {
      try {
        if (!cursor.next()) break
      } catch (error) {
        const { _tag, from, to } = error as { _tag: string; from: number; to: number }
        if (_tag !== "Corrupt") throw error
        errors.push({ from, to })
        continue
      }
      const found = decoder.decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd))
      const number = cursor.recordNumber
      const isBatch = number >= batchFrom && number < batchTo
      if (found !== (isBatch ? text(number).padEnd(40_000, ".") : text(number)) && found !== "new") {
        throw new Error(`record ${number} has other bytes`)
      }
      numbers.push(number)
    }
    const reported =
      manager.recovery.quarantined.length + manager.recovery.trimmed.length + manager.recovery.manifestDamage.length
    await stream.append("new", { extId: 1_000_000 })
    return { numbers, errors, reported, manager: manager.recovery }
  })

/** What holds after any damage. */
const checkDamaged = async (what: string, disk: MemoryDisk, least: number): Promise<Reading> => {
  const fail = (why: string, reading: Reading): never => {
    throw new Error(`${what}: ${why}; ${JSON.stringify({ ...reading, numbers: reading.numbers.length })}`)
  }
  const reading = await readAll(disk)
  const { numbers, errors } = reading
  if (numbers.some((number, at) => at > 0 && number <= numbers[at - 1]!))
    fail("records come twice or out of order", reading)
  const isSilent = numbers.length < recordCount && errors.length === 0 && reading.reported === 0
  if (isSilent) fail("records are missing and nobody says so", reading)
  const batch = numbers.filter((number) => number >= batchFrom && number < batchTo).length
  if (batch !== 0 && batch !== batchTo - batchFrom) fail("a batch is there in part", reading)
  if (numbers.length < least) fail(`fewer than ${least} records are left`, reading)
  if (errors.some(({ from, to }) => !(from <= to))) fail("a range ends before it begins", reading)
  return reading
}

describe.each(["closed", "killed"])("of a store that was %s", (end: string) => {
  const make = (): Promise<MemoryDisk> => makeStore(end === "closed")

  test("any flipped byte costs at most its frame or batch, and is told", async () => {
    const base = await make()
    const random = randomOf(7)
    for (const index of [1, 2, 3]) {
      const size = await sizeOf(base, segment(index))
      const inFrames = Array.from({ length: 16 }, () => 1536 + random(Math.max(1, size - 1536)))
      for (const at of [...inFrames, 1537, 1548, 1552, size - 9, size - 100, size - 150]) {
        const disk = base.fork()
        await change(disk, segment(index), at, (old) => old ^ 0x10)
        await checkDamaged(`flip at ${at} of segment ${index}`, disk, recordCount - 4)
      }
    }
  }, 60_000)

  test("a flipped byte in a segment's header or slots is met or told", async () => {
    const base = await make()
    for (const index of [1, 2, 3]) {
      for (const at of [0, 5, 20, 33, 50, 104, 108, 300, 513, 525, 575, 1025, 1040, 1095]) {
        const disk = base.fork()
        await change(disk, segment(index), at, (old) => old ^ 0x10)
        const isHeaderOfOpen = index === 3 && at < 112
        await checkDamaged(`flip at ${at} of segment ${index}`, disk, isHeaderOfOpen ? 50 : recordCount)
      }
    }
  }, 60_000)

  test("a segment that was cut short costs what is cut off, and is told", async () => {
    const base = await make()
    for (const index of [1, 2, 3]) {
      const size = await sizeOf(base, segment(index))
      for (const length of [0, 100, 1536, 1600, 6000, 7777, size >> 1, size - 400, size - 160, size - 1]) {
        if (length >= size) continue
        const disk = base.fork()
        await cut(disk, segment(index), length)
        await checkDamaged(`segment ${index} cut to ${length} of ${size}`, disk, 40)
      }
    }
  }, 60_000)

  test("a missing segment is told, and the others are read", async () => {
    for (const index of [1, 2]) {
      const disk = await make()
      await onDisk(disk, (directory) => directory.remove(segment(index)))
      const { numbers, manager } = await checkDamaged(`segment ${index} is missing`, disk, 40)
      expect(numbers).toHaveLength(index === 1 ? 40 : 50)
      expect(manager.quarantined.length).toBeGreaterThan(0)
      expect(manager.isClean).toBe(false)
    }
  })

  test("a pointer, a manifest and strange files that do not check cost nothing", async () => {
    const base = await make()
    for (let at = 0; at < 64; at += 5) {
      const disk = base.fork()
      await change(disk, `${segments}/current.sealed`, at, (old) => old ^ 1)
      await checkDamaged(`flip at ${at} of the pointer`, disk, recordCount)
    }
    const chunk = "/store/manifest/0000000001.chunk"
    const size = await sizeOf(base, chunk)
    for (let at = 1600; at < size; at += 37) {
      const disk = base.fork()
      await change(disk, chunk, at, (old) => old ^ 1)
      const { manager, numbers } = await readAll(disk).catch((error) => {
        throw new Error(`flip at ${at} of the manifest`, { cause: error })
      })
      // The last commit of a process that was killed looks torn; what it said of segments is found in them.
      const isTold = manager.manifestDamage.length > 0
      expect([at, isTold || (end === "killed" && numbers.length === recordCount)]).toEqual([at, true])
    }
    for (const path of [
      `${segments}/0000000009.seg`,
      `${segments}/notes.txt`,
      "/store/streams/other/segments/0000000001.seg",
    ]) {
      const disk = base.fork()
      await onDisk(disk, (directory) =>
        Effect.andThen(
          directory.makeDirectory(path.slice(0, path.lastIndexOf("/"))),
          Effect.sync(() => {
            const file = directory.openUnsafe(path, "create")
            file.writeUnsafe(new Uint8Array(5000).fill(7), 0, 5000, 0)
            file.closeUnsafe()
          }),
        ),
      )
      const { numbers } = await checkDamaged(`a strange file ${path}`, disk, recordCount)
      expect(numbers).toHaveLength(recordCount)
    }
  }, 60_000)
})

test("a root file that does not check is refused with its name, and nothing is changed", async () => {
  const disk = await makeStore(true)
  // One changed byte would be put right.
  for (const at of [29, 30]) await change(disk, "/store/ROOT", at, (old) => old ^ 1)
  const error = await openWith(disk.layer, options).then(
    () => undefined,
    (one) => one,
  )
  expect(error?._tag).toBe("Corrupt")
  expect(error?.message).toContain("/store/ROOT")
  for (const at of [29, 30]) await change(disk, "/store/ROOT", at, (old) => old ^ 1)
  expect((await readAll(disk)).numbers).toHaveLength(recordCount)
})

test("where damage reaches the end of a segment, a read from there goes on with the next one", async () => {
  const disk = await makeStore(true)
  await onDisk(disk, (directory) =>
    Effect.suspend(() => {
      const file = directory.openUnsafe(segment(1), "write")
      return Effect.ensuring(
        file.truncate(9000),
        Effect.sync(() => file.closeUnsafe()),
      )
    }),
  )
  await withStore(disk.layer, options, async (manager) => {
    const stream = await manager.stream("s")
    const numbers = async (from: number | "start"): Promise<Array<number>> => {
      const found: Array<number> = []
      try {
        for await (const { recordNumber } of stream.read({ from })) found.push(recordNumber)
      } catch (error) {
        const { _tag, to } = error as { _tag: string; to: number }
        expect([from, _tag]).toEqual(["start", "Corrupt"])
        return [...found, ...(await numbers(to))]
      }
      return found
    }
    const found = await numbers("start")
    expect(found.filter((number) => number >= 30)).toEqual(Array.from({ length: 40 }, (_, i) => 30 + i))
    expect(found.filter((number) => number < 30).length).toBeLessThan(30)
  })
})

test("a store that is only read says that it was not closed in order, and which streams its manifest does not know", async () => {
  const recoveryOf = (disk: MemoryDisk) =>
    withStore(disk.layer, { ...options, readOnly: true }, async ({ recovery }) => recovery)
  expect(await recoveryOf(await makeStore(true))).toMatchObject({ isClean: true, quarantined: [], manifestDamage: [] })
  expect(await recoveryOf(await makeStore(false))).toMatchObject({
    isClean: false,
    quarantined: [],
    manifestDamage: [],
  })
  const disk = await makeStore(true)
  await onDisk(disk, (directory) => directory.removeDirectory("/store/manifest"))
  const recovery = await recoveryOf(disk)
  expect(recovery).toMatchObject({ isClean: false, quarantined: [{ stream: "s" }] })
  expect(recovery.manifestDamage).toHaveLength(1)
})

test("a segment that is missing behind damage is said to be missing, in both directions and by a read from there", async () => {
  const disk = new MemoryDisk()
  const small = { ...options, segmentBytes: 8192, stagingBytes: 4096 }
  const ids: Array<number> = []
  await withStore(disk.layer, small, async (manager) => {
    const stream = await manager.stream("s")
    for (let index = 0; index < 4; index++) {
      for (let one = 0; one < 2; one++) ids.push((await stream.append(`${index} ${one}`)).recordId)
      await stream.seal()
    }
  })
  // The last frame of the first segment; and the second one is gone.
  await change(disk, segment(1), ids[1]! % 2 ** 28, (old) => old ^ 1)
  await onDisk(disk, (directory) => directory.remove(segment(2)))
  await withStore(disk.layer, small, async (manager) => {
    const stream = await manager.stream("s")
    const missing = "records 2 to 3 are missing"
    const damage = "a frame does not check"
    let end = 0
    let gap: readonly [number, number] | undefined
    const walk = async (options: { readonly from: number | "start" | "end"; readonly reverse?: boolean }) => {
      const found: Array<number | string> = []
      const cursor = stream.cursor(options)
      for (let isOver = false; !isOver; ) {
        try {
          if (cursor.next()) found.push(cursor.recordNumber)
          else isOver = true
        } catch (error) {
          const { detail, from, to } = error as { readonly detail: string; readonly from: number; readonly to: number }
          found.push(detail)
          if (detail === damage) end = to
          else gap = [from, to]
        }
      }
      return found
    }
    expect(await walk({ from: "start" })).toEqual([0, damage, missing, 4, 5, 6, 7])
    const endOfFirst = end
    expect(gap).toEqual([endOfFirst, ids[4]!])
    expect(await walk({ from: ids[4]! })).toEqual([4, 5, 6, 7])
    expect(await walk({ from: "end", reverse: true })).toEqual([7, 6, 5, 4, missing, damage, 0])
    expect(await walk({ from: endOfFirst })).toEqual([missing, 4, 5, 6, 7])
    expect(await walk({ from: endOfFirst, reverse: true })).toEqual([damage, 0])
  })
})

test("the last segment of a root that was closed in order is missed when its file is gone or empty", async () => {
  const recoveryOf = (disk: MemoryDisk) =>
    withStore(disk.layer, options, async (manager) => {
      await (await manager.stream("s")).append("new")
      return manager.recovery
    })
  const remove = (disk: MemoryDisk) => onDisk(disk, (directory) => directory.remove(segment(3)))
  const from = 3 * 2 ** 28
  const missing = { stream: "s", from, to: from + 2 ** 28 }
  for (const change of [remove, (disk: MemoryDisk) => cut(disk, segment(3), 0)]) {
    const disk = await makeStore(true)
    await change(disk)
    expect(await recoveryOf(disk)).toMatchObject({ isClean: false, trimmed: [], quarantined: [missing] })
  }
})

test("the range of a missing segment begins behind the record before it, and reading goes on at its end", async () => {
  const disk = new MemoryDisk()
  const ids: Array<number> = []
  await withStore(disk.layer, options, async (manager) => {
    const stream = await manager.stream("s")
    for (let index = 0; index < 3; index++) {
      for (let one = 0; one < 2; one++) ids.push((await stream.append(`${index} ${one}`)).recordId)
      await stream.seal()
    }
  })
  await onDisk(disk, (directory) => directory.remove(segment(2)))
  await withStore(disk.layer, options, async (manager) => {
    const stream = await manager.stream("s")
    const read = async (from: number | "start"): Promise<ReadonlyArray<number>> => {
      const found: Array<number> = []
      for await (const record of stream.read({ from })) found.push(record.recordId)
      return found
    }
    const error = await read("start").catch((thrown) => thrown)
    expect(error).toMatchObject({ _tag: "Corrupt", to: ids[4] })
    expect(error.from).toBeGreaterThan(ids[1]!)
    expect(error.from).toBeLessThan(2 * 2 ** 28)
    expect(await read(error.to)).toEqual(ids.slice(4))
  })
})
