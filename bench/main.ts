/**
 * `npm run bench [-- --runtime NAMES] [--json FILE|-] [--root DIR] [--full]`: the workloads W1 to W7 on each runtime, as one table
 * and as JSON. W6 takes 256 MiB, with `--full` 1 GiB. Stores lie below `--root`, by default `data` in the current directory.
 */
import { writeFileSync } from "node:fs"
import process from "node:process"
import { parseArgs } from "node:util"
import { currentRuntime, type RuntimeName, runtimeNames } from "../scripts/runtimes.mjs"
import { killChild } from "./children.ts"
import { describeMachine } from "./machine.ts"
import { printReport, type Report } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import { runSuite, type SuiteResult, suiteParameters } from "./suite.ts"

const fullKilledBytes = 1024 * 1024 * 1024

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      runtime: { type: "string", default: currentRuntime },
      json: { type: "string" },
      root: { type: "string", default: "data" },
      full: { type: "boolean", default: false },
    },
  })
  const names = values.runtime.split(",") as Array<RuntimeName>
  const unknown = names.find((name) => !runtimeNames.includes(name))
  if (unknown !== undefined) throw new Error(`no such runtime: ${unknown}; there are ${runtimeNames.join(", ")}`)
  const parameters = values.full ? { ...suiteParameters, killedBytes: fullKilledBytes } : suiteParameters
  const scratch = makeScratch(values.root, killChild)
  const started = performance.now()
  try {
    const machine = describeMachine(scratch.directory)
    if (machine.fileSystem === "tmpfs")
      console.error("this is a file system in memory, where a sync costs nothing: give --root DIR")
    const suites: Array<SuiteResult> = []
    for (const name of names) suites.push(await runSuite(name, scratch.directory, parameters, showStep))
    showStep("")
    const report: Report = {
      machine,
      durability: "durable",
      parameters,
      seconds: (performance.now() - started) / 1000,
      suites,
    }
    const json = `${JSON.stringify(report, undefined, 2)}\n`
    if (values.json === "-") process.stdout.write(json)
    else console.log(printReport(report))
    if (values.json !== undefined && values.json !== "-") writeFileSync(values.json, json)
  } finally {
    scratch.remove()
  }
}

/** One line that is written over, on a terminal; nothing elsewhere. */
const showStep = (step: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${step}`)
}

await main().catch((error: Error) => {
  console.error(process.env["DEBUG"] === undefined ? error.message : error)
  process.exitCode = 1
})
