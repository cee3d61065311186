/**
 * `npm run bench:growth [-- --runtime NAMES] [--sizes-mib 128,256,512] [--payload N] [--reads N] [--reopens N] [--json FILE|-] [--root DIR]`: whether the
 * figures stay flat while a store grows. `--sizes-mib 1024,2048,4096,8192,16384` is the long run.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import type { GrowResult } from "./growth.bench.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeNumbers, takeRuntimeNames } from "./options.ts"
import type { PointResult } from "./point.bench.ts"
import type { ReopenResult } from "./recovery.bench.ts"
import { align, rate } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import { medianOf } from "./statistics.ts"

const MiB = 1024 * 1024
const flatWithin = 0.15
const reopenMsMax = 50
const timedBytesMax = 128 * MiB

interface SizeRow {
  readonly runtime: RuntimeName
  readonly sizeMib: number
  readonly append: GrowResult
  readonly point: PointResult
  readonly reopens: ReadonlyArray<ReopenResult>
}

const takeOptions = () => {
  const values = parseOptions({
    runtime: { type: "string" },
    "sizes-mib": { type: "string", default: "128,256,512" },
    payload: { type: "string", default: "1024" },
    reads: { type: "string", default: "100000" },
    reopens: { type: "string", default: "3" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
  })
  const sizesMib = takeNumbers("sizes-mib", values["sizes-mib"], { lowest: 1, highest: 1024 * 1024 })
  return {
    runtimes: takeRuntimeNames(values["runtime"]),
    sizesMib: [...sizesMib].sort((a, b) => a - b),
    payloadBytes: takeNumber("payload", values["payload"], { lowest: 16, highest: MiB }),
    reads: takeNumber("reads", values["reads"], { lowest: 1, highest: 100_000_000 }),
    reopens: takeNumber("reopens", values["reopens"], { lowest: 1, highest: 100 }),
    json: values["json"] as string | undefined,
    root: values["root"] as string,
  }
}

const printRows = (rows: ReadonlyArray<SizeRow>): ReadonlyArray<string> => {
  const head = [
    "payload MiB",
    "append/s",
    "by first",
    "random reads/s",
    "by first",
    "reopen ms",
    "RSS MiB",
    "goal",
  ] as const
  const first = rows[0]!
  const body = rows.map(({ sizeMib, append, point, reopens }): readonly [string, ...Array<string>] => {
    const byFirst = [
      append.recordsPerSecond / first.append.recordsPerSecond,
      point.readsPerSecond / first.point.readsPerSecond,
    ] as const
    const reopenMs = medianOf(reopens.map(({ seconds }) => seconds)) * 1000
    const isMet = byFirst.every((one) => one >= 1 - flatWithin) && reopenMs <= reopenMsMax
    return [
      String(sizeMib),
      rate(append.recordsPerSecond),
      byFirst[0].toFixed(2),
      rate(point.readsPerSecond),
      byFirst[1].toFixed(2),
      `${reopenMs.toFixed(1)} ${reopens[0]!.isCold ? "cold" : "warm"}`,
      (append.rssBytes / MiB).toFixed(0),
      `${isMet ? "met" : "MISSED"}: flat within ${flatWithin * 100}%, reopen ${reopenMsMax} ms`,
    ]
  })
  return align([head, ...body])
}

await runMain(async () => {
  const options = takeOptions()
  const { runtimes, sizesMib, payloadBytes, reads, reopens, json } = options
  const scratch = makeScratch(options.root, killChild)
  const started = performance.now()
  try {
    const machine = describeMachine(scratch.directory)
    const rows: Array<SizeRow> = []
    const timedBytes = Math.min(timedBytesMax, (sizesMib[0]! * MiB) / 2)
    for (const runtime of runtimes) {
      const root = mkdtempSync(join(scratch.directory, "root-"))
      for (const sizeMib of sizesMib) {
        const ask = { root, payloadBytes, untilBytes: sizeMib * MiB, timedBytes }
        const append = await runChild<GrowResult>(runtime, "grow", ask)
        const point = await runChild<PointResult>(runtime, "point", { root, reads })
        const opened: Array<ReopenResult> = []
        for (let i = 0; i < reopens; i++)
          opened.push(await runChild<ReopenResult>(runtime, "reopen", { root, dropsCache: true }))
        rows.push({ runtime, sizeMib, append, point, reopens: opened })
      }
      rmSync(root, { recursive: true, force: true })
    }
    const seconds = (performance.now() - started) / 1000
    const parameters = { sizesMib, payloadBytes, reads, reopens, timedBytes }
    const text = `${JSON.stringify({ machine, parameters, seconds, rows }, undefined, 2)}\n`
    if (json === "-") process.stdout.write(text)
    else {
      console.log(
        `${machineText(machine)}; ${payloadBytes} B; the last ${timedBytes / MiB} MiB of appends timed, one flush counted (fdatasync); reads with a warm page cache; opened after a close`,
      )
      for (const runtime of runtimes)
        console.log(`\n${runtime}\n${printRows(rows.filter((row) => row.runtime === runtime)).join("\n")}`)
      console.log(`\nTook ${seconds.toFixed(0)} s.`)
    }
    if (json !== undefined && json !== "-") writeFileSync(json, text)
  } finally {
    scratch.remove()
  }
})
