/**
 * `npm run bench:latency [-- --runtime NAMES] [--rate N] [--ms N] [--payload N] [--runs N] [--segment-mib N] [--json FILE|-] [--root DIR]`: from append to
 * follower in one process, at both levels, alone and while segments of another stream move between the tiers.
 */
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import type { LatencyParameters, LatencyResult } from "./latency.bench.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeRuntimeNames } from "./options.ts"
import { align } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import { medianOf } from "./statistics.ts"

type Case = Pick<LatencyParameters, "level" | "isBusy">

const cases: ReadonlyArray<Case> = [
  { level: "written", isBusy: false },
  { level: "durable", isBusy: false },
  { level: "written", isBusy: true },
  { level: "durable", isBusy: true },
]

interface CaseRow extends Case {
  readonly runtime: RuntimeName
  readonly results: ReadonlyArray<LatencyResult>
}

const takeOptions = () => {
  const values = parseOptions({
    runtime: { type: "string" },
    rate: { type: "string", default: "10000" },
    ms: { type: "string", default: "2500" },
    payload: { type: "string", default: "100" },
    runs: { type: "string", default: "3" },
    "segment-mib": { type: "string", default: "16" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
  })
  return {
    runtimes: takeRuntimeNames(values["runtime"]),
    rate: takeNumber("rate", values["rate"], { lowest: 1, highest: 1_000_000 }),
    ms: takeNumber("ms", values["ms"], { lowest: 100, highest: 600_000 }),
    payloadBytes: takeNumber("payload", values["payload"], { lowest: 1, highest: 1_000_000 }),
    runs: takeNumber("runs", values["runs"], { lowest: 1, highest: 100 }),
    segmentBytes: takeNumber("segment-mib", values["segment-mib"], { lowest: 1, highest: 256 }) * 1024 * 1024,
    json: values["json"] as string | undefined,
    root: values["root"] as string,
  }
}

const printRows = (rows: ReadonlyArray<CaseRow>): ReadonlyArray<string> => {
  const head = [
    "",
    "p50 us",
    "p99 us",
    "most us",
    "by idle p99",
    "plain p50 / p99 us",
    "p99 by plain",
    "appends/s",
    "moved",
    "goal",
  ] as const
  const body = rows.map((row): readonly [string, ...Array<string>] => {
    const { level, isBusy, runtime } = row
    const of = (pick: (result: LatencyResult) => number, from = row): number => medianOf(from.results.map(pick))
    const idle = rows.find((one) => one.runtime === runtime && one.level === level && !one.isBusy)!
    const byIdle = of((one) => one.p99Us) / of((one) => one.p99Us, idle)
    return [
      `${runtime}, ${level}${isBusy ? ", tiers at work" : ""}`,
      of((one) => one.p50Us).toFixed(0),
      of((one) => one.p99Us).toFixed(0),
      of((one) => one.mostUs).toFixed(0),
      isBusy ? byIdle.toFixed(2) : "",
      level === "durable"
        ? `${of((one) => one.plainP50Us).toFixed(0)} / ${of((one) => one.plainP99Us).toFixed(0)}`
        : "",
      level === "durable" ? of((one) => one.p99Us / one.plainP99Us).toFixed(2) : "",
      of((one) => one.appendsPerSecond).toFixed(0),
      isBusy ? String(of((one) => one.movedSegments)) : "",
      goalOf(row, of, byIdle),
    ]
  })
  return align([head, ...body])
}

const goalOf = (
  { level, isBusy }: Case,
  of: (pick: (result: LatencyResult) => number) => number,
  byIdle: number,
): string => {
  const say = (isMet: boolean, goal: string): string => `${isMet ? "met" : "MISSED"}: ${goal}`
  if (isBusy) return level === "durable" ? say(byIdle <= 2, "p99 within 2 x idle") : ""
  if (level === "written") return say(of((one) => one.p50Us) < 50, "p50 below 50")
  return say(of((one) => one.p99Us) < 2000, "p99 below 2000")
}

await runMain(async () => {
  const { runtimes, runs, json, root, ...parameters } = takeOptions()
  const scratch = makeScratch(root, killChild)
  const started = performance.now()
  try {
    const machine = describeMachine(scratch.directory)
    const rows: Array<CaseRow & { readonly results: Array<LatencyResult> }> = runtimes.flatMap((runtime) =>
      cases.map((one) => ({ ...one, runtime, results: [] })),
    )
    for (let run = 0; run < runs; run++) {
      for (const { runtime, level, isBusy, results } of rows) {
        const directory = mkdtempSync(join(scratch.directory, "root-"))
        const ask: LatencyParameters = { root: directory, level, isBusy, ...parameters }
        results.push(await runChild<LatencyResult>(runtime, "latency", ask))
      }
    }
    const seconds = (performance.now() - started) / 1000
    const report = { machine, parameters, runs, seconds, rows }
    const text = `${JSON.stringify(report, undefined, 2)}\n`
    if (json === "-") process.stdout.write(text)
    else {
      const { payloadBytes, rate, ms, segmentBytes } = parameters
      console.log(
        `${machineText(machine)}; ${payloadBytes} B, ${rate} appends/s for ${ms} ms, moved segments of ${segmentBytes / 1024 / 1024} MiB; written = pwrite returned, durable = fdatasync returned`,
      )
      console.log(`\n${printRows(rows).join("\n")}`)
      console.log(
        `\nFrom the call of append to the follower; plain: the same records written in groups into a plain file, to the end of the fdatasync. Took ${seconds.toFixed(0)} s.`,
      )
    }
    if (json !== undefined && json !== "-") writeFileSync(json, text)
  } finally {
    scratch.remove()
  }
})
