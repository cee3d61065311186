/**
 * `npm run bench:streams [-- --runtime NAMES] [--counts 1,100,1000,10000] [--producers N] [--ms N] [--concurrency N] [--payload N]
 * [--create-seconds N] [--json FILE|-] [--root DIR]`: one root with many streams, on each runtime.
 */
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeNumbers, takeRuntimeNames } from "./options.ts"
import { align, rate } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import type { StreamsOpenResult, StreamsParameters, StreamsResult } from "./streams.bench.ts"

interface CountRow {
  readonly runtime: RuntimeName
  readonly version: string
  readonly streams: number
  readonly result: StreamsResult | undefined
  readonly open: StreamsOpenResult | undefined
  /** Why there are no results. */
  readonly failure: string | undefined
}

const flags: Readonly<Record<RuntimeName, ReadonlyArray<string>>> = {
  node: ["--expose-gc"],
  deno: ["--v8-flags=--expose-gc"],
  bun: [],
}

const takeOptions = () => {
  const values = parseOptions({
    runtime: { type: "string" },
    counts: { type: "string", default: "1,100,1000,10000" },
    producers: { type: "string", default: "64" },
    ms: { type: "string", default: "1000" },
    concurrency: { type: "string", default: "64" },
    payload: { type: "string", default: "100" },
    "create-seconds": { type: "string", default: "5" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
  })
  return {
    runtimes: takeRuntimeNames(values["runtime"]),
    counts: takeNumbers("counts", values["counts"], { lowest: 1, highest: 100_000 }),
    producers: takeNumber("producers", values["producers"], { lowest: 1, highest: 10_000 }),
    ms: takeNumber("ms", values["ms"], { lowest: 1, highest: 600_000 }),
    concurrency: takeNumber("concurrency", values["concurrency"], { lowest: 1, highest: 10_000 }),
    payloadBytes: takeNumber("payload", values["payload"], { lowest: 1, highest: 1_000_000 }),
    createMsMax: takeNumber("create-seconds", values["create-seconds"], { lowest: 1, highest: 86_400 }) * 1000,
    json: values["json"] as string | undefined,
    root: values["root"] as string,
  }
}

const measure = async (
  runtime: RuntimeName,
  directory: string,
  parameters: Omit<StreamsParameters, "root">,
): Promise<CountRow> => {
  const root = mkdtempSync(join(directory, "root-"))
  let [result, open, failure]: [StreamsResult | undefined, StreamsOpenResult | undefined, string | undefined] = [
    undefined,
    undefined,
    undefined,
  ]
  const { version } = await runChild<{ readonly version: string }>(runtime, "version", {})
  try {
    result = await runChild<StreamsResult>(runtime, "streams", { root, ...parameters }, flags[runtime])
    open = await runChild<StreamsOpenResult>(runtime, "streamsOpen", { root })
  } catch (error) {
    failure = (error as Error).message
  }
  // Its files stay until all is measured: ext4 makes new ones many times slower for a minute after thousands were removed.
  return { runtime, version, streams: parameters.streams, result, open, failure }
}

/** What a row says, and what it is to say where there is a goal. */
const printRows = (rows: ReadonlyArray<CountRow>): ReadonlyArray<string> => {
  const base = rows.find(({ streams }) => streams === 1)?.result
  const head = [
    "streams",
    "created/s",
    "acks/s",
    "by plain sync",
    "of 1 stream",
    "p50 / p99 us",
    "heap B made",
    "heap B idle",
    "outside B idle",
    "files made",
    "files idle",
    "open ms",
  ] as const
  const body = rows.map(({ streams, result, open, failure }): readonly [string, ...Array<string>] => {
    if (result === undefined) return [String(streams), `failed: ${failure}`]
    const { madeStreams, acksPerSecond, plainSyncsPerSecond, p50Us, p99Us } = result
    const perSync = acksPerSecond / plainSyncsPerSecond
    const ofOne = base === undefined ? "" : (perSync / (base.acksPerSecond / base.plainSyncsPerSecond)).toFixed(2)
    return [
      madeStreams === streams ? String(streams) : `${madeStreams} of ${streams}`,
      rate(result.createdPerSecond),
      rate(acksPerSecond),
      perSync.toFixed(1),
      ofOne,
      `${p50Us.toFixed(0)} / ${p99Us.toFixed(0)}`,
      result.madeHeapBytes.toFixed(0),
      result.idleHeapBytes.toFixed(0),
      result.idleOtherBytes.toFixed(0),
      String(result.openFilesMade - result.openFilesBefore),
      String(result.openFilesIdle - result.openFilesBefore),
      open === undefined ? `failed: ${failure}` : (open.openSeconds * 1000).toFixed(0),
    ]
  })
  return align([head, ...body])
}

await runMain(async () => {
  const { runtimes, counts, json, root, ...parameters } = takeOptions()
  const scratch = makeScratch(root, killChild)
  const started = performance.now()
  try {
    const machine = describeMachine(scratch.directory)
    const rows: Array<CountRow> = []
    for (const runtime of runtimes)
      for (const streams of counts) rows.push(await measure(runtime, scratch.directory, { ...parameters, streams }))
    const seconds = (performance.now() - started) / 1000
    const report = { machine, durability: "durable: fdatasync returned", parameters, seconds, rows }
    const text = `${JSON.stringify(report, undefined, 2)}\n`
    if (json === "-") process.stdout.write(text)
    else {
      console.log(
        `${machineText(machine)}; ${parameters.payloadBytes} B; ${parameters.producers} producers; acknowledged = fdatasync returned`,
      )
      for (const runtime of runtimes) {
        const own = rows.filter((row) => row.runtime === runtime)
        console.log(`\n${runtime} ${own[0]?.version}\n${printRows(own).join("\n")}`)
      }
      console.log(
        "\nBy plain sync: acknowledgements for each fdatasync of a plain loop in the same process; of 1 stream: that, by that of one stream.",
        `\nMade, idle: for each stream after it was made, and after appends to it have ended. Took ${seconds.toFixed(0)} s.`,
      )
    }
    if (json !== undefined && json !== "-") writeFileSync(json, text)
  } finally {
    scratch.remove()
  }
})
