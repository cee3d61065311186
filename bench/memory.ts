/**
 * `npm run bench:memory [-- --runtime NAMES] [--seconds N] [--streams N] [--payload N] [--overload N] [--memory-mib N] [--records N]
 * [--json FILE|-] [--root DIR]`: what an overloaded store holds in memory, and bytes of heap for each record.
 */
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import { type HeapResult, heapFlags } from "./heap.bench.ts"
import { describeMachine, machineText } from "./machine.ts"
import type { MemoryParameters, MemoryResult } from "./memory.bench.ts"
import { parseOptions, runMain, takeNumber, takeRuntimeNames } from "./options.ts"
import { align } from "./report.ts"
import { makeScratch } from "./scratch.ts"

const MiB = 1024 * 1024
const ratioMax = 1.1
const heapBytesMax = 24

interface RuntimeRow {
  readonly runtime: RuntimeName
  readonly version: string
  readonly overload: MemoryResult
  readonly heap: HeapResult
}

const takeOptions = () => {
  const values = parseOptions({
    runtime: { type: "string" },
    seconds: { type: "string", default: "8" },
    streams: { type: "string", default: "4" },
    payload: { type: "string", default: "1024" },
    overload: { type: "string", default: "2" },
    "memory-mib": { type: "string", default: "256" },
    records: { type: "string", default: "200000" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
  })
  return {
    runtimes: takeRuntimeNames(values["runtime"]),
    records: takeNumber("records", values["records"], { lowest: 1000, highest: 400_000 }),
    json: values["json"] as string | undefined,
    root: values["root"] as string,
    parameters: {
      ms: takeNumber("seconds", values["seconds"], { lowest: 1, highest: 3600 }) * 1000,
      streams: takeNumber("streams", values["streams"], { lowest: 1, highest: 1000 }),
      payloadBytes: takeNumber("payload", values["payload"], { lowest: 16, highest: MiB }),
      overload: takeNumber("overload", values["overload"], { lowest: 1, highest: 100 }),
      memoryBytesMax: takeNumber("memory-mib", values["memory-mib"], { lowest: 32, highest: 65_536 }) * MiB,
    },
  }
}

const mib = (bytes: number): string => (bytes / MiB).toFixed(0)
const verdict = (isMet: boolean): string => (isMet ? "met" : "MISSED")

const lines: ReadonlyArray<readonly [string, (row: RuntimeRow) => string]> = [
  ["disk, synced blocks of 1 MiB, MiB/s", ({ overload }) => mib(overload.diskBytesPerSecond)],
  ["offered, MiB/s", ({ overload }) => mib(overload.offeredBytesPerSecond)],
  ["taken, MiB/s", ({ overload }) => mib(overload.takenBytesPerSecond)],
  ["refused appends", ({ overload }) => String(overload.refusals)],
  ["RSS before, MiB", ({ overload }) => mib(overload.rssBeforeBytes)],
  ["RSS, median / most, MiB", ({ overload }) => `${mib(overload.rssP50Bytes)} / ${mib(overload.rssMostBytes)}`],
  ["budget (memoryBytesMax), MiB", ({ overload }) => mib(overload.budgetBytes)],
  [
    `growth by budget, at most ${ratioMax}`,
    ({ overload }) => `${overload.ratio.toFixed(2)} ${verdict(overload.ratio <= ratioMax)}`,
  ],
  [
    `heap bytes a tryAppend, at most ${heapBytesMax}`,
    ({ heap }) => `${heap.bytesPerAppend.toFixed(1)} ${verdict(heap.bytesPerAppend <= heapBytesMax)}`,
  ],
  [
    `heap bytes a move of a cursor, at most ${heapBytesMax}`,
    ({ heap }) => `${heap.bytesPerMove.toFixed(1)} ${verdict(heap.bytesPerMove <= heapBytesMax)}`,
  ],
  ["heap bytes of a small object, for comparison", ({ heap }) => heap.bytesPerObject.toFixed(1)],
]

const measure = async (
  runtime: RuntimeName,
  directory: string,
  parameters: Omit<MemoryParameters, "root">,
  records: number,
): Promise<RuntimeRow> => {
  const makeRoot = (): string => mkdtempSync(join(directory, "root-"))
  const { version } = await runChild<{ readonly version: string }>(runtime, "version", {})
  const overload = await runChild<MemoryResult>(runtime, "memory", { root: makeRoot(), ...parameters })
  const ask = { root: makeRoot(), payloadBytes: 100, records, rounds: 3 }
  const heap = await runChild<HeapResult>(runtime, "heap", ask, heapFlags[runtime])
  return { runtime, version, overload, heap }
}

await runMain(async () => {
  const { runtimes, records, json, root, parameters } = takeOptions()
  const scratch = makeScratch(root, killChild)
  const started = performance.now()
  try {
    const machine = describeMachine(scratch.directory)
    const rows: Array<RuntimeRow> = []
    for (const runtime of runtimes) rows.push(await measure(runtime, scratch.directory, parameters, records))
    const seconds = (performance.now() - started) / 1000
    const text = `${JSON.stringify({ machine, parameters, records, seconds, rows }, undefined, 2)}\n`
    if (json === "-") process.stdout.write(text)
    else {
      const { streams, payloadBytes, ms, overload } = parameters
      console.log(
        `${machineText(machine)}; ${streams} streams, ${payloadBytes} B, ${overload} times the disk's speed for ${ms / 1000} s, acknowledged as buffered, then flushed`,
      )
      const head = ["", ...rows.map(({ runtime, version }) => `${runtime} ${version}`)] as const
      console.log(`\n${align([head, ...lines.map(([name, cell]) => [name, ...rows.map(cell)] as const)]).join("\n")}`)
      console.log(`\nTook ${seconds.toFixed(0)} s.`)
    }
    if (json !== undefined && json !== "-") writeFileSync(json, text)
  } finally {
    scratch.remove()
  }
})
