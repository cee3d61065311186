// The watermark of the application: soon after it was set a killed process leaves it behind, also when nothing was appended; `flush`, `seal`
// and `close` make it durable, whatever a power cut leaves of the rest. Setting it often costs nothing, and no durable append pays for it.

import { describe, expect, test } from "bun:test"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import { type CrashCandidate, MemoryDisk } from "../../src/testing/memory_disk.ts"
import { randomOf, withStore } from "../support/crash_model.ts"
import { cutChoices, cutSeeds, Failures, isChange, isDeep, operationText } from "../support/power_cut.ts"
import { quietDisk } from "../support/quiet_disk.ts"

const options = { root: "/store", segmentBytes: 8192, preallocateBytesMax: 0, flushIntervalMs: 3_600_000 }

const valueOn = (disk: MemoryDisk): Promise<bigint> =>
  withStore(disk.layer, options, async (manager) => {
    expect(manager.recovery.quarantined).toEqual([])
    expect(manager.recovery.manifestDamage).toEqual([])
    return (await manager.stream("s")).coordinatorWatermark
  })

const withRecord = async (stream: Aof): Promise<void> => {
  await stream.append("a")
}

const isBytes = ({ kind }: CrashCandidate): boolean => kind === "write" || kind === "truncate"

/** What a process finds or does before it sets the watermark. */
const cases: ReadonlyArray<{
  readonly name: string
  readonly before?: "closed" | "killed"
  readonly fill?: (stream: Aof) => Promise<void>
  readonly journal?: boolean
}> = [
  { name: "nothing was ever appended" },
  { name: "a record is durable", fill: withRecord },
  {
    name: "a record is written and not durable",
    fill: async (stream) => void (await stream.append("a", { level: "written" })),
  },
  {
    name: "the stream was sealed",
    fill: async (stream) => {
      await withRecord(stream)
      await stream.seal()
    },
  },
  { name: "the store was closed in order before", before: "closed" },
  { name: "the process before was killed", before: "killed" },
  { name: "the stream shares the commit journal", fill: withRecord, journal: true },
]

describe("a watermark of the application that was set", () => {
  for (const { name, before, fill, journal } of cases) {
    const start = async (disk: MemoryDisk): Promise<{ readonly manager: AofManager; readonly stream: Aof }> => {
      if (before !== undefined) {
        const first = await openWith(disk.layer, options)
        await withRecord(await first.stream("s"))
        if (before === "killed") disk.kill()
        await first.close().catch(() => {})
      }
      const manager = await openWith(disk.layer, {
        ...options,
        ...(journal === true ? { journalStreamsMin: 1, journalBytes: 262_144 } : {}),
      })
      const stream = await manager.stream("s")
      await fill?.(stream)
      await quietDisk(disk)
      return { manager, stream }
    }

    test(`survives a kill of the process soon after, when ${name}`, async () => {
      const disk = new MemoryDisk()
      const { manager, stream } = await start(disk)
      for (const value of [5, 7, 6]) {
        stream.setCoordinatorWatermark(value)
        await quietDisk(disk)
        const killed = disk.fork()
        killed.kill()
        expect(await valueOn(killed)).toBe(BigInt(value))
        expect(await valueOn(killed)).toBe(BigInt(value))
      }
      disk.kill()
      await manager.close().catch(() => {})
    })

    test(`leaves no damage in a power cut, whatever that keeps, when ${name}`, async () => {
      const disk = new MemoryDisk()
      const { manager, stream } = await start(disk)
      const moments: Array<readonly [MemoryDisk, string]> = []
      disk.onOperation = (operation) => {
        if (isChange(operation)) moments.push([disk.fork(), operationText(operation)])
      }
      stream.setCoordinatorWatermark(5)
      await quietDisk(disk)
      stream.setCoordinatorWatermark(6)
      await stream.flush()
      disk.onOperation = undefined
      disk.kill()
      await manager.close().catch(() => {})
      const failures = new Failures()
      for (const [moment, operation] of moments) {
        const parts = moment.candidates().filter(isBytes)
        for (let at = 0; at < parts.length; at++) {
          for (const isKept of [true, false]) {
            const cut = moment.fork()
            let count = 0
            cut.crash((one) => !isBytes(one) || (count++ === at) === isKept)
            const what = `${isKept ? "only" : "without"} ${JSON.stringify(parts[at])}`
            await failures.attempt(`${what}, before ${operation}`, async () => {
              expect([0n, 5n, 6n]).toContain(await valueOn(cut))
            })
          }
        }
      }
      failures.end()
    }, 60_000)

    test(`survives a power cut behind flush and seal, when ${name}`, async () => {
      const disk = new MemoryDisk()
      const { manager, stream } = await start(disk)
      for (const [value, call] of [
        [5, "flush"],
        [7, "flush"],
        [3, "seal"],
        [4, "flush"],
      ] as const) {
        stream.setCoordinatorWatermark(value)
        await stream[call]()
        const cut = disk.fork()
        cut.crash(() => false)
        expect(await valueOn(cut)).toBe(BigInt(value))
      }
      disk.kill()
      await manager.close().catch(() => {})
    })
  }

  test("is there after the process before was killed with what it had set, and another flush", async () => {
    const disk = new MemoryDisk()
    await withStore(disk.layer, options, async (manager) => withRecord(await manager.stream("s")))
    const killed = await openWith(disk.layer, options)
    const one = await killed.stream("s")
    one.setCoordinatorWatermark(7)
    await quietDisk(disk)
    disk.kill()
    await killed.close().catch(() => {})
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    // Nothing was lost, so nothing had to be repaired, and no segment was begun.
    expect(manager.recovery.isClean).toBe(true)
    expect(stream.info().segments.length).toBe(1)
    await stream.flush()
    disk.crash(() => false)
    expect(await valueOn(disk)).toBe(7n)
    await manager.close().catch(() => {})
  })

  test("is written beside appends that never stop", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, { ...options, segmentBytes: 1 << 20 })
    const stream = await manager.stream("s")
    await stream.append("a")
    stream.setCoordinatorWatermark(7)
    const until = Date.now() + 300
    while (Date.now() < until) await stream.append("b")
    const killed = disk.fork()
    killed.kill()
    expect(await valueOn(killed)).toBe(7n)
    await manager.close()
  })

  test("costs a few writes however often it is set, and no durable append a sync", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    await quietDisk(disk)
    const count = disk.operationCount
    for (let value = 1; value <= 1_000_000; value++) stream.setCoordinatorWatermark(value)
    expect(disk.operationCount).toBe(count)
    await quietDisk(disk)
    expect(disk.operationCount - count).toBeLessThan(5)
    const { syncs } = manager.observe().flush
    for (let one = 0; one < 20; one++) {
      stream.setCoordinatorWatermark(one)
      await stream.append("b")
    }
    expect(manager.observe().flush.syncs - syncs).toBe(20)
    await quietDisk(disk)
    const quiet = disk.operationCount
    stream.setCoordinatorWatermark(19)
    await quietDisk(disk)
    expect(disk.operationCount).toBe(quiet)
    await manager.close()
  })
})

describe("a disk that fails", () => {
  test("keeps flush from answering, and the watermark is written when it works again", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    await quietDisk(disk)
    for (const kind of ["write", "syncData"]) {
      const value = stream.coordinatorWatermark + 7n
      disk.onOperation = (operation) => (operation.kind === kind ? "EIO" : undefined)
      stream.setCoordinatorWatermark(value)
      await expect(stream.flush()).rejects.toMatchObject({ _tag: "Unavailable", code: "EIO" })
      disk.onOperation = undefined
      await stream.flush()
      const cut = disk.fork()
      cut.crash(() => false)
      expect(await valueOn(cut)).toBe(value)
    }
    await manager.close()
  })

  test("and whose file is replaced for that has the watermark that was durable, and the newest", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    stream.setCoordinatorWatermark(7)
    await stream.flush()
    let isFailing = true
    disk.onOperation = ({ kind, path }) => {
      if (kind !== "syncData" || !path.endsWith(".seg") || !isFailing) return undefined
      isFailing = false
      return "EIO"
    }
    await stream.append("b")
    expect(isFailing).toBe(false)
    const cut = disk.fork()
    cut.crash(() => false)
    expect(await valueOn(cut)).toBe(7n)
    stream.setCoordinatorWatermark(8)
    await quietDisk(disk)
    disk.kill()
    expect(await valueOn(disk)).toBe(8n)
    await manager.close().catch(() => {})
  })

  test("does not let a footer of an older segment hide what a younger one says", async () => {
    const disk = new MemoryDisk()
    const manager = await openWith(disk.layer, options)
    const stream = await manager.stream("s")
    await stream.append("a")
    disk.onOperation = ({ kind, path }) => (kind === "truncate" && path.endsWith(".seg") ? "EIO" : undefined)
    await stream.seal().catch(() => {})
    await stream.append("b")
    stream.setCoordinatorWatermark(5)
    await quietDisk(disk)
    stream.setCoordinatorWatermark(9)
    disk.onOperation = undefined
    while (stream.info().segments.some(({ state }) => state === "sealing")) await quietDisk(disk)
    await quietDisk(disk)
    disk.kill()
    expect(await valueOn(disk)).toBe(9n)
    await manager.close().catch(() => {})
  })
})

interface Cut {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly allowed: ReadonlySet<number>
  readonly written: ReadonlySet<number>
}

/** Sets, flushes, seals, appends and closes, and keeps the disk as it was before each change, with the values that may be found. */
const record = async (seed: number, steps: number, journalStreamsMin: number): Promise<ReadonlyArray<Cut>> => {
  const disk = new MemoryDisk()
  const cuts: Array<Cut> = []
  const below = randomOf(seed)
  // Values that may be there after a power cut, and after a kill.
  let [durable, written] = [[0], [0]]
  let last = 0
  disk.onOperation = (operation) => {
    if (!isChange(operation)) return
    cuts.push({
      disk: disk.fork(),
      operation: operationText(operation),
      allowed: new Set(durable),
      written: new Set(written),
    })
  }
  const settled = (value: number): void => {
    durable = durable.slice(durable.lastIndexOf(value))
    written = written.slice(written.lastIndexOf(value))
  }
  for (let session = 0; session < 2; session++) {
    const manager = await openWith(disk.layer, { ...options, journalStreamsMin, journalBytes: 262_144 })
    const streams = await Promise.all(["s", "t"].map((name) => manager.stream(name)))
    const [stream, other] = [streams[0]!, streams[1]!]
    for (let step = 0; step < steps; step++) {
      const way = below(8)
      if (way < 3) {
        // Back from time to time.
        last += below(4) === 0 && last > 2 ? -1 : 2
        durable.push(last)
        written.push(last)
        stream.setCoordinatorWatermark(last)
      }
      const asked = last
      if (way === 2) {
        await quietDisk(disk)
        written = written.slice(-1)
      } else if (way === 3) {
        await stream.flush()
        settled(asked)
      } else if (way === 4) {
        await stream.seal()
        settled(asked)
      } else if (way === 5) stream.tryAppend("staged")
      else if (way === 6) await Promise.all([stream.append("x".repeat(below(3000))), other.append("y")])
      else if (way === 7) await stream.append("written", { level: "written" })
    }
    await manager.close()
    settled(last)
  }
  disk.onOperation = undefined
  return cuts
}

test("a file that is not trusted any more is replaced for it, also when nothing is appended", async () => {
  const disk = new MemoryDisk()
  const manager = await openWith(disk.layer, { root: "/store", segmentBytes: 1024 * 1024 })
  const stream = await manager.stream("s")
  let failures = 0
  disk.onOperation = ({ kind, path }) =>
    kind === "zeroFill" && path.endsWith(".seg") && ++failures > 0 ? "EIO" : undefined
  while (failures === 0) await stream.append("x".repeat(300))
  await new Promise((resolve) => setTimeout(resolve, 100))
  stream.setCoordinatorWatermark(7)
  let value = 0n
  for (let tries = 0; tries < 100 && value !== 7n; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const killed = disk.fork()
    killed.kill()
    value = await valueOn(killed)
  }
  expect(value).toBe(7n)
  await manager.close()
})

describe("a power cut at any moment", () => {
  for (const seed of cutSeeds) {
    for (const journalStreamsMin of [8, 1]) {
      test(`leaves the last durable watermark or a later one, seed ${seed}, journal from ${journalStreamsMin}`, async () => {
        const failures = new Failures()
        const cuts = await record(seed + 50, isDeep ? 12 : 8, journalStreamsMin)
        for (const { disk, operation, allowed, written } of cuts) {
          if (failures.areMany) break
          const killed = disk.fork()
          killed.kill()
          await failures.attempt(`killed before ${operation}`, async () => {
            expect([...written]).toContain(Number(await valueOn(killed)))
          })
          for (const [name, choose] of cutChoices(seed)) {
            const cut = disk.fork()
            cut.crash(choose)
            await failures.attempt(`${name}, before ${operation}`, async () => {
              const value = Number(await valueOn(cut))
              expect([...allowed]).toContain(value)
              // And the opening after that one has the same.
              cut.crash(() => false)
              expect(Number(await valueOn(cut))).toBe(value)
            })
          }
        }
        failures.end()
      }, 120_000)
    }
  }
})
