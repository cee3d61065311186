// A scrub of a store with segments in every tier: what it finds in a store that is whole, what it finds of each kind of damage in each place,
// what is made good, and that what has no other copy stays where it is.

import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import type { AofManager } from "../../src/api/manager.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import type { ScrubFinding, ScrubReport } from "../../src/model/scrub.ts"
import type { TierEvent } from "../../src/model/tier_event.ts"
import { Directory } from "../../src/port/directory.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { withStore } from "../support/crash_model.ts"
import { filesOf } from "../support/tier_check.ts"
import { noise } from "../support/tier_workload.ts"

const options: AofManagerOptions = {
  root: "/store",
  segmentBytes: 32 * 1024,
  stagingBytes: 4096,
  preallocateBytesMax: 0,
  tier1: { frameBytes: 4096, residencyMsMin: 0, retryBackoffMs: 1, retriesMax: 2 },
  tier2: { store: { directory: "/cold" }, deleteGraceMs: 0, retry: { maxAttempts: 1, baseDelayMs: 1 } },
}
const localOnly: AofManagerOptions = { ...options, tier2: false }
const fast = { bytesPerSecond: 2 ** 36 }

const textOf = (number: number): string => noise(`record ${number} `, 200)
const perSegment = 60

const diskOf = (): MemoryDisk => new MemoryDisk({ modelsCrashes: false, mapsFiles: false })

const onDisk = <A>(disk: MemoryDisk, use: (directory: Directory) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(use(Context.get(disk.services(), Directory)) as Effect.Effect<A>)

const flipAt = (disk: MemoryDisk, path: string, at: number): Promise<void> =>
  onDisk(disk, (directory) =>
    Effect.sync(() => {
      const file = directory.openUnsafe(path, "write")
      const one = new Uint8Array(1)
      const offset = at < 0 ? file.sizeUnsafe() + at : at
      file.readUnsafe(one, 0, 1, offset)
      one[0]! ^= 0x41
      file.writeUnsafe(one, 0, 1, offset)
      file.closeUnsafe()
    }),
  )

const cutTo = (disk: MemoryDisk, path: string, share: number): Promise<void> =>
  onDisk(disk, (directory) => {
    const file = directory.openUnsafe(path, "write")
    return Effect.ensuring(
      Effect.suspend(() => file.truncate(Math.floor(file.sizeUnsafe() * share))),
      Effect.sync(() => file.closeUnsafe()),
    )
  })

const remove = (disk: MemoryDisk, path: string): Promise<void> => onDisk(disk, (directory) => directory.remove(path))

const bytesAt = (disk: MemoryDisk, path: string): Promise<Uint8Array | undefined> =>
  onDisk(disk, (directory) => directory.readFile(path))

/** Three sealed segments and an open one with half as many records. */
const fill = async (manager: AofManager, place?: (stream: Aof) => Promise<unknown>): Promise<Aof> => {
  const stream = await manager.stream("s")
  for (let number = 0; number < 3.5 * perSegment; number++) {
    stream.tryAppend(textOf(number))
    if (number % 5 === 4) await stream.flush()
    if (number % perSegment === perSegment - 1) await stream.seal()
  }
  await stream.flush()
  await place?.(stream)
  await manager.settled()
  return stream
}

const readAll = async (stream: Aof): Promise<number> => {
  let number = 0
  for await (const record of stream.read()) {
    if (record.recordNumber !== number || record.text() !== textOf(number)) throw new Error(`record ${number} is wrong`)
    number++
  }
  return number
}

const total = 3.5 * perSegment
const hot = (index: number): string => `/store/streams/s/segments/000000000${index}.seg`
const warm = (index: number): string => `/store/streams/s/warm/000000000${index}.seg.zst`
const objectOf = async (disk: MemoryDisk, index: number): Promise<string> =>
  [...(await filesOf(disk, "/cold/objects")).keys()].find((path) => path.includes(`/segments/1/000000000${index}-`))!

const only = (report: ScrubReport): ScrubFinding => {
  if (report.findings.length !== 1) throw new Error(JSON.stringify(report, undefined, 1))
  return report.findings[0]!
}

describe("a store that is whole", () => {
  test("has no findings in any tier, and everything in it is read", async () => {
    const disk = diskOf()
    const events: Array<TierEvent> = []
    await withStore(disk.layer, { ...options, onEvent: (event) => events.push(event) }, async (manager) => {
      const stream = await fill(manager, (one) => one.prefetch({ to: "tier0" }))
      const seen: Array<readonly [number, number]> = []
      const onProgress = (one: { segments: number; segmentsTotal: number }): void => {
        seen.push([one.segments, one.segmentsTotal])
      }
      const report = await manager.scrub({ ...fast, onProgress })
      expect(report.findings).toEqual([])
      expect(report.skipped).toEqual([])
      expect([report.isClean, report.segments]).toEqual([true, 4])
      expect(seen).toEqual([
        [1, 4],
        [2, 4],
        [3, 4],
        [4, 4],
      ])
      let bytes = 0
      for (const [path, length] of [...(await filesOf(disk, "/store")), ...(await filesOf(disk, "/cold"))]) {
        if (/\.(?:seg|zst|chunk|snapshot)$/.test(path)) bytes += length
      }
      // Objects in a directory are read twice, and what is known of a segment need not be.
      expect(report.bytes).toBeGreaterThan(bytes * 0.95)
      expect(await readAll(stream)).toBe(total)
    })
    const names = events.map(({ name }) => name).filter((name) => name.startsWith("scrub"))
    expect(names).toEqual(["scrub_started", "scrub_done"])
  })

  test("is also whole read-only, closed streams and trimmed ones too", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      const stream = await fill(manager)
      await stream.trim({ before: (await stream.read({ number: perSegment + 3 }).next()).value!.recordId })
      const closed = await manager.stream("closed")
      await closed.append("x")
      await closed.close()
      expect((await manager.scrub(fast)).isClean).toBe(true)
    })
    await withStore(disk.layer, { ...localOnly, readOnly: true }, async (manager) => {
      expect((await manager.scrub(fast)).isClean).toBe(true)
    })
  })
})

interface Case {
  readonly what: string
  readonly options: AofManagerOptions
  readonly place: (stream: Aof) => Promise<unknown>
  readonly path: (disk: MemoryDisk) => string | Promise<string>
  readonly tier: "tier0" | "tier1" | "tier2"
}

const toTier1AndBack = async (stream: Aof): Promise<void> => {
  await stream.evict({ to: "tier1" })
  await stream.prefetch({ to: "tier0" })
}
const toTier2AndBack = async (stream: Aof): Promise<void> => {
  await stream.evict({ to: "tier2" })
  await stream.prefetch({ to: "tier1" })
}
const damages: ReadonlyArray<readonly [string, (disk: MemoryDisk, path: string) => Promise<void>]> = [
  ["removed", remove],
  ["cut in half", (disk, path) => cutTo(disk, path, 0.5)],
  ["flipped at its start", (disk, path) => flipAt(disk, path, 0)],
  ["flipped in the middle", (disk, path) => flipAt(disk, path, 5000)],
  ["flipped at its end", (disk, path) => flipAt(disk, path, -1)],
]
const backed: ReadonlyArray<Case> = [
  {
    what: "a plain file beside a warm one",
    options: localOnly,
    place: toTier1AndBack,
    path: () => hot(2),
    tier: "tier0",
  },
  {
    what: "a warm file beside a plain one",
    options: localOnly,
    place: toTier1AndBack,
    path: () => warm(2),
    tier: "tier1",
  },
  { what: "a warm file beside an object", options, place: toTier2AndBack, path: () => warm(2), tier: "tier1" },
  {
    what: "an object beside a warm file",
    options,
    place: toTier2AndBack,
    path: (disk) => objectOf(disk, 2),
    tier: "tier2",
  },
]

describe("what has another copy", () => {
  const cases = backed.flatMap((one) => damages.map(([how, damage]) => ({ ...one, how, damage })))
  test.each(cases)("$what, $how, is found and made good", async ({ options: those, place, path, tier, damage }) => {
    const disk = diskOf()
    await withStore(disk.layer, those, async (manager) => {
      const stream = await fill(manager, place)
      await damage(disk, await path(disk))
      const finding = only(await manager.scrub(fast))
      expect([finding.tier, finding.stream, finding.segmentIndex, finding.isHealed]).toEqual([tier, "s", 2, true])
      await manager.settled()
      const again = await manager.scrub(fast)
      expect(again.findings).toEqual([])
      expect(await readAll(stream)).toBe(total)
    })
    await withStore(disk.layer, those, async (manager) => {
      expect(await readAll(await manager.stream("s"))).toBe(total)
      await manager.settled()
      expect((await manager.scrub(fast)).findings).toEqual([])
    })
  })

  test("is not touched by a read-only scrub", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, (manager) => fill(manager, toTier1AndBack))
    await flipAt(disk, hot(2), 5000)
    const before = await filesOf(disk, "/store")
    await withStore(disk.layer, { ...localOnly, readOnly: true }, async (manager) => {
      const finding = only(await manager.scrub(fast))
      expect([finding.isHealed, finding.tier]).toEqual([false, "tier0"])
    })
    expect(await filesOf(disk, "/store")).toEqual(before)
  })

  test("a copy is not given up for one that is damaged too", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      const stream = await fill(manager, toTier1AndBack)
      await flipAt(disk, hot(2), 3000)
      await flipAt(disk, warm(2), 3000)
      const { findings } = await manager.scrub(fast)
      expect(findings.map(({ tier, isHealed }) => [tier, isHealed])).toEqual([
        ["tier1", false],
        ["tier0", false],
      ])
      // Both files are where they were, and what is whole in the first is read.
      expect(await bytesAt(disk, hot(2))).toBeDefined()
      expect(await bytesAt(disk, warm(2))).toBeDefined()
      expect(stream.segments()[1]!.tier).toBe("tier0")
    })
  })
})

const alone: ReadonlyArray<Case> = [
  { what: "a plain file", options: localOnly, place: () => Promise.resolve(), path: () => hot(2), tier: "tier0" },
  {
    what: "a warm file",
    options: localOnly,
    place: (stream) => stream.evict({ to: "tier1" }),
    path: () => warm(2),
    tier: "tier1",
  },
  {
    what: "an object",
    options,
    place: (stream) => stream.evict({ to: "tier2" }),
    path: (disk) => objectOf(disk, 2),
    tier: "tier2",
  },
]

describe("what is the only copy", () => {
  const cases = alone
    .flatMap((one) => damages.slice(1).map(([how, damage]) => ({ ...one, how, damage })))
    // What is not in the frames of a plain file can be made anew from them.
    .filter(({ tier, how }) => tier !== "tier0" || !how.startsWith("flipped at its"))
  test.each(cases)(
    "$what, $how, is reported and left as it is",
    async ({ options: those, place, path, tier, damage }) => {
      const disk = diskOf()
      await withStore(disk.layer, those, async (manager) => {
        await fill(manager, place)
        const where = await path(disk)
        await damage(disk, where)
        const before = await bytesAt(disk, where)
        const report = await manager.scrub(fast)
        const finding = only(report)
        expect([finding.tier, finding.segmentIndex, finding.isHealed]).toEqual([tier, 2, false])
        expect(Math.floor(finding.from / 2 ** 28)).toBe(2)
        expect(finding.to).toBeGreaterThanOrEqual(finding.from)
        expect(await bytesAt(disk, where)).toEqual(before)
        expect(report.isClean).toBe(false)
      })
    },
  )

  test.each([0, 40, 530, -1, -100, -190])(
    "a plain file, flipped at %d outside of its frames, is made anew",
    async (at: number) => {
      const disk = diskOf()
      await withStore(disk.layer, localOnly, async (manager) => {
        const stream = await fill(manager)
        const before = await bytesAt(disk, hot(2))
        await flipAt(disk, hot(2), at)
        expect(only(await manager.scrub(fast)).isHealed).toBe(true)
        expect(await bytesAt(disk, hot(2))).toEqual(before)
        expect((await manager.scrub(fast)).isClean).toBe(true)
        expect(await readAll(stream)).toBe(total)
      })
    },
  )

  test("frames that did not check when a crash made the segment end are reported, and no other copy is taken for better", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      const stream = await manager.stream("s")
      for (let number = 0; number < 20; number++) await stream.append(textOf(number))
      await new Promise((resolve) => setTimeout(resolve, 20))
      disk.kill()
      await manager.close().catch(() => undefined)
    }).catch(() => undefined)
    await flipAt(disk, hot(1), 2500)
    await withStore(disk.layer, localOnly, async (manager) => {
      const stream = await manager.stream("s")
      while (stream.segments()[0]?.state !== "sealed") await stream.append("more")
      await toTier1AndBack(stream)
      const { tier, isHealed, action } = only(await manager.scrub(fast))
      expect([tier, isHealed]).toEqual(["tier0", false])
      expect(action).toContain("when the segment was sealed")
      expect(await bytesAt(disk, hot(1))).toBeDefined()
    })
  })

  test("the range of a damaged frame is no larger than that frame", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      await fill(manager)
      await flipAt(disk, hot(2), 5000)
      const { from, to, problem } = only(await manager.scrub(fast))
      const offsets = [from % 2 ** 28, to % 2 ** 28]
      expect(problem).toBe("content")
      expect(offsets[0]! <= 5000 && offsets[1]! > 5000 && offsets[1]! - offsets[0]! < 2000).toBe(true)
    })
  })
})

describe("what is open", () => {
  test("frames of an open segment are checked up to where they are durable, past what is in memory", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      await fill(manager)
      await flipAt(disk, hot(4), 3000)
      const { from, to, isHealed, problem } = only(await manager.scrub(fast))
      expect([isHealed, problem]).toEqual([false, "content"])
      expect(from % 2 ** 28 <= 3000 && to % 2 ** 28 > 3000).toBe(true)
    })
  })

  test("the header of an open segment, and the pointer to the last sealed one, are written again", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      const stream = await fill(manager)
      const header = await bytesAt(disk, hot(4))
      await flipAt(disk, hot(4), 50)
      expect(only(await manager.scrub(fast)).isHealed).toBe(true)
      expect((await bytesAt(disk, hot(4)))!.subarray(0, 512)).toEqual(header!.subarray(0, 512))
      const pointer = "/store/streams/s/segments/current.sealed"
      const before = await bytesAt(disk, pointer)
      await flipAt(disk, pointer, 20)
      expect(only(await manager.scrub(fast)).isHealed).toBe(true)
      await remove(disk, pointer)
      expect(only(await manager.scrub(fast)).problem).toBe("missing")
      expect(await bytesAt(disk, pointer)).toEqual(before)
      expect((await manager.scrub(fast)).isClean).toBe(true)
      await stream.append("goes on")
    })
    await withStore(disk.layer, localOnly, async (manager) => expect(manager.recovery.isClean).toBe(true))
  })
})

describe("the manifest", () => {
  test.each([0, 40, 520, 1030, 1600, -20])(
    "damage at %d of a chunk is found and a snapshot replaces it",
    async (at: number) => {
      const disk = diskOf()
      await withStore(disk.layer, options, async (manager) => {
        await fill(manager)
        const name = [...(await filesOf(disk, "/store/manifest")).keys()].at(-1)!
        await flipAt(disk, name, at)
        const finding = only(await manager.scrub(fast))
        expect([finding.tier, finding.place, finding.isHealed]).toEqual(["manifest", name, true])
        expect((await manager.scrub(fast)).isClean).toBe(true)
        expect([...(await filesOf(disk, "/store/quarantine")).keys()]).toEqual([
          `/store/quarantine/manifest-${name.slice(name.lastIndexOf("/") + 1)}`,
        ])
      })
      await withStore(disk.layer, options, async (manager) => {
        expect([manager.recovery.isClean, manager.recovery.manifestDamage]).toEqual([true, []])
        expect(await readAll(await manager.stream("s"))).toBe(total)
      })
    },
  )

  test("a snapshot and the root file are made good as well", async () => {
    const disk = diskOf()
    await withStore(disk.layer, localOnly, async (manager) => {
      await fill(manager)
      const chunk = [...(await filesOf(disk, "/store/manifest")).keys()].at(-1)!
      await flipAt(disk, chunk, 1600)
      await manager.scrub(fast)
      const snapshot = [...(await filesOf(disk, "/store/manifest")).keys()].find((name) => name.endsWith("snapshot"))!
      await flipAt(disk, snapshot, 1600)
      const root = await bytesAt(disk, "/store/ROOT")
      await flipAt(disk, "/store/ROOT", 12)
      const { findings } = await manager.scrub(fast)
      expect(findings.map(({ place, isHealed }) => [place, isHealed])).toEqual([
        ["/store/ROOT", true],
        [snapshot, true],
      ])
      expect(await bytesAt(disk, "/store/ROOT")).toEqual(root)
      expect((await manager.scrub(fast)).isClean).toBe(true)
    })
    await withStore(disk.layer, localOnly, async (manager) => {
      expect([manager.recovery.isClean, manager.recovery.manifestDamage]).toEqual([true, []])
      expect(await readAll(await manager.stream("s"))).toBe(total)
    })
  })
})
