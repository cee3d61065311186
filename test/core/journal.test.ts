// The commit journal: many streams share one sync, and what was acknowledged is there after any end. `journal_cuts.test.ts` cuts the power.

import { describe, expect, test } from "bun:test"
import type { AofManager, AofManagerOptions } from "bop-aof"
import { decodeRootFile, featureJournal, featureJournalInUse } from "../../src/format/root_file.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const KiB = 1024
const options: AofManagerOptions = {
  root: "/store",
  journalBytes: 256 * KiB,
  journalStreamsMin: 2,
  segmentBytes: 64 * KiB,
}
const streamCount = 16
const isJournal = (path: string): boolean => path.endsWith(".jnl")

/** Rounds of one append to each stream, all at once; what was acknowledged is in `acked`. */
const rounds = async (
  manager: AofManager,
  { from, to, bytes = 100 }: { readonly from: number; readonly to: number; readonly bytes?: number },
  acked: Map<string, Array<string>> = new Map(),
): Promise<Map<string, Array<string>>> => {
  const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
  for (let round = from; round < to; round++) {
    await Promise.all(
      streams.map(async (stream, at) => {
        const text = `${at}-${round} `.padEnd(bytes, ".")
        await stream.append(text)
        const own = acked.get(stream.name) ?? []
        acked.set(stream.name, [...own, text])
      }),
    )
  }
  return acked
}

const contentOf = async (manager: AofManager): Promise<Map<string, Array<string>>> => {
  const found = new Map<string, Array<string>>()
  for (const name of manager.streams()) {
    const texts: Array<string> = []
    for await (const record of (await manager.stream(name)).read({ from: "start" })) texts.push(record.text())
    if (texts.length > 0) found.set(name, texts)
  }
  return new Map([...found].sort())
}

const sorted = (acked: Map<string, Array<string>>): Map<string, Array<string>> => new Map([...acked].sort())

describe("streams that want durability at once", () => {
  test("share the syncs of the journal, and their own files follow when they are quiet", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const acked = await rounds(manager, { from: 0, to: 1 })
      await quietDisk(disk)
      const synced: Array<string> = []
      disk.onOperation = (operation) => {
        if (operation.kind === "syncData") synced.push(operation.path)
      }
      await rounds(manager, { from: 1, to: 11 }, acked)
      const shared = synced.filter(isJournal).length
      expect(shared).toBeGreaterThan(0)
      // Ten rounds of sixteen streams: with a sync for each it would be 160.
      expect(synced.length).toBeLessThan(60)
      await new Promise((resolve) => setTimeout(resolve, 150))
      await quietDisk(disk)
      expect(new Set(synced.filter((path) => path.endsWith(".seg"))).size).toBe(streamCount)
      expect(await contentOf(manager)).toEqual(sorted(acked))
    })
  })

  test("leave no journal behind when the store is closed, and the root file says that there was one", async () => {
    const disk = new MemoryDisk()
    const features = (): ReadonlyArray<number> => {
      const { featuresIncompatible, featuresCompatible } = decodeRootFile(disk.contentOf("/store/ROOT")!)!
      return [featuresIncompatible, featuresCompatible]
    }
    const acked = await withStore(disk.layer, options, async (manager) => {
      const begun = await rounds(manager, { from: 0, to: 5 })
      await quietDisk(disk)
      expect(features()).toEqual([featureJournal, featureJournalInUse])
      return rounds(manager, { from: 5, to: 7 }, begun)
    })
    expect(disk.paths().filter(isJournal)).toEqual([])
    expect(features()).toEqual([featureJournal, 0])
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.isClean).toBe(true)
      expect(await contentOf(manager)).toEqual(sorted(acked))
    })
  })

  test("do without one when it is off, and the root file stays as it was", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, { ...options, journalBytes: 0 }, async (manager) => {
      await rounds(manager, { from: 0, to: 5 })
      expect(disk.paths().filter(isJournal)).toEqual([])
    })
    expect(decodeRootFile(disk.contentOf("/store/ROOT")!)!.featuresIncompatible).toBe(0)
  })

  test("go on through many uses of its files", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    let acked = new Map<string, Array<string>>()
    await withStore(disk.layer, options, async (manager) => {
      // Fifty times what one file holds.
      acked = await rounds(manager, { from: 0, to: 200, bytes: 2 * KiB })
      expect(disk.paths().filter(isJournal).length).toBeGreaterThan(0)
      expect(await contentOf(manager)).toEqual(sorted(acked))
    })
    await withStore(disk.layer, options, async (manager) => expect(await contentOf(manager)).toEqual(sorted(acked)))
  })

  test("lose nothing when the process is killed before their own files have it", async () => {
    const disk = new MemoryDisk()
    let acked = new Map<string, Array<string>>()
    await withStore(disk.layer, options, async (manager) => {
      acked = await rounds(manager, { from: 0, to: 20 })
      disk.kill()
    }).catch(() => undefined)
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.quarantined).toEqual([])
      expect(await contentOf(manager)).toEqual(sorted(acked))
    })
  })

  test("sync their own files when the journal cannot be written or synced", async () => {
    for (const kind of ["write", "syncData", "create", "zeroFill"] as const) {
      const disk = new MemoryDisk()
      let acked = new Map<string, Array<string>>()
      await withStore(disk.layer, options, async (manager) => {
        acked = await rounds(manager, { from: 0, to: 3 })
        disk.onOperation = (operation) => (operation.kind === kind && isJournal(operation.path) ? "EIO" : undefined)
        await rounds(manager, { from: 3, to: 10 }, acked)
        disk.onOperation = undefined
        disk.crash(() => false)
      }).catch(() => undefined)
      await withStore(disk.layer, options, async (manager) => {
        expect(manager.recovery.quarantined).toEqual([])
        expect(await contentOf(manager)).toEqual(sorted(acked))
      })
    }
  })

  test("name damage of a group, and keep what is in the others", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await rounds(manager, { from: 0, to: 30 })
      disk.kill()
    }).catch(() => undefined)
    const path = disk
      .paths()
      .find((one) => isJournal(one) && (disk.contentOf(one)?.[512] ?? 0) + (disk.contentOf(one)?.[513] ?? 0) > 0)!
    const at = 512 + 40
    disk.damage(path, at, Uint8Array.of(disk.contentOf(path)![at]! ^ 1))
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.manifestDamage.join()).toContain("journal file")
      expect(manager.streams().length).toBe(streamCount)
    })
  })
})

const thrownBy = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return error
  }
}

describe("a segment that was begun without a file", () => {
  /** The store is journaling: what is appended to a new stream has no file yet. */
  const begin = async (manager: AofManager) => {
    await rounds(manager, { from: 0, to: 3 })
    const stream = await manager.stream("new")
    await Promise.all([stream.append("first"), rounds(manager, { from: 3, to: 4 })])
    return stream
  }

  test("has one when it is sealed, and when the store is closed", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      const stream = await begin(manager)
      await stream.seal()
      expect(stream.segments()[0]).toMatchObject({ state: "sealed", tier: "tier0" })
      await Promise.all([stream.append("second"), rounds(manager, { from: 4, to: 5 })])
    })
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.recovery.isClean).toBe(true)
      expect((await contentOf(manager)).get("new")).toEqual(["first", "second"])
    })
  })

  test("is there after a power cut that has left nothing but what was synced", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await begin(manager)
      disk.crash(() => false)
    }).catch(() => undefined)
    await withStore(disk.layer, options, async (manager) => {
      expect((await contentOf(manager)).get("new")).toEqual(["first"])
    })
  })

  test("does not give an id again that was given before a kill", async () => {
    const disk = new MemoryDisk()
    let last = 0
    await withStore(disk.layer, options, async (manager) => {
      await rounds(manager, { from: 0, to: 3 })
      const stream = await manager.stream("new")
      for (let i = 0; i < 5; i++) last = stream.tryAppend(`given ${i}`)
      disk.kill()
    }).catch(() => undefined)
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      expect(stream.tryAppend("after")).toBeGreaterThan(last)
    })
  })

  /** Ends with a kill just after an id was given in a stream that has no file; the id, and what was acknowledged. */
  const giveAndKill = async (
    disk: MemoryDisk,
    end = (one: MemoryDisk): void => one.kill(),
  ): Promise<{ readonly last: number; readonly acked: Map<string, Array<string>> }> => {
    let last = 0
    const acked = new Map<string, Array<string>>()
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      await rounds(manager, { from: 0, to: 3 }, acked)
      let syncs = 0
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "syncData" || !isJournal(path) || ++syncs !== 6) return
        last = stream.tryAppend("given")
        end(disk)
      }
      await rounds(manager, { from: 3, to: 20 }, acked)
    }).catch(() => undefined)
    disk.onOperation = undefined
    expect(disk.paths().filter((path) => path.includes("/new/"))).toEqual([])
    return { last, acked }
  }

  const appendAgain = async (manager: AofManager): Promise<number> => (await manager.stream("new")).tryAppend("after")

  test("nor when it was given while the first file of the journal was being made", async () => {
    const disk = new MemoryDisk()
    let last = 0
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "zeroFill" || !path.includes("/journal/") || last > 0) return
        last = stream.tryAppend("given")
        disk.kill()
      }
      await rounds(manager, { from: 0, to: 1 })
    }).catch(() => undefined)
    disk.onOperation = undefined
    expect(last).toBeGreaterThan(0)
    expect(await withStore(disk.layer, options, appendAgain)).toBeGreaterThan(last)
  })

  test("does not give it again either when its stream, or the whole store, was closed in between", async () => {
    for (const between of ["stream", "store"] as const) {
      const disk = new MemoryDisk()
      const { last } = await giveAndKill(disk)
      const again = await withStore(disk.layer, options, async (manager) => {
        await (await manager.stream("new")).close()
        return between === "stream" ? appendAgain(manager) : 0
      })
      expect(again || (await withStore(disk.layer, options, appendAgain))).toBeGreaterThan(last)
    }
  })

  test("nor when the process that gave it had left out indexes itself", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await (await manager.stream("new")).append("first")
      await rounds(manager, { from: 0, to: 3 })
      disk.kill()
    }).catch(() => undefined)
    let last = 0
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "syncData" || !isJournal(path) || last > 0) return
        last = stream.tryAppend("given")
        disk.kill()
      }
      await rounds(manager, { from: 3, to: 20 })
    }).catch(() => undefined)
    disk.onOperation = undefined
    expect(last).toBeGreaterThan(2 * 2 ** 28)
    expect(await withStore(disk.layer, options, appendAgain)).toBeGreaterThan(last)
  })

  test("nor when the segment before was closed in order, and was about to be sealed", async () => {
    const disk = new MemoryDisk()
    let last = 0
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      await stream.append("first")
      await stream.close()
      await rounds(manager, { from: 0, to: 3 })
      const again = await manager.stream("new")
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "syncData" || !isJournal(path) || last > 0) return
        again.seal().catch(() => undefined)
        last = again.tryAppend("given")
        disk.kill()
      }
      await rounds(manager, { from: 3, to: 20 })
    }).catch(() => undefined)
    disk.onOperation = undefined
    expect(last).toBeGreaterThan(2 ** 29)
    expect(await withStore(disk.layer, options, appendAgain)).toBeGreaterThan(last)
  })

  test("is not begun behind one that was closed in order and could not be sealed", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await (await manager.stream("new")).append("first")
    })
    await withStore(disk.layer, options, async (manager) => {
      const stream = await manager.stream("new")
      await rounds(manager, { from: 0, to: 3 })
      let refused: unknown
      disk.onOperation = ({ kind, path }) => {
        if (path.includes("/new/")) return "EIO"
        // The store is journaling at this moment.
        if (kind === "syncData" && isJournal(path)) refused ??= thrownBy(() => stream.tryAppend("given"))
        return undefined
      }
      await expect(stream.seal()).rejects.toMatchObject({ _tag: "Unavailable" })
      await rounds(manager, { from: 3, to: 6 })
      expect(refused).toMatchObject({ _tag: "Unavailable", code: "EIO" })
      await expect(stream.close()).rejects.toMatchObject({ _tag: "Unavailable" })
      disk.onOperation = undefined
      expect(await appendAgain(manager)).toBeGreaterThan(2 ** 28)
      await (await manager.stream("new")).flush()
      expect((await contentOf(manager)).get("new")).toEqual(["first", "after"])
    })
  })

  test("nor when the process in between could not open the store, which loses nothing either", async () => {
    const disk = new MemoryDisk()
    // What the journal has is all there is of most of it.
    const { last, acked } = await giveAndKill(disk, (one) => one.crash(() => false))
    disk.onOperation = ({ kind, path }) => (kind === "write" && path.includes("/s7/") ? "EIO" : undefined)
    expect(await withStore(disk.layer, options, async () => "opened").catch(() => "failed")).toBe("failed")
    disk.onOperation = undefined
    await withStore(disk.layer, options, async (manager) => {
      const found = await contentOf(manager)
      for (const [name, texts] of acked) expect(found.get(name)?.slice(0, texts.length)).toEqual(texts)
      expect(await appendAgain(manager)).toBeGreaterThan(last)
    })
  })

  test("is nothing that a scrub complains of", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await begin(manager)
      expect((await manager.scrub()).findings).toEqual([])
    })
  })

  test("is there as long as the deletion of its stream is not durable", async () => {
    const disk = new MemoryDisk()
    const small: AofManagerOptions = { ...options, journalBytes: 64 * KiB }
    await withStore(disk.layer, small, async (manager) => {
      await rounds(manager, { from: 0, to: 3 })
      const stream = await manager.stream("doomed")
      await Promise.all([stream.append("acknowledged"), rounds(manager, { from: 3, to: 4 })])
      expect(disk.paths().filter((path) => path.includes("/doomed/"))).toEqual([])
      const held: Array<() => void> = []
      disk.onOperation = ({ kind, path }) => {
        if (kind !== "syncData" || !path.includes("/manifest/")) return undefined
        return new Promise((resolve) => held.push(() => resolve(undefined)))
      }
      void manager.deleteStream("doomed").catch(() => undefined)
      while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      // Enough to use both files of the journal again, where that may be.
      await rounds(manager, { from: 4, to: 8, bytes: 1500 })
      disk.onOperation = undefined
      disk.crash(() => false)
      for (const release of held) release()
    }).catch(() => undefined)
    await withStore(disk.layer, small, async (manager) => {
      expect((await contentOf(manager)).get("doomed")).toEqual(["acknowledged"])
    })
  })

  test("goes with its stream", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => {
      await begin(manager)
      await manager.deleteStream("new")
      disk.kill()
    }).catch(() => undefined)
    await withStore(disk.layer, options, async (manager) => {
      expect(manager.streams().includes("new")).toBe(false)
      expect(manager.recovery.quarantined).toEqual([])
    })
  })
})
