// Scrubs or repairs a store from the command line: `npm run scrub -- --root DIR`, `npm run repair -- --root DIR --plan`. Ends with 0 when all
// is well, 1 when something is damaged, lost or not looked at, 2 when arguments can't be taken, 3 when the store cannot be opened.

import { existsSync, statSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { parseArgs } from "node:util"
import { AofManager, type RepairReport, type ScrubProgress, type ScrubReport } from "bop-aof"

const help = `repair --root DIR [--plan]           makes good what can be made good in a store that nobody has open; --plan only tells
scrub  --root DIR [--mib N]          reads and checks everything, at most N MiB a second (default 256), and heals what has another copy
  --tier2 DIR|none   where the objects are; default as the store is opened without options
  --json             prints the report as JSON
  --runtime R        bun, deno or node; default bun (taken by npm run itself)
ends with 0 when all is well, 1 when something is damaged, lost or not looked at, 2 for arguments, 3 when the store cannot be opened`

class BadArgument extends Error {}

interface Given {
  readonly command: "repair" | "scrub"
  readonly root: string
  readonly isPlan: boolean
  readonly isJson: boolean
  readonly bytesPerSecond: number
  readonly tier2: { readonly store: { readonly directory: string } } | false | undefined
}

const given = (args: ReadonlyArray<string>): Given | undefined => {
  const [command, ...rest] = args
  if (command !== "repair" && command !== "scrub")
    throw new BadArgument(`no such command: ${command}; there are repair and scrub`)
  const options = {
    root: { type: "string" },
    plan: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    mib: { type: "string", default: "256" },
    tier2: { type: "string" },
    help: { type: "boolean", default: false },
  } as const
  const { values } = takeArguments(() => parseArgs({ args: rest, options, strict: true }))
  if (values.help) return undefined
  const { root, plan: isPlan, json: isJson, tier2 } = values
  if (root === undefined || root === "") throw new BadArgument(`--root DIR is missing; --help says what there is`)
  if (existsSync(root) && !isDirectory(root)) throw new BadArgument(`--root is ${root}, which is no directory`)
  if (isPlan && command === "scrub") throw new BadArgument("--plan is for repair")
  const mib = Number(values.mib)
  if (!(mib >= 0.0625 && mib <= 65_536)) throw new BadArgument(`--mib takes 0.0625 to 65536, not ${values.mib}`)
  if (tier2 !== undefined && tier2 !== "none" && !isDirectory(tier2)) {
    throw new BadArgument(`--tier2 is ${tier2}, which is no directory`)
  }
  const place = tier2 === undefined ? undefined : tier2 === "none" ? false : ({ store: { directory: tier2 } } as const)
  return { command, root, isPlan, isJson, bytesPerSecond: Math.round(mib * 1024 * 1024), tier2: place }
}

const takeArguments = <A>(take: () => A): A => {
  try {
    return take()
  } catch (error) {
    throw new BadArgument(`${(error as Error).message}; --help says what there is`)
  }
}

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** A store that is not there must not be made by looking at it, and objects that lie elsewhere would count as lost. */
const checkPlace = async ({ root, tier2 }: Given): Promise<void> => {
  const manager = await AofManager.open({ root, tier2: false, readOnly: true })
  try {
    if (tier2 !== undefined || isDirectory(join(root, "tier2"))) return
    const streams = await Promise.all(manager.streams().map((name) => manager.stream(name)))
    const count = streams.flatMap((stream) => stream.segments()).filter(({ tier }) => tier === "tier2").length
    if (count === 0) return
    const where = `${join(root, "tier2")}, where they are by default, is not there`
    throw new BadArgument(`${count} segments are in Tier 2 only, and ${where}: say --tier2 DIR`)
  } finally {
    await manager.close()
  }
}

/** One line that is written over, on a terminal only. */
const onProgress = ({ segments, segmentsTotal, bytes, findings }: ScrubProgress): void => {
  if (!process.stderr.isTTY) return
  const text = `${segments} of ${segmentsTotal} segments, ${(bytes / 1024 ** 2).toFixed(0)} MiB, ${findings} findings`
  process.stderr.write(`\r${text.padEnd(70)}${segments === segmentsTotal ? "\n" : ""}`)
}

const signal = (): AbortSignal => {
  const controller = new AbortController()
  process.once("SIGINT", () => controller.abort())
  process.once("SIGTERM", () => controller.abort())
  return controller.signal
}

const repair = async (options: Given): Promise<readonly [RepairReport, boolean]> => {
  const { root, isPlan, tier2 } = options
  await checkPlace(options).catch((error) => {
    // What keeps it from being opened may be what is to be repaired.
    if (error instanceof BadArgument) throw error
  })
  const report = await AofManager.repair({ root, plan: isPlan, tier2, onProgress, signal: signal() })
  return [report, report.isWhole]
}

const scrub = async (options: Given): Promise<readonly [ScrubReport, boolean]> => {
  const { root, bytesPerSecond, tier2 } = options
  await checkPlace(options)
  const manager = await AofManager.open({ root, tier2 })
  try {
    const report = await manager.scrub({ bytesPerSecond, onProgress, signal: signal() })
    return [
      report,
      report.isClean || (report.skipped.length === 0 && report.findings.every(({ isHealed }) => isHealed)),
    ]
  } finally {
    await manager.close()
  }
}

const printRepair = ({ isPlan, isClean, isWhole, entries, skipped, changes, segments, bytes }: RepairReport): void => {
  for (const { outcome, stream, segmentIndex, place, detail, action } of entries) {
    const where = stream === null ? (place ?? "root") : `${stream}, segment ${segmentIndex ?? "-"}`
    console.log(`${outcome.padEnd(10)}${where}: ${detail}; ${action}`)
  }
  for (const { place, reason } of skipped) console.log(`skipped   ${place}: ${reason}`)
  for (const { place, change } of changes) console.log(`would be ${change}: ${place}`)
  const state = isClean ? "nothing was out of order" : isWhole ? "nothing is lost" : "not all can be made good"
  const what = isPlan ? "plan, nothing changed" : "done"
  console.log(`${what}: ${state}; ${segments} segments, ${(bytes / 1024 ** 2).toFixed(1)} MiB read`)
}

const printScrub = ({ findings, skipped, isClean, segments, files, bytes }: ScrubReport): void => {
  for (const { tier, stream, segmentIndex, place, problem, detail, isHealed, action } of findings) {
    const where = stream === undefined ? place : `${stream}, segment ${segmentIndex ?? "-"}, ${tier}`
    console.log(`${(isHealed ? "healed" : "damaged").padEnd(10)}${where}: ${problem}: ${detail}; ${action}`)
  }
  for (const { place, reason } of skipped) console.log(`skipped   ${place}: ${reason}`)
  const state = isClean ? "all clean" : `${findings.length} findings, ${skipped.length} could not be looked at`
  console.log(`done: ${state}; ${segments} segments, ${files} files, ${(bytes / 1024 ** 2).toFixed(1)} MiB read`)
}

const main = async (): Promise<number> => {
  const options = given(process.argv.slice(2))
  if (options === undefined) {
    console.log(help)
    return 0
  }
  if (options.command === "repair") {
    const [report, isWell] = await repair(options)
    if (options.isJson) console.log(JSON.stringify(report, undefined, 2))
    else printRepair(report)
    return isWell ? 0 : 1
  }
  const [report, isWell] = await scrub(options)
  if (options.isJson) console.log(JSON.stringify(report, undefined, 2))
  else printScrub(report)
  return isWell ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = error instanceof BadArgument || (error as { _tag?: string })._tag === "InvalidArgument" ? 2 : 3
}
