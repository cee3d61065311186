/**
 * `npm run bench:s3 [-- --runtime NAMES] [--json FILE|-] [--root DIR] [--segments N] [--mib N] [--rounds N] [--restore-segments N]`: requests and
 * bytes of operations at a real S3 server, which is started for it, and the scan of cold history beside the bare SDK.
 */
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { fileCommand, killChild, runCommand } from "./children.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNumber, takeRuntimeNames, UsageError } from "./options.ts"
import type { S3Parameters, S3Result } from "./s3.bench.ts"
import { makeScratch } from "./scratch.ts"

const MiB = 1024 * 1024

const main = async (): Promise<void> => {
  const values = parseOptions({
    runtime: { type: "string" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
    segments: { type: "string", default: "4" },
    mib: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    "restore-segments": { type: "string", default: "1000" },
    child: { type: "string" },
    check: { type: "boolean" },
  })
  if (values["child"] !== undefined) {
    const { benchS3 } = await import("./s3.bench.ts")
    // Connections that are kept alive must not keep the program.
    await runMain(async () => console.log(JSON.stringify(await benchS3(JSON.parse(String(values["child"]))))))
    process.exit()
  }
  const runtimes = takeRuntimeNames(values["runtime"])
  const sizes = {
    segmentBytes: takeNumber("mib", values["mib"], { lowest: 1, highest: 256 }) * MiB,
    segments: takeNumber("segments", values["segments"], { lowest: 1, highest: 1000 }),
    rounds: takeNumber("rounds", values["rounds"], { lowest: 1, highest: 100 }),
    restoreSegments: takeNumber("restore-segments", values["restore-segments"], { lowest: 1, highest: 100_000 }),
  }
  if (values["check"] === true) return
  const parameters: Omit<S3Parameters, "root"> = {
    endpoint: setting("AOF2_TIER2_ENDPOINT"),
    bucket: setting("AOF2_TIER2_BUCKET"),
    accessKeyId: setting("AOF2_TIER2_ACCESS_KEY"),
    secretAccessKey: setting("AOF2_TIER2_SECRET_KEY"),
    ...sizes,
  }
  const scratch = makeScratch(String(values["root"]), killChild)
  const machine = describeMachine(scratch.directory)
  const rows: Array<{ readonly runtime: RuntimeName; readonly result: S3Result }> = []
  try {
    for (const runtime of runtimes)
      rows.push({ runtime, result: await measure(runtime, scratch.directory, parameters) })
  } finally {
    scratch.remove()
  }
  const { accessKeyId: _, secretAccessKey: __, ...shown } = parameters
  const json = `${JSON.stringify({ machine, parameters: shown, rows }, undefined, 2)}\n`
  if (values["json"] === "-") process.stdout.write(json)
  else {
    console.log(machineText(machine))
    for (const { runtime, result } of rows) print(runtime, result, parameters)
  }
  if (values["json"] !== undefined && values["json"] !== "-") writeFileSync(String(values["json"]), json)
}

const measure = (
  runtime: RuntimeName,
  directory: string,
  parameters: Omit<S3Parameters, "root">,
): Promise<S3Result> => {
  const root = mkdtempSync(join(directory, "root-"))
  const file = new URL("s3.ts", import.meta.url).pathname
  const command = fileCommand(runtime, file, ["--child", JSON.stringify({ ...parameters, root })])
  return runCommand<S3Result>(command, { label: `s3 on ${runtime}` })
}

const setting = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new UsageError(`${name} is not set: npm run bench:s3 starts a server and sets it`)
  return value
}

const print = (
  runtime: RuntimeName,
  { costs, restore, tail, ...scan }: S3Result,
  { segmentBytes, segments }: Omit<S3Parameters, "root">,
): void => {
  console.log(`\n${runtime}: segments of ${segmentBytes / MiB} MiB`)
  console.log(`${"operation".padEnd(30)}${"requests".padEnd(28)}${"KiB up".padStart(10)}${"KiB down".padStart(10)}`)
  for (const { operation, requests, bytesUp, bytesDown } of costs) {
    const bytes = [bytesUp, bytesDown].map((value) => (value / 1024).toFixed(1).padStart(10)).join("")
    console.log(`${operation.padEnd(30)}${requests.padEnd(28)}${bytes}`)
  }
  const [store, plain] = [scan.scanBytesPerSecond / MiB, scan.plainBytesPerSecond / MiB]
  const share = `${(scan.ratio * 100).toFixed(0)}% of the bare SDK`
  console.log(
    `scan of ${segments} cold segments, records of 4 KiB: ${store.toFixed(0)} MiB/s, SDK ${plain.toFixed(0)} MiB/s, ${share}`,
  )
  const pair = (p50: number, p99: number): string => `${p50.toFixed(0)} / ${p99.toFixed(0)}`
  const [quiet, busy] = [pair(tail.quietP50Us, tail.quietP99Us), pair(tail.busyP50Us, tail.busyP99Us)]
  const fetched = `${(tail.fetchedBytes / tail.objectBytes).toFixed(2)} times the objects' bytes fetched`
  console.log(
    `append to follower, p50 / p99: ${quiet} us, beside ${tail.readers} readers of the same cold segments ${busy} us; ${fetched}`,
  )
  const { openMs, firstRecordMs, requests, bytesDown } = restore
  const times = `open after ${openMs.toFixed(0)} ms, first record after ${firstRecordMs.toFixed(0)} ms`
  console.log(
    `restore of ${restore.segments} segments: ${times}; ${requests}, ${(bytesDown / 1024).toFixed(0)} KiB down`,
  )
}

await runMain(main)
