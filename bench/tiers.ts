/**
 * `npm run bench:tiers [-- --runtime NAMES] [--json FILE|-] [--root DIR] [--runs N]`: what moving 64 MiB segments between the tiers costs the
 * event loop and durable appends, on each runtime, beside the same load without a store. Medians over the runs.
 */
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import { describeMachine } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeRuntimeNames } from "./options.ts"
import { makeScratch } from "./scratch.ts"
import { medianOf } from "./statistics.ts"
import type { TiersResult } from "./tiers.bench.ts"

interface RuntimeRow {
  readonly runtime: RuntimeName
  readonly runs: ReadonlyArray<{ readonly store: TiersResult; readonly plain: TiersResult }>
}

const segmentBytes = 64 * 1024 * 1024
const segments = 3

const main = async (): Promise<void> => {
  const values = parseOptions({
    runtime: { type: "string" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
    runs: { type: "string", default: "5" },
  })
  const names = takeRuntimeNames(values["runtime"])
  const runs = takeNumber("runs", values["runs"], { lowest: 1, highest: 1000 })
  const { json: file } = values
  const scratch = makeScratch(String(values["root"]), killChild)
  try {
    const machine = describeMachine(scratch.directory)
    const rows: Array<RuntimeRow> = []
    for (const runtime of names) rows.push({ runtime, runs: await measure(runtime, scratch.directory, runs) })
    const report = { machine, durability: "durable", segmentBytes, segments, rows }
    const json = `${JSON.stringify(report, undefined, 2)}\n`
    if (file === "-") process.stdout.write(json)
    else for (const line of table(rows)) console.log(line)
    if (file !== undefined && file !== "-") writeFileSync(String(file), json)
  } finally {
    scratch.remove()
  }
}

/** The two loads by turns, each in a process of its own. */
const measure = async (runtime: RuntimeName, directory: string, count: number): Promise<RuntimeRow["runs"]> => {
  const runs: Array<RuntimeRow["runs"][number]> = []
  const run = (isPlain: boolean): Promise<TiersResult> =>
    runChild<TiersResult>(runtime, "tiers", {
      root: mkdtempSync(join(directory, "root-")),
      segmentBytes,
      segments,
      idleMs: 3000,
      isPlain,
    })
  for (let i = 0; i < count; i++) runs.push({ plain: await run(true), store: await run(false) })
  return runs
}

/** One row of the table: what it says, and how it is found in a runtime's runs. */
const lines: ReadonlyArray<readonly [string, (row: RuntimeRow) => string]> = [
  ["longest turn while segments move, ms", (row) => median(row, ({ store }) => store.longestTurnMs).toFixed(1)],
  ["   same load without the store", (row) => median(row, ({ plain }) => plain.longestTurnMs).toFixed(1)],
  [
    "   more with the store",
    (row) => median(row, ({ store, plain }) => store.longestTurnMs - plain.longestTurnMs).toFixed(1),
  ],
  ["durable append, idle p50 / p99, us", (row) => pair(row, ({ store }) => [store.idleP50Us, store.idleP99Us])],
  ["   while segments move", (row) => pair(row, ({ store }) => [store.busyP50Us, store.busyP99Us])],
  ["   p99 for idle p99", (row) => median(row, ({ store }) => store.busyP99Us / store.idleP99Us).toFixed(2)],
  ["   plain fdatasync, the same", (row) => median(row, ({ plain }) => plain.busyP99Us / plain.idleP99Us).toFixed(2)],
  ["compression", (row) => median(row, ({ store }) => store.compression).toFixed(2)],
  ["seconds a run", (row) => median(row, ({ store }) => store.seconds).toFixed(1)],
]

const median = ({ runs }: RuntimeRow, of: (run: RuntimeRow["runs"][number]) => number): number => medianOf(runs.map(of))

const pair = (row: RuntimeRow, of: (run: RuntimeRow["runs"][number]) => readonly [number, number]): string =>
  [0, 1].map((at) => median(row, (run) => of(run)[at]!).toFixed(0)).join(" / ")

const table = (rows: ReadonlyArray<RuntimeRow>): ReadonlyArray<string> => {
  const head = ["", ...rows.map(({ runtime }) => runtime)]
  const body = lines.map(([name, cell]) => [name, ...rows.map(cell)])
  return [head, ...body].map(([name, ...cells]) => name!.padEnd(40) + cells.map((cell) => cell.padStart(16)).join(""))
}

await runMain(main)
