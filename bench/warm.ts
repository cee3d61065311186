/**
 * `npm run bench:warm [-- --runtime NAMES] [--mib 64] [--segments 3] [--level 8] [--reads 5000] [--rounds 1] [--json FILE|-] [--root DIR]`: how fast segments become
 * warm files, beside the `zstd` program with one thread on the same bytes, how large they are, and how long a read of one record out of them takes.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeRuntimeNames, UsageError } from "./options.ts"
import { align } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import { medianOf } from "./statistics.ts"
import type { WarmParameters, WarmResult } from "./warm.bench.ts"

const MiB = 1024 * 1024
const kinds = ["lines", "noise"] as const
const goals = { ofProgram: 0.85, sizeOfFramed: 1.01, readP50Us: 400 }

interface WarmRow {
  readonly runtime: RuntimeName
  readonly kind: WarmParameters["kind"]
  readonly runs: ReadonlyArray<WarmResult>
}

const takeOptions = () => {
  const values = parseOptions({
    runtime: { type: "string" },
    mib: { type: "string", default: "64" },
    segments: { type: "string", default: "3" },
    level: { type: "string", default: "8" },
    reads: { type: "string", default: "5000" },
    rounds: { type: "string", default: "1" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
  })
  return {
    runtimes: takeRuntimeNames(values["runtime"]),
    segmentBytes: takeNumber("mib", values["mib"], { lowest: 1, highest: 256 }) * MiB,
    segments: takeNumber("segments", values["segments"], { lowest: 1, highest: 1000 }),
    level: takeNumber("level", values["level"], { lowest: 1, highest: 19 }),
    reads: takeNumber("reads", values["reads"], { lowest: 1, highest: 10_000_000 }),
    rounds: takeNumber("rounds", values["rounds"], { lowest: 1, highest: 1000 }),
    json: values["json"] as string | undefined,
    root: values["root"] as string,
  }
}

const main = async (): Promise<void> => {
  const { runtimes, rounds, json, root, ...parameters } = takeOptions()
  const version = spawnSync("zstd", ["--version"], { encoding: "utf8" }).stdout?.match(/v[\d.]+/)?.[0]
  if (version === undefined) throw new UsageError("there is no program zstd on the PATH (Debian: apt-get install zstd)")
  const scratch = makeScratch(root, killChild)
  try {
    const machine = describeMachine(scratch.directory)
    const runs = new Map<string, Array<WarmResult>>()
    const keys = runtimes.flatMap((runtime) => kinds.map((kind) => ({ runtime, kind })))
    for (let round = 0; round < rounds; round++) {
      for (const { runtime, kind } of keys) {
        const own = mkdtempSync(join(scratch.directory, "root-"))
        const result = await runChild<WarmResult>(runtime, "warm", { root: own, kind, ...parameters })
        runs.set(runtime + kind, [...(runs.get(runtime + kind) ?? []), result])
      }
    }
    const rows: Array<WarmRow> = keys.map((key) => ({ ...key, runs: runs.get(key.runtime + key.kind)! }))
    const text = `${JSON.stringify({ machine, zstd: version, goals, ...parameters, rows }, undefined, 2)}\n`
    if (json === "-") process.stdout.write(text)
    else {
      const { segments, segmentBytes, level } = parameters
      const amount = `${segments} segments of ${segmentBytes / MiB} MiB, level ${level}; zstd ${version}, one thread`
      console.log(`${machineText(machine)}; ${amount}; ${rounds === 1 ? "1 round" : `medians of ${rounds} rounds`}`)
      for (const line of printRows(rows)) console.log(line)
    }
    if (json !== undefined && json !== "-") writeFileSync(json, text)
  } finally {
    scratch.remove()
  }
}

const printRows = (rows: ReadonlyArray<WarmRow>): ReadonlyArray<string> => {
  const head = [
    "",
    "MiB/s",
    "zstd MiB/s",
    "of zstd",
    "size",
    "of framed",
    "of zstd's",
    "read p50 / p99 us",
    "goal",
  ] as const
  const body = rows.map(({ runtime, kind, runs }): readonly [string, ...Array<string>] => {
    const median = (of: (one: WarmResult) => number): number => medianOf(runs.map(of))
    const ofProgram = median((one) => one.programSeconds / one.storeSeconds)
    const ofFramed = median((one) => one.warmBytes / one.framedBytes)
    const p50Us = median((one) => one.readP50Us)
    const isMet = ofProgram >= goals.ofProgram && ofFramed <= goals.sizeOfFramed && p50Us < goals.readP50Us
    return [
      `${runtime}, ${kind}`,
      median((one) => one.bytes / MiB / one.storeSeconds).toFixed(0),
      median((one) => one.bytes / MiB / one.programSeconds).toFixed(0),
      ofProgram.toFixed(2),
      median((one) => one.warmBytes / one.bytes).toFixed(3),
      ofFramed.toFixed(3),
      median((one) => one.warmBytes / one.programBytes).toFixed(2),
      `${p50Us.toFixed(0)} / ${median((one) => one.readP99Us).toFixed(0)}`,
      isMet ? "met" : `MISSED: ${goals.ofProgram} of zstd, ${goals.sizeOfFramed} of framed, ${goals.readP50Us} us`,
    ]
  })
  return align([head, ...body])
}

await runMain(main)
