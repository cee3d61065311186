// What one process leaves to the next: numbers, ids, and what the application said of itself.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { openWith } from "../../src/api/manager.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const onDisk = <A>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(use(Context.get(disk.services(), Directory)) as Effect.Effect<A>)

const options = { root: "/store", segmentBytes: 8192, preallocateBytesMax: 0, flushIntervalMs: 3_600_000 }

describe("the position of the application", () => {
  test("is there again after a close, a seal, and a kill of an idle process", async () => {
    const disk = new MemoryDisk()
    const storedValue = (): Promise<bigint> =>
      withStore(disk.layer, options, async (manager) => (await manager.stream("s")).coordinatorWatermark)
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("s")
      await stream.append("a")
      stream.setCoordinatorWatermark(7)
    })
    expect(await storedValue()).toBe(7n)
    await withStore(disk.layer, options, async (manager) => (await manager.stream("s")).setCoordinatorWatermark(8))
    expect(await storedValue()).toBe(8n)
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("s")
      stream.setCoordinatorWatermark(9)
      await stream.seal()
    })
    expect(await storedValue()).toBe(9n)
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    stream.setCoordinatorWatermark(10)
    await stream.append("b")
    await quietDisk(disk)
    disk.kill()
    expect(await storedValue()).toBe(10n)
    await manager.close().catch(() => {})
  })
})

describe("an id that was given and lost", () => {
  test("does not come again when a resumed segment was killed before anything was written", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => (await manager.stream("s")).append("a"))
    const manager = await openWith(disk.layer, options)
    const lost = (await manager.stream("s")).tryAppend("lost")
    expect(lost).toBeGreaterThan(0)
    disk.kill()
    await manager.close().catch(() => {})
    await withStore(disk.layer, options, async (again) => {
      const ack = await (await again.stream("s")).append("b")
      expect(ack.recordNumber).toBe(1)
      expect(ack.recordId).toBeGreaterThan(lost)
      await expect((await again.stream("s")).get(lost)).rejects.toMatchObject({ _tag: "InvalidArgument" })
    })
  })

  test("does not come again when it was given behind a segment that was about to be sealed, whatever a power cut leaves", async () => {
    for (const end of ["kill", "entries", "everything"] as const) {
      const disk = new MemoryDisk()
      await withStore(disk.layer, options, async (manager) => (await manager.stream("s")).append("a"))
      const manager = await openWith(disk.layer, options)
      const stream = await manager.stream("s")
      stream.seal().catch(() => undefined)
      const lost = stream.tryAppend("lost")
      expect(lost).toBeGreaterThan(2 ** 29)
      if (end === "kill") disk.kill()
      else disk.crash(({ kind }) => end === "everything" || (kind !== "write" && kind !== "truncate"))
      expect(disk.paths().some((path) => path.endsWith("0000000002.seg"))).toBe(true)
      await manager.close().catch(() => {})
      await withStore(disk.layer, options, async (again) => {
        const { recordId } = await (await again.stream("s")).append("b")
        expect(recordId).toBeGreaterThan(lost)
      })
    }
  })

  test("does not come again when an idle process was killed with records in memory", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    await quietDisk(disk)
    const lost = stream.tryAppend("lost")
    disk.kill()
    await manager.close().catch(() => {})
    const id = await withStore(disk.layer, options, async (again) => (await again.stream("s")).append("b"))
    expect(id.recordId).toBeGreaterThan(lost)
  })
})

describe("an id", () => {
  test("is found again whatever was looked at before it was written", async () => {
    const disk = new MemoryDisk({ mapsFiles: false })
    await withStore(disk.layer, { ...options, segmentBytes: 1024 * 1024, stagingBytes: 4096 }, async (manager) => {
      const stream = await manager.stream("s")
      const ids: Array<number> = []
      for (let number = 0; number < 200; number++) {
        const text = `${number}`.padEnd(300, ".")
        ids.push(stream.tryAppend(text))
        // Reads ahead in the file, up to where bytes are still in memory.
        const one = ids[Math.max(0, number - 16)]!
        if (number % 3 === 0) expect((await stream.durable(one)).recordId).toBe(one)
        if (number % 50 === 49) await stream.flush()
      }
      for (const [number, id] of ids.entries()) expect((await stream.durable(id)).recordNumber).toBe(number)
      for (const [number, id] of ids.entries()) expect((await stream.get(id)).recordNumber).toBe(number)
    })
  })
})

describe("a trim that overtook a seal", () => {
  test("leaves nothing that looks like damage", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("first")
    await stream.seal()
    await stream.append("second")
    disk.onOperation = ({ kind, path }) =>
      kind === "truncate" && path.endsWith("0000000002.seg") ? new Promise<undefined>(() => {}) : undefined
    void stream.seal().catch(() => {})
    await quietDisk(disk)
    const { recordId } = await stream.append("third")
    await stream.trim({ before: recordId })
    disk.kill()
    disk.onOperation = undefined
    await withStore(disk.layer, options, async (again) => {
      expect(again.recovery.quarantined).toEqual([])
      const found = await again.stream("s")
      expect([found.info().count, found.info().firstRecordNumber, found.info().firstId]).toEqual([1, 2, recordId])
      expect((await found.append("fourth")).recordNumber).toBe(3)
    })
  })
})

describe("an empty segment at the end", () => {
  test("does not hide the last record", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const { recordId } = await stream.append("a".repeat(3000))
    await stream.append("b".repeat(3000))
    let isNext = false
    disk.onOperation = ({ kind, path, from }) => {
      if (path.endsWith("0000000002.seg")) isNext = true
      // The header of the second segment is written, its first frame is not.
      return isNext && kind === "write" && from > 0 ? "EIO" : undefined
    }
    stream.tryAppend("c".repeat(3000))
    await quietDisk(disk)
    disk.kill()
    await manager.close().catch(() => {})
    disk.onOperation = undefined
    await withStore(disk.layer, options, async (again) => {
      const found = await again.stream("s")
      expect(found.info().count).toBe(2)
      expect(found.info().lastId).toBeGreaterThan(recordId)
      expect((await found.durable(found.info().lastId)).recordNumber).toBe(1)
    })
  })
})

describe("a stream that was being deleted", () => {
  test("is gone for good when its record was durable and its directory was not moved yet", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    await (await manager.stream("s")).append("a")
    disk.onOperation = ({ kind, path }) => (kind === "rename" && path.endsWith("/s") ? "EIO" : undefined)
    await manager.deleteStream("s").catch(() => {})
    disk.onOperation = undefined
    disk.crash(() => false)
    await manager.close().catch(() => {})
    await withStore(disk.layer, options, async (again) => {
      expect([again.streams(), again.recovery.quarantined]).toEqual([[], []])
      expect((await again.stream("s")).info().count).toBe(0)
    })
    const left = Effect.flatMap(Directory, (directory) => directory.kind("/store/quarantine"))
    expect(await Effect.runPromise(Effect.provideContext(left, disk.services()))).toBe("missing")
  })
})

describe("a footer that the manifest was not told of", () => {
  const path = "/store/streams/s/segments/0000000001.seg"
  const texts = Array.from({ length: 20 }, (_, number) => `${number}`.padEnd(200, "."))

  /** A disk with such a segment, as a kill leaves it. */
  const killed = async (): Promise<MemoryDisk> => {
    const disk = new MemoryDisk({ mapsFiles: false })
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.appendBatch(texts)
    let isTailing = false
    disk.onOperation = ({ kind, path: where }) => {
      if (kind === "truncate" && where === path) isTailing = true
      return isTailing && kind === "rename" ? "EIO" : undefined
    }
    await stream.seal().catch(() => {})
    disk.kill()
    disk.onOperation = undefined
    await manager.close().catch(() => {})
    return disk
  }

  /** Opens it until the segment is sealed; gives what a scrub finds and the kinds of operations on its file. */
  const reopened = async (
    disk: MemoryDisk,
  ): Promise<{ problems: ReadonlyArray<string>; kinds: Set<string>; events: ReadonlyArray<string> }> => {
    const kinds = new Set<string>()
    const events: Array<string> = []
    disk.onOperation = ({ kind, path: where }) => {
      if (where === path) kinds.add(kind)
      return undefined
    }
    const onEvent = ({ name }: { readonly name: string }): void => void events.push(name)
    const problems = await withStore(disk.layer, { ...options, onEvent }, async (manager) => {
      const stream = await manager.stream("s")
      expect((await stream.append("next")).recordNumber).toBe(texts.length)
      while (stream.info().segments[0]?.state !== "sealed") await new Promise((resolve) => setTimeout(resolve, 1))
      return (await manager.scrub({ bytesPerSecond: 2 ** 36 })).findings.map(({ problem }) => problem)
    })
    disk.onOperation = undefined
    return { problems, kinds, events }
  }

  test("is taken as it is", async () => {
    const disk = await killed()
    const before = disk.contentOf(path)
    const { problems, kinds } = await reopened(disk)
    expect([problems, kinds.has("truncate"), disk.contentOf(path)]).toEqual([[], false, before])
  })

  test("is made anew when a power cut has torn its last bytes", async () => {
    const disk = await killed()
    disk.damage(path, disk.contentOf(path)!.length - 8, new Uint8Array(8))
    const { problems, kinds } = await reopened(disk)
    expect([problems, kinds.has("truncate")]).toEqual([[], true])
  })

  test("is looked at by the opening where there are more of them than a crash can leave", async () => {
    const disk = new MemoryDisk({ mapsFiles: false })
    const count = 12
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("s")
      for (let number = 0; number < count; number++) {
        await stream.append(`${number}`)
        await stream.seal()
      }
    })
    for (const lost of disk.paths().filter((one) => one.startsWith("/store/manifest/"))) {
      await onDisk(disk, (directory) => directory.remove(lost))
    }
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    const { segments } = stream.info()
    expect(segments.slice(0, count - 3).map(({ state }) => state)).toEqual(Array(count - 3).fill("sealed"))
    const found: Array<string> = []
    for await (const record of stream.read()) found.push(record.text())
    expect(found).toEqual(Array.from({ length: count }, (_, number) => `${number}`))
    await manager.close()
  })

  test("does not hide that a frame is damaged", async () => {
    const disk = await killed()
    disk.damage(path, 1800, new TextEncoder().encode("damage"))
    const { problems, events } = await reopened(disk)
    expect([problems, events.includes("tier0_corrupt")]).toEqual([["content"], true])
  })
})
