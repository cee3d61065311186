// What a process sees that only reads, while the writer seals, moves, trims and deletes between two looks of it.

import { describe, expect, test } from "bun:test"
import { type Aof, type AofManager, memoryStore } from "bop-aof"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import type { DiskOperation } from "../../src/testing/memory_state.ts"
import { collect, rejection, texts } from "../support/api.ts"
import { withStore } from "../support/crash_model.ts"

const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, flushIntervalMs: 5 }
const readOnly = { ...options, readOnly: true }

/** Holds the next operation that matches, until it is let go. */
const holdNext = (disk: MemoryDisk, matches: (operation: DiskOperation) => boolean) => {
  const { promise: held, resolve } = Promise.withResolvers<undefined>()
  const { promise: asked, resolve: noteAsked } = Promise.withResolvers<void>()
  disk.onOperation = (operation) => {
    if (!matches(operation)) return undefined
    disk.onOperation = undefined
    noteAsked()
    return held
  }
  return { asked, letGo: () => resolve(undefined) }
}

const removeFile = (disk: MemoryDisk, path: string): Promise<void> =>
  Effect.runPromise(Context.get(disk.services(), Directory).remove(path))

/** Seals and sends away what a stream has, and begins the next segment with two records. */
const moveOn = async (manager: AofManager, stream: Aof): Promise<void> => {
  await stream.seal()
  await stream.append("next")
  // Tells whoever reads that the one before is durable.
  await stream.append("last")
  await manager.settled()
  await stream.evict({ to: "tier1" })
}

const isManifestList = ({ kind, path }: DiskOperation): boolean => kind === "list" && path === "/store/manifest"
const isWarmList = ({ kind, path }: DiskOperation): boolean => kind === "list" && path === "/store/streams/orders/warm"

describe("a look that the writer overtakes", () => {
  test("sees no hole where a segment was sealed and moved between the manifest and the listing", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("seen")
      await withStore(disk.layer, readOnly, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        const unseen = await orders.append("unseen")
        const { asked, letGo } = holdNext(disk, isManifestList)
        const got = seen.get(unseen.recordId)
        await asked
        await moveOn(manager, orders)
        letGo()
        expect((await got).text()).toBe("unseen")
        expect((await texts(seen)).slice(0, 3)).toEqual(["seen", "unseen", "next"])
      })
    })
  })

  test("is repeated also when another look has read the manifest meanwhile", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await manager.stream("other")
      await orders.append("first")
      await orders.seal()
      await orders.append("seen")
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        const unseen = await orders.append("unseen")
        const { asked, letGo } = holdNext(disk, isWarmList)
        const got = seen.get(unseen.recordId)
        await asked
        await moveOn(manager, orders)
        await reader.stream("other", { create: false })
        letGo()
        expect((await got).text()).toBe("unseen")
        expect((await texts(seen)).slice(0, 4)).toEqual(["first", "seen", "unseen", "next"])
      })
    })
  })

  test("fails in the end and is not believed, when each one is overtaken", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      await orders.seal()
      await orders.append("seen")
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        const unseen = await orders.append("unseen")
        const overtake = async (): Promise<undefined> => {
          await orders.append("more")
          await moveOn(manager, orders)
          return undefined
        }
        disk.onOperation = (operation) => (isWarmList(operation) ? overtake() : undefined)
        const error = await rejection(() => seen.get(unseen.recordId))
        disk.onOperation = undefined
        expect(error).toMatchObject({ _tag: "Unavailable", code: "EAGAIN", retryable: true })
        expect((await seen.get(unseen.recordId)).text()).toBe("unseen")
        expect((await texts(seen)).slice(0, 3)).toEqual(["first", "seen", "unseen"])
      })
    })
  })

  test("of a stream that is deleted while it is opened says that it is not there", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      await orders.seal()
      await orders.append("second")
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const { asked, letGo } = holdNext(disk, isWarmList)
        const opened = reader.stream("orders", { create: false })
        await asked
        await manager.deleteStream("orders")
        letGo()
        expect(await rejection(() => opened)).toMatchObject({ _tag: "NotFound", what: "stream" })
      })
    })
  })
})

describe("a view", () => {
  test("of a segment whose only copy was lost goes on behind it and says what is missing", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      const ids: Array<number> = []
      for (const text of ["first", "lost", "last"]) {
        ids.push((await orders.append(text)).recordId)
        await orders.seal()
      }
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        await removeFile(disk, "/store/streams/orders/segments/0000000002.seg")
        const cursor = seen.cursor({ from: "start" })
        const found: Array<string> = []
        for (let isOver = false; !isOver; ) {
          try {
            if (cursor.next()) {
              found.push(new TextDecoder().decode(cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd)))
            } else isOver = true
          } catch (error) {
            const { _tag, message } = error as { _tag: string; message: string }
            if (_tag === "WouldBlock") await cursor.ready().catch(({ message }) => found.push(message))
            else found.push(message)
          }
        }
        expect(found).toEqual(["first", "stream orders: records 1 to 1 are missing", "last"])
        expect(await rejection(() => seen.get(ids[1]!))).toMatchObject({ _tag: "Corrupt" })
        const back = await rejection(() => collect(seen.read({ from: "end", reverse: true })))
        expect(back).toMatchObject({ _tag: "Corrupt" })
      })
    })
  })

  test("goes on behind what was trimmed when its objects have gone, and says where the stream begins", async () => {
    const store = memoryStore()
    const disk = new MemoryDisk()
    const withTier2 = {
      ...options,
      tier0: { frameCacheBytes: 1024 * 1024 },
      tier1: { residencyMsMin: 0 },
      tier2: { store, deleteGraceMs: 0, headIntervalMs: 0 },
    }
    await withStore(disk.layer, withTier2, async (manager) => {
      const orders = await manager.stream("orders")
      const ids: Array<number> = []
      for (let segment = 0; segment < 40; segment++) {
        for (let one = 0; one < 4; one++) {
          const bytes = crypto.getRandomValues(new Uint8Array(1500))
          ids.push((await orders.append(bytes)).recordId)
        }
        await orders.seal()
      }
      await manager.settled()
      await orders.evict({ to: "tier2" })
      await withStore(disk.layer, { ...withTier2, readOnly: true }, async (reader) => {
        const seen = await reader.stream("orders", { create: false })
        const cursor = seen.cursor({ from: "start" })
        const numbers: Array<number> = []
        const errors: Array<{ _tag: string; limit: unknown }> = []
        while (numbers.at(-1) !== 159) {
          try {
            if (cursor.next()) {
              numbers.push(cursor.recordNumber)
              if (numbers.length !== 2) continue
              await orders.trim({ before: ids[120]! })
              await manager.settled()
              while (manager.observe().backlog.deletes > 0) await new Promise((resolve) => setTimeout(resolve, 5))
            } else await cursor.ready()
          } catch (error) {
            const thrown = error as { _tag: string; limit: unknown }
            if (thrown._tag === "WouldBlock") await cursor.ready().catch((one) => errors.push(one))
            else errors.push(thrown)
            expect(errors.length).toBeLessThan(3)
          }
        }
        expect(errors).toMatchObject([{ _tag: "NotFound", limit: ids[120] }])
        expect(numbers.filter((number) => number >= 120)).toEqual(Array.from({ length: 40 }, (_, i) => 120 + i))
        expect(await rejection(() => seen.get(ids[10]!))).toMatchObject({ _tag: "NotFound", limit: ids[120] })
      })
    })
  }, 20_000)

  test("keeps nothing of trimmed segments and deleted streams", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    await withStore(disk.layer, options, async (manager) => {
      await withStore(disk.layer, readOnly, async (reader) => {
        for (let round = 0; round < 5; round++) {
          const orders = await manager.stream("orders")
          let recordId = 0
          for (let segment = 0; segment < 5; segment++) {
            ;({ recordId } = await orders.append("x"))
            await orders.seal()
          }
          await manager.settled()
          const seen = await reader.stream("orders", { create: false })
          await collect(seen.read())
          await orders.trim({ before: recordId })
          await collect(seen.read())
          expect(reader.observe().tier0.segments).toBe(1)
          await manager.deleteStream("orders")
        }
        await rejection(() => reader.stream("orders", { create: false }))
        expect(reader.observe().tier0.segments).toBe(0)
      })
    })
  })

  test("leaves no file open, neither of a stream that was closed while it looked nor when a header cannot be read", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      await orders.seal()
      await orders.append("second")
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const broken = await reader.stream("orders", { create: false })
        disk.onOperation = ({ kind, path }) => (kind === "read" && path.endsWith("0000000002.seg") ? "EIO" : undefined)
        expect(await rejection(() => broken.get(2 ** 28 * 9))).toMatchObject({ code: "EIO" })
        const { asked, letGo } = holdNext(disk, isWarmList)
        const got = rejection(() => broken.get(2 ** 28 * 9))
        await asked
        await broken.close()
        letGo()
        await got
        await manager.deleteStream("orders")
        await rejection(() => reader.stream("orders", { create: false }))
        // A file without a name counts for as long as somebody has it open.
        const before = disk.usedBytes
        await reader.close()
        expect(disk.usedBytes).toBe(before)
      })
    })
  })

  test("is up to date before a scrub of it calls something missing, and knows what is really missing", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      await orders.seal()
      await orders.append("second")
      await manager.settled()
      await withStore(disk.layer, readOnly, async (reader) => {
        const scrub = async () => (await reader.scrub()).findings.map(({ tier, problem }) => `${tier} ${problem}`)
        const steps: Array<() => Promise<unknown>> = [
          async () => {},
          () => orders.evict({ to: "tier1" }),
          async () => {
            await orders.seal()
            await orders.append("third")
          },
          async () => {
            const { recordId } = await orders.append("fourth")
            await orders.seal()
            await orders.trim({ before: recordId })
          },
        ]
        for (const step of steps) {
          await step()
          await manager.settled()
          expect(await scrub()).toEqual([])
        }
        // Also when it moves between the look and the file.
        const { asked, letGo } = holdNext(disk, ({ kind, path }) => kind === "sizeOf" && path.endsWith(".seg"))
        const moving = scrub()
        await asked
        await orders.evict({ to: "tier1" })
        letGo()
        expect(await moving).toEqual([])
        await removeFile(disk, "/store/streams/orders/warm/0000000003.seg.zst")
        expect(await scrub()).toEqual(["tier0 missing"])
        await manager.deleteStream("orders")
        expect(await scrub()).toEqual([])
      })
    })
  })

  // Eight times, as only files of one length can be taken for each other.
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "takes no warm file for its own that is that of a new stream of the same name (%d)",
    async () => {
      const disk = new MemoryDisk()
      await withStore(disk.layer, { ...options, segmentBytes: 65_536 }, async (manager) => {
        const fill = async (): Promise<void> => {
          const orders = await manager.stream("orders")
          for (let one = 0; one < 40; one++) {
            await orders.append(crypto.getRandomValues(new Uint8Array(900)), { timestampMs: 1e12 + one })
          }
          await orders.seal()
          await manager.settled()
          await orders.evict({ to: "tier1" })
        }
        await fill()
        await withStore(disk.layer, readOnly, async (reader) => {
          const seen = await reader.stream("orders", { create: false })
          const { firstId } = seen.info()
          await manager.deleteStream("orders")
          await fill()
          // By then it may have looked again by itself, and know.
          const next = await rejection(async () => seen.cursor({ from: "start" }).next())
          expect(["WouldBlock", "Closed"]).toContain(next._tag)
          expect(await rejection(() => seen.get(firstId))).toMatchObject({ _tag: "Closed" })
        })
      })
    },
  )

  test("of a stream that is appended to all the time with many others shows what it has, though nothing is in its file for the writer's sake", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    await withStore(disk.layer, { root: "/store" }, async (manager) => {
      const streams = await Promise.all(Array.from({ length: 8 }, (_, i) => manager.stream(`s${i}`)))
      await Promise.all(streams.map((stream) => stream.append("first")))
      await withStore(disk.layer, { root: "/store", readOnly: true }, async (reader) => {
        const seen = await reader.stream("s3", { create: false })
        let round = 0
        let isOver = false
        const appending = (async () => {
          for (; !isOver; round++) {
            await Promise.all(streams.map((stream) => stream.append(`${round}`)))
            await new Promise((resolve) => setTimeout(resolve, 5))
          }
        })()
        for await (const record of seen.follow({ from: "start" })) if (record.recordNumber === 150) break
        isOver = true
        await appending
        // Without that it comes when the first buffer is full, after some 900.
        expect(round).toBeLessThan(600)
        // All of it by the journal, which counts.
        expect(manager.observe().flush.syncs).toBeGreaterThan(150)
      })
    })
  }, 20_000)

  test("calls no stream unknown whose deletion has not come to its folder yet", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const orders = await manager.stream("orders")
      await orders.append("first")
      const { asked, letGo } = holdNext(disk, ({ kind }) => kind === "rename")
      const deleted = manager.deleteStream("orders")
      await asked
      await withStore(disk.layer, readOnly, async ({ recovery }) => {
        expect(recovery).toMatchObject({ quarantined: [], manifestDamage: [] })
      })
      letGo()
      await deleted
    })
  })

  test("reads a warm file that was made anew in another form, also when it looked while there was none", async () => {
    const disk = new MemoryDisk()
    const withLevel = (level: number) => ({ ...options, segmentBytes: 262_144, tier1: { level, residencyMsMin: 0 } })
    await withStore(disk.layer, withLevel(1), async (manager) => {
      const orders = await manager.stream("orders")
      for (let one = 0; one < 200; one++) await orders.append(`record ${one} `.padEnd(900, `${one * 7919} abc `))
      await orders.seal()
      await manager.settled()
      await orders.evict({ to: "tier1" })
    })
    await withStore(disk.layer, readOnly, async (reader) => {
      const seen = await reader.stream("orders", { create: false })
      expect(await texts(seen)).toHaveLength(200)
      await withStore(disk.layer, withLevel(1), async (manager) => {
        await (await manager.stream("orders")).prefetch({ to: "tier0" })
      })
      await removeFile(disk, "/store/streams/orders/warm/0000000001.seg.zst")
      expect(await texts(seen)).toHaveLength(200)
      await withStore(disk.layer, withLevel(19), async (manager) => {
        await manager.settled()
        await (await manager.stream("orders")).evict({ to: "tier1" })
      })
      expect(await texts(seen)).toHaveLength(200)
      const { firstId, lastId } = seen.info()
      expect((await seen.get(firstId)).text().startsWith("record 0 ")).toBe(true)
      expect((await seen.get(lastId)).text().startsWith("record 199 ")).toBe(true)
    })
  })
})
