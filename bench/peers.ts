/**
 * `npm run bench:peers [-- --only NAMES] [--workloads W1,W2] [--sizes 100,1024] [--rounds N] [--runtime NAMES] [--killed-mib N] [--quick]
 * [--json FILE|-] [--svg FILE] [--root DIR]`: this store, the limit of the machine and other logs, W1 to W7, side by side. Each file of
 * `contestants/` is a contestant. Their packages go to a folder of the user's cache (`BOP_AOF_PEERS`).
 */
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import { killChild, runChild } from "./children.ts"
import { type Contestant, workloadNames } from "./contestant.ts"
import { describeMachine, machineText } from "./machine.ts"
import { parseOptions, runMain, takeNames, takeNumber, takeNumbers, takeRuntimeNames } from "./options.ts"
import { buildLimit, installContestant } from "./peer_install.ts"
import { type Amounts, type Entry, PeerRun, type RunResult } from "./peer_runner.ts"
import { limitLabel, makeFigures, printFigures, printSettings } from "./peer_table.ts"
import { makeScratch } from "./scratch.ts"
import { drawBars } from "./svg.ts"

const MiB = 1024 * 1024
const contestantsFolder = fileURLToPath(new URL("contestants/", import.meta.url))

const full: Amounts = {
  appendBytes: 200 * MiB,
  appendsMax: 2_000_000,
  acks: 200_000,
  reads: 500_000,
  msMax: 1500,
  killedBytes: 1024 * MiB,
}
// More than two segments, so that most of them are sealed.
const quick: Amounts = {
  appendBytes: 144 * MiB,
  appendsMax: 1_500_000,
  acks: 50_000,
  reads: 200_000,
  msMax: 400,
  killedBytes: 64 * MiB,
}

interface Missing {
  readonly name: string
  readonly message: string
}

/** The contestants of the folder, this store first, the others by name. */
const findContestants = async (): Promise<
  ReadonlyArray<{ readonly contestant: Contestant; readonly file: string }>
> => {
  const files = readdirSync(contestantsFolder).filter((name) => name.endsWith(".ts"))
  const found = await Promise.all(
    files.map(async (name) => {
      const file = join(contestantsFolder, name)
      const { contestant } = (await import(pathToFileURL(file).href)) as { readonly contestant: Contestant }
      return { contestant, file }
    }),
  )
  const rank = ({ contestant }: { readonly contestant: Contestant }): string =>
    `${contestant.isOwn === true ? 0 : 1}${contestant.name}`
  return found.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))
}

const say = (line: string): void => console.error(line)

/** One line that is written over, on a terminal; nothing elsewhere. */
const showStep = (step: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${step}`)
}

/** The entries of those that could be installed, and why the others are missing. */
const prepare = (
  contestants: Awaited<ReturnType<typeof findContestants>>,
  runtimes: ReadonlyArray<RuntimeName>,
): { readonly entries: ReadonlyArray<Entry>; readonly missing: ReadonlyArray<Missing> } => {
  const entries: Array<Entry> = []
  const missing: Array<Missing> = []
  for (const { contestant, file } of contestants) {
    const own = contestant.runtimes.filter((name) => runtimes.includes(name))
    const names = contestant.isOwn === true ? own : contestant.runtimes.slice(0, 1)
    try {
      const installed = installContestant(contestant, file, say)
      for (const runtime of names) {
        const label = contestant.isOwn === true ? `${contestant.name} (${runtime})` : contestant.name
        entries.push({ label, contestant, runtime, file, installed })
      }
    } catch (error) {
      missing.push({ name: contestant.name, message: (error as Error).message })
    }
  }
  return { entries, missing }
}

const takeOptions = async () => {
  const values = parseOptions({
    only: { type: "string" },
    workloads: { type: "string" },
    sizes: { type: "string" },
    rounds: { type: "string" },
    runtime: { type: "string" },
    "killed-mib": { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    svg: { type: "string" },
    root: { type: "string", default: "data" },
  })
  const contestants = await findContestants()
  const known = ["limit", ...contestants.map(({ contestant }) => contestant.name)]
  const only = takeNames("only", values["only"], known)
  const isQuick = values["quick"] === true
  const amounts = isQuick ? quick : full
  const killedMib = values["killed-mib"] ?? String(amounts.killedBytes / MiB)
  return {
    contestants: contestants.filter(({ contestant }) => only.includes(contestant.name)),
    hasLimit: only.includes("limit"),
    workloads: takeNames("workloads", values["workloads"], workloadNames),
    sizes: takeNumbers("sizes", values["sizes"] ?? (isQuick ? "100,1024" : "100,1024,16384"), {
      lowest: 16,
      // The most that a record of async-append-only-log can hold.
      highest: 65_000,
    }),
    rounds: takeNumber("rounds", values["rounds"] ?? (isQuick ? "1" : "3"), { lowest: 1, highest: 100 }),
    runtimes: takeRuntimeNames(values["runtime"]),
    amounts: {
      ...amounts,
      killedBytes: takeNumber("killed-mib", killedMib, { lowest: 1, highest: 16_384 }) * MiB,
    },
    json: values["json"] as string | undefined,
    svg: values["svg"] as string | undefined,
    root: values["root"] as string,
  }
}

type Options = Awaited<ReturnType<typeof takeOptions>>

/** The limit first; it needs nothing but a compiler, and the others go on without it. */
const findEntries = (
  options: Options,
): {
  readonly entries: ReadonlyArray<Entry>
  readonly missing: ReadonlyArray<Missing>
  readonly limitProgram: string
} => {
  const { entries, missing } = prepare(options.contestants, options.runtimes)
  if (!options.hasLimit) return { entries, missing, limitProgram: "" }
  const installed = { packagesFolder: "", programs: {}, bundle: undefined }
  const limit: Entry = { label: limitLabel, contestant: undefined, runtime: "node", file: "", installed }
  try {
    return { limitProgram: buildLimit(), entries: [limit, ...entries], missing }
  } catch (error) {
    return { limitProgram: "", entries, missing: [{ name: "limit", message: (error as Error).message }, ...missing] }
  }
}

const runVersions = async (runtimes: ReadonlyArray<RuntimeName>): Promise<Record<string, string>> => {
  const versions: Record<string, string> = {}
  for (const runtime of runtimes)
    versions[runtime] = (await runChild<{ readonly version: string }>(runtime, "version", {})).version
  return versions
}

await runMain(async () => {
  const options = await takeOptions()
  const { workloads, sizes, rounds, amounts, json, svg } = options
  const started = performance.now()
  const { entries, missing, limitProgram } = findEntries(options)
  const scratch = makeScratch(options.root, killChild)
  try {
    const machine = describeMachine(scratch.directory)
    if (machine.fileSystem === "tmpfs")
      say("this is a file system in memory, where a sync costs nothing: give --root DIR")
    const versions = await runVersions(options.runtimes)
    const settings = Object.fromEntries(
      options.contestants.map(({ contestant: { name, packages, settings } }) => [name, { packages, settings }]),
    )
    const about = { machine, versions, durability: "durable: fdatasync returned", rounds, amounts, settings, missing }
    const makeText = ({ samples, failures }: RunResult): string => {
      const seconds = (performance.now() - started) / 1000
      const figures = makeFigures(samples, entries)
      return `${JSON.stringify({ ...about, seconds, failures, figures, samples }, undefined, 2)}\n`
    }
    // A run is long: what there is after each round is kept, should somebody end it.
    const keep = (result: RunResult): void => {
      if (json !== undefined && json !== "-") writeFileSync(json, makeText(result))
    }
    const { directory } = scratch
    const steps = { timeoutMs: 300_000, say: showStep, onRound: keep }
    const result = await new PeerRun({
      directory,
      limitProgram,
      entries,
      workloads,
      sizes,
      rounds,
      amounts,
      ...steps,
    }).run()
    showStep("")
    const { samples, failures } = result
    const figures = makeFigures(samples, entries)
    const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
    const caption = `${machineText(machine)}; ${names.join(", ")}; ${rounds} round${rounds === 1 ? "" : "s"}; acknowledged = fdatasync returned`
    const seconds = `Took ${((performance.now() - started) / 1000).toFixed(0)} s.`
    if (json === "-") process.stdout.write(makeText(result))
    else console.log([caption, printFigures(figures), printSettings(entries, failures, missing), seconds].join("\n\n"))
    keep(result)
    if (svg !== undefined) writeFileSync(svg, drawBars(figures, caption))
    const own = entries.filter(({ contestant }) => contestant?.isOwn === true).map(({ label }) => label)
    if (failures.some(({ label }) => own.includes(label))) process.exitCode = 1
  } finally {
    scratch.remove()
  }
})
