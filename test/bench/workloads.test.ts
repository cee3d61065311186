// Every workload of the bench with small values: it does what it says, and says the same on every runtime.

import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { benchAck } from "../../bench/ack.bench.ts"
import { appendAll, benchAppend } from "../../bench/append.bench.ts"
import { benchHeap } from "../../bench/heap.bench.ts"
import { expectedHash, hashText, makePayloads } from "../../bench/payload.ts"
import { benchPoint } from "../../bench/point.bench.ts"
import { appendUntilKilled, benchReopen } from "../../bench/recovery.bench.ts"
import { appendPlainly, scanPlainly } from "../../bench/reference.ts"
import { printReport, rate } from "../../bench/report.ts"
import { benchScan } from "../../bench/scan.bench.ts"
import { medianOf, quantileOf } from "../../bench/statistics.ts"
import { type Amounts, runSuite, suiteParameters } from "../../bench/suite.ts"
import { currentRuntime } from "../../scripts/runtimes.mjs"

const payloadBytes = 100
const records = 3000
const payloads = makePayloads(payloadBytes)
let parent: string
let root: string
let plainFile: string

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), "bop-aof-bench-"))
  root = join(parent, "store")
  plainFile = join(parent, "plain")
  await appendAll(root, payloads, records)
  appendPlainly(plainFile, payloads, records)
})

afterAll(() => rmSync(parent, { recursive: true }))

const makeRoot = (): string => mkdtempSync(join(parent, "root-"))

describe("a workload", () => {
  test("of appends counts all records and what they take on disk", async () => {
    const result = await benchAppend({ root: makeRoot(), payloadBytes, records, rounds: 2 })
    expect(result.hash).toBe(hashText(records, records, payloadBytes))
    expect(result.overhead).toBeGreaterThan(1.08)
    for (const value of [result.recordsPerSecond, result.bufferedPerSecond, result.plainPerSecond, result.ratio]) {
      expect(value).toBeGreaterThan(0)
    }
  })

  test.each([1, 8])("of acknowledgements, %d producers, gets each one", async (producers: number) => {
    const result = await benchAck({ root: makeRoot(), payloadBytes, producers, acks: 64, syncs: 4, rounds: 2 })
    expect(result.hash).toBe(hashText(128, payloadBytes))
    expect(result.p99Us).toBeGreaterThanOrEqual(result.p50Us)
    expect(result.acksPerSecond).toBeGreaterThan(0)
  })

  test.each(["cursor", "views", "read"] as const)(
    "of a scan by %s sees every record",
    async (mode: "cursor" | "views" | "read") => {
      const result = await benchScan({ root, plainFile, mode })
      expect(result.hash).toBe(hashText(records, expectedHash(payloads, records)))
    },
  )

  test("of random reads gets the same records each time", async () => {
    const [first, second] = [await benchPoint({ root, reads: 500 }), await benchPoint({ root, reads: 500 })]
    expect(first.hash).toBe(second.hash)
  })

  test("of reopening finds what was durable", async () => {
    const directory = makeRoot()
    let turns = 0
    await appendUntilKilled(
      { root: directory, payloadBytes, records },
      () => {},
      () => ++turns > 5,
    )
    const result = await benchReopen({ root: directory, dropsCache: false })
    expect(result.records).toBe(records + 5)
    expect(result.hash).toBe(hashText(payloads[0]![0]!))
    expect(result.isCold).toBe(false)
  })

  test("of the heap takes no negative growth for an answer", async () => {
    const result = await benchHeap({ root: makeRoot(), payloadBytes, records: 2000, rounds: 2 })
    expect(Object.keys(result)).toEqual(["bytesPerAppend", "bytesPerMove", "bytesPerObject"])
  })

  test("of the plain loops reads back what it wrote", () => {
    expect(scanPlainly(plainFile)).toMatchObject({ records, hash: expectedHash(payloads, records) })
  })
})

describe("the suite", () => {
  test("runs every workload in a process of its own and prints a table", async () => {
    const amounts: Amounts = { payloadBytes: 1024, appends: 500, acks: 64, acksAlone: 4, reads: 50 }
    const parameters = {
      ...suiteParameters,
      sizes: [amounts],
      syncs: 2,
      rounds: 1,
      killedBytes: 100_000,
      heapRecords: 1000,
      dropsCache: false,
    }
    const suite = await runSuite(currentRuntime, makeRoot(), parameters, () => {})
    expect(suite.sizes[0]!.append.hash).toBe(hashText(500, 1024))
    expect(suite.reopen.records).toBeGreaterThanOrEqual(98)
    const machine = { processor: "one", cores: 2, memoryBytes: 2 ** 30, system: "Linux", fileSystem: "ext4", load: 0 }
    const text = printReport({ machine, durability: "durable", parameters, seconds: 1, suites: [suite, suite] })
    for (const workload of ["W1", "W2", "W3", "W4", "W5", "W6", "W7"]) expect(text).toContain(`${workload} `)
    expect(text).not.toContain("NaN")
  }, 240_000)
})

test("rates and quantiles are rounded as they are read", () => {
  expect([12.34, 456, 1234, 45_678, 3_456_789, 123_456_789].map(rate)).toEqual([
    "12.3",
    "456",
    "1.23k",
    "45.7k",
    "3.46M",
    "123M",
  ])
  expect([medianOf([3, 1, 2]), medianOf([4, 1, 2, 8]), quantileOf([1, 2, 3, 4], 0.99)]).toEqual([2, 3, 4])
})
