/**
 * `npm run bench [-- --runtime NAMES] [--json FILE|-] [--root DIR] [--full]`: the workloads W1 to W7 on each runtime, as one table
 * and as JSON. W6 takes 256 MiB, with `--full` 1 GiB. Stores lie below `--root`, by default `data` in the current directory.
 */
import { writeFileSync } from "node:fs"
import process from "node:process"
import { killChild } from "./children.ts"
import { describeMachine } from "./machine.ts"
import { parseOptions, runMain, takeRuntimeNames } from "./options.ts"
import { printReport, type Report } from "./report.ts"
import { makeScratch } from "./scratch.ts"
import { runSuite, type SuiteResult, suiteParameters } from "./suite.ts"

const fullKilledBytes = 1024 * 1024 * 1024

const main = async (): Promise<void> => {
  const values = parseOptions({
    runtime: { type: "string" },
    json: { type: "string" },
    root: { type: "string", default: "data" },
    full: { type: "boolean", default: false },
  })
  const names = takeRuntimeNames(values["runtime"])
  const parameters = values["full"] ? { ...suiteParameters, killedBytes: fullKilledBytes } : suiteParameters
  const { json: file } = values
  const scratch = makeScratch(String(values["root"]), killChild)
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
    if (file === "-") process.stdout.write(json)
    else console.log(printReport(report))
    if (file !== undefined && file !== "-") writeFileSync(String(file), json)
  } finally {
    scratch.remove()
  }
}

/** One line that is written over, on a terminal; nothing elsewhere. */
const showStep = (step: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${step}`)
}

await runMain(main)
