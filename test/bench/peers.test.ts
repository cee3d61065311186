// The comparison with other logs: what it makes of samples, that its phases do what they say, and what it does with wrong options.

import { afterAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { runCommand } from "../../bench/children.ts"
import { type Contestant, workloadNames } from "../../bench/contestant.ts"
import { contestant as own } from "../../bench/contestants/bop_aof.ts"
import { makeGroupCommit } from "../../bench/group_commit.ts"
import { benchGrow } from "../../bench/growth.bench.ts"
import { benchLatency } from "../../bench/latency.bench.ts"
import { benchMemory } from "../../bench/memory.bench.ts"
import { expectedHash, hashText, makePayloads } from "../../bench/payload.ts"
import { type Amounts, type Entry, PeerRun, type Sample } from "../../bench/peer_runner.ts"
import { limitLabel, makeFigures, printFigures, printSettings } from "../../bench/peer_table.ts"
import { benchStreams, benchStreamsOpen } from "../../bench/streams.bench.ts"
import { drawBars } from "../../bench/svg.ts"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { runProcess } from "../support/run_process.ts"

const parent = mkdtempSync(join(tmpdir(), "bop-aof-peers-"))
afterAll(() => rmSync(parent, { recursive: true }))
const makeRoot = (): string => mkdtempSync(join(parent, "root-"))

const contestantsFolder = join(rootDirectory, "bench", "contestants")
const installed = { packagesFolder: parent, programs: {}, bundle: undefined }
const ownFile = join(contestantsFolder, "bop_aof.ts")
const ownEntry: Entry = { label: "own", contestant: own, runtime: currentRuntime, file: ownFile, installed }
const limitEntry: Entry = { label: limitLabel, contestant: undefined, runtime: "node", file: "", installed }
const peer: Contestant = { ...own, name: "peer", isOwn: false, scanModes: [""] }
const peerEntry: Entry = { ...ownEntry, label: "peer", contestant: peer }

const makeSample = (label: string, round: number, value: number, more: Partial<Sample> = {}): Sample => ({
  label,
  workload: "W1",
  payloadBytes: 100,
  mode: "",
  round,
  value,
  ...more,
})

describe("figures", () => {
  const entries = [limitEntry, ownEntry, peerEntry]

  test("are medians, the best first, with the rounds' own ratios", () => {
    // The second round was slow for all: ratios of one round compare what met the same machine.
    const values = { [limitLabel]: [1000, 100, 900], own: [700, 70, 720], peer: [100, 10, 120] }
    const samples = Object.entries(values).flatMap(([label, of]) => of.map((value, at) => makeSample(label, at, value)))
    const figures = makeFigures(samples, entries)
    expect(figures.map(({ label, median }) => [label, median])).toEqual([
      [limitLabel, 900],
      ["own", 700],
      ["peer", 100],
    ])
    expect(figures[1]).toMatchObject({ kind: "own", least: 70, most: 720, ofLimit: 0.7, ofPeer: 7, isMet: true })
  })

  test("miss a goal below either ratio, and have none without something to compare with", () => {
    const of = (limit: number, store: number, other: number): ReadonlyArray<Sample> => [
      makeSample(limitLabel, 0, limit),
      makeSample("own", 0, store),
      makeSample("peer", 0, other),
    ]
    const isMet = (samples: ReadonlyArray<Sample>): boolean | undefined =>
      makeFigures(samples, entries).find(({ label }) => label === "own")!.isMet
    expect(isMet(of(1000, 600, 150))).toBe(true)
    expect(isMet(of(1000, 599, 100))).toBe(false)
    expect(isMet(of(1000, 900, 300))).toBe(false)
    expect(isMet([makeSample("own", 0, 1, { payloadBytes: 77 })])).toBe(undefined)
  })

  test("put the least first where less is better", () => {
    const figures = makeFigures(
      [makeSample("own", 0, 1.08, { workload: "W7" }), makeSample("peer", 0, 1.02, { workload: "W7" })],
      entries,
    )
    expect(figures.map(({ label }) => label)).toEqual(["peer", "own"])
    expect(figures[1]!.isMet).toBe(true)
  })

  test("are printed, and drawn with what a picture may not hold escaped", () => {
    const samples = workloadNames.flatMap((workload) => [
      makeSample(limitLabel, 0, 2, { workload }),
      makeSample("own", 0, 1, { workload, p50Us: 1, p99Us: 2, cpuNs: 3 }),
    ])
    const figures = makeFigures(samples, entries)
    const text = printFigures(figures)
    for (const workload of workloadNames) expect(text).toContain(`${workload} `)
    expect(text).not.toContain("NaN")
    const picture = drawBars(figures, "1 < 2 & 3")
    expect(picture).toContain("1 &#60; 2 &#38; 3")
    expect(picture).not.toContain("NaN")
    expect(picture.match(/<svg|<\/svg>/g)).toHaveLength(2)
    const settings = printSettings(entries, [], [{ name: "gone", message: "no such program" }])
    expect(settings).toContain(own.settings)
    expect(settings).toContain("gone: not measured: no such program")
  })
})

describe("a run", () => {
  const amounts: Amounts = {
    appendBytes: 100_000,
    appendsMax: 1000,
    acks: 128,
    reads: 300,
    msMax: 2000,
    killedBytes: 300_000,
  }

  test("measures every workload in processes of their own", async () => {
    const { samples, failures } = await new PeerRun({
      directory: makeRoot(),
      limitProgram: "",
      entries: [ownEntry],
      workloads: workloadNames,
      sizes: [100],
      rounds: 1,
      amounts,
      timeoutMs: 120_000,
      say: () => {},
    }).run()
    expect(failures).toEqual([])
    const names = samples.map(({ workload, mode }) => `${workload} ${mode}`.trim())
    expect(names.sort()).toEqual(["W1", "W2", "W3", "W4 cursor", "W4 views", "W5", "W6", "W7"])
    for (const { value } of samples) expect(value).toBeGreaterThan(0)
    expect(samples.find(({ workload }) => workload === "W7")!.value).toBeGreaterThan(1.08)
  }, 240_000)

  test("notes what fails and goes on with the others", async () => {
    const broken: Entry = { ...peerEntry, label: "broken", file: join(parent, "missing.ts") }
    const { samples, failures } = await new PeerRun({
      directory: makeRoot(),
      limitProgram: "",
      entries: [broken, ownEntry],
      workloads: ["W7"],
      sizes: [100],
      rounds: 1,
      amounts,
      timeoutMs: 120_000,
      say: () => {},
    }).run()
    expect(failures.map(({ label, workload }) => `${label} ${workload}`)).toEqual(["broken W1"])
    expect(samples.map(({ label }) => label)).toEqual(["own"])
  }, 120_000)
})

describe("contestants", () => {
  test("are one file each, with settings, exact versions and a name of their own", async () => {
    const files = readdirSync(contestantsFolder)
    const found = await Promise.all(
      files.map(
        async (file) => ((await import(join(contestantsFolder, file))) as { contestant: Contestant }).contestant,
      ),
    )
    expect(new Set(found.map(({ name }) => name)).size).toBe(files.length)
    expect(found.filter(({ isOwn }) => isOwn === true)).toHaveLength(1)
    for (const { settings, scale, packages = {}, runtimes } of found) {
      expect(settings.length).toBeGreaterThan(20)
      expect(scale > 0 && scale <= 1 && runtimes.length > 0).toBe(true)
      for (const version of Object.values(packages)) expect(version).toMatch(/^\d+\.\d+\.\d+$/)
    }
  })

  test("that commit in groups answer each append when its own commit has ended", async () => {
    const commits: Array<number> = []
    let fails = false
    const append = makeGroupCommit(async (payloads) => {
      commits.push(payloads.length)
      await Promise.resolve()
      if (fails) throw new Error("no room")
    })
    const payload = new Uint8Array(1)
    const first = [append(payload), append(payload), append(payload)]
    await Promise.all(first)
    await append(payload)
    expect(commits).toEqual([3, 1])
    fails = true
    await expect(append(payload)).rejects.toThrow("no room")
    fails = false
    await append(payload)
    expect(commits).toEqual([3, 1, 1, 1])
  })

  test("of this repository append, scan, read and find again what they were given", async () => {
    const payloads = makePayloads(100)
    const directory = join(makeRoot(), "store")
    mkdirSync(directory)
    const context = { directory, load: () => Promise.reject(new Error("none")), program: () => "" }
    const writer = await own.open({ ...context, workload: "W1" })
    await writer.appendAll(payloads, 500)
    await writer.append!(payloads[500 & (payloads.length - 1)]!)
    await writer.close()
    const reader = await own.open({ ...context, workload: "W4" })
    for (const mode of own.scanModes!)
      expect(await reader.scan!(mode)).toEqual({ records: 501, hash: expectedHash(payloads, 501) })
    const point = await reader.openPoint!()
    expect(point.records).toBe(501)
    expect(await point.get(7)).toEqual(payloads[7]!)
    expect(await reader.first!()).toEqual(payloads[0]!)
    await reader.close()
  })
})

describe("the workload", () => {
  test("of many streams makes them, appends to them and opens them again", async () => {
    const root = makeRoot()
    const result = await benchStreams({
      root,
      streams: 20,
      producers: 4,
      payloadBytes: 100,
      ms: 20,
      concurrency: 4,
      createMsMax: 600_000,
    })
    expect(result).toMatchObject({ madeStreams: 20, hash: hashText(20, 100) })
    expect(result.acksPerSecond).toBeGreaterThan(0)
    expect((await benchStreamsOpen({ root })).streams).toBe(21)
  }, 60_000)

  test.each(["written", "durable"] as const)(
    "of latency at %s sees each record once",
    async (level: "written" | "durable") => {
      const result = await benchLatency({
        root: makeRoot(),
        level,
        payloadBytes: 100,
        rate: 1000,
        ms: 100,
        isBusy: level === "durable",
        segmentBytes: 1024 * 1024,
      })
      expect(result.hash).toBe(hashText(100, 100))
      expect(result.p99Us).toBeGreaterThanOrEqual(result.p50Us)
      expect(result.movedSegments > 0).toBe(level === "durable")
    },
    60_000,
  )

  test("of overload takes at most what is offered", async () => {
    const result = await benchMemory({
      root: makeRoot(),
      streams: 2,
      payloadBytes: 1024,
      ms: 200,
      overload: 2,
      memoryBytesMax: 32 * 1024 * 1024,
    })
    expect(result.takenBytesPerSecond).toBeGreaterThan(0)
    expect(result.takenBytesPerSecond).toBeLessThan(result.offeredBytesPerSecond * 2)
    expect(result.budgetBytes).toBe(32 * 1024 * 1024)
  }, 60_000)

  test("of growth goes on where it was", async () => {
    const root = makeRoot()
    const grow = (untilBytes: number) => benchGrow({ root, payloadBytes: 1024, untilBytes, timedBytes: 20_480 })
    expect((await grow(102_400)).records).toBe(100)
    expect((await grow(204_800)).records).toBe(200)
  }, 60_000)
})

test.each(["main.ts", "peers.ts", "s3.ts", "memory.ts"])(
  "%s --help says its options, and runs nothing",
  async (file: string) => {
    const command = runtimeCommand(currentRuntime, join(rootDirectory, "bench", file), ["--help"])
    const { code, stdout, stderr } = await runProcess(command, rootDirectory)
    expect([code, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^options:\n(?: {2}--\S.*\n)* {2}--root VALUE +default data\n(?: {2}--\S.*\n)* {2}--help\n/)
    expect(stdout).not.toContain("--child")
  },
  60_000,
)

describe("a wrong option", () => {
  test.each([
    ["peers.ts", "--sizes=1"],
    ["peers.ts", "--only=nobody"],
    ["peers.ts", "--workloads=W8"],
    ["streams.ts", "--counts=0"],
    ["latency.ts", "--rate=fast"],
    ["memory.ts", "--bogus"],
    ["s3.ts", "--segments=0"],
    ["growth.ts", "--runtime=none"],
  ])(
    "of %s (%s) ends it with code 2 before anything runs",
    async (file: string, option: string) => {
      const [path, ...args] = runtimeCommand(currentRuntime, join(rootDirectory, "bench", file), [option])
      const ended = runCommand([path, ...args], { label: file, showsErrors: false })
      await expect(ended).rejects.toThrow(/ended with 2: --|ended with 2: Unknown option/)
    },
    60_000,
  )
})
