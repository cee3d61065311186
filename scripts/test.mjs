// Runs every `test/**/*.test.ts` on each runtime, each file in a process of its own, so that a file that crashes or
// leaves something behind can't touch another. Three files run at a time where there are two processors, as many of them wait for something
// (`--jobs N` for another number), but for those that must be alone.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join, sep } from "node:path"
import { readReport } from "./junit.mjs"
import { refuseOptions, takeOption, UsageError } from "./options.mjs"
import { capture, endWithChildren } from "./process.mjs"
import { nodeFlags, rootDirectory, runtimePath } from "./runtimes.mjs"
import { lastLine, printSummary } from "./summary.mjs"

/** Run only when asked for by name: what packs the package, part of `npm run check`, and what needs a server, `npm run test:s3`. */
const onRequestOnly = ["test/package.test.ts", "test/s3/"]
/** Kills the server that the others use. */
const aloneOnly = ["test/s3/outage"]
/** A file may take so long (`--file-minutes N` for another limit). */
const fileMinutes = 10

const commandLines = {
  bun: (file, report) => [
    "test",
    "--conditions=source",
    "--timeout=60000",
    "--reporter=junit",
    `--reporter-outfile=${report}`,
    `./${file}`,
  ],
  deno: (file, report) => ["test", "--no-check", "--allow-all", "--conditions=source", `--junit-path=${report}`, file],
  node: (file, report) => [
    ...nodeFlags,
    "--test-reporter=junit",
    `--test-reporter-destination=${report}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    file,
  ],
}

/**
 * What arguments ask for; throws when that is nothing. Those that are no options are parts of file paths, in `folder` when there is one
 * and they name no other.
 */
export function planTests(args, folder = "") {
  const { count: jobs, rest: others } = takeCount(args, "--jobs", availableParallelism() < 2 ? 1 : 3)
  const { count: minutes, rest } = takeCount(others, "--file-minutes", fileMinutes)
  refuseOptions(rest, ["--runtime", "--jobs", "--file-minutes"])
  const parts = rest.map((part) => part.replace(/^\.\//, ""))
  const filters = parts.map((part) => (part.startsWith("test/") ? part : `${folder}${part}`))
  return { files: testFiles(filters.length === 0 && folder !== "" ? [folder] : filters), jobs, minutes }
}

/** Gives the exit code: 0 if on each runtime some test ran and none failed. */
export async function runTests(names, { files, jobs, minutes }) {
  endWithChildren()
  const compiled = mkdtempSync(join(tmpdir(), "bop-aof-compiled-"))
  const results = []
  for (const name of names) results.push(await runOn(name, files, { jobs, minutes, compiled }))
  rmSync(compiled, { recursive: true, force: true })
  printSummary(results)
  console.log(lastLine(results))
  return results.every((result) => result.failed === 0 && result.passed > 0) ? 0 : 1
}

/** Takes an option with a whole number out of arguments. */
function takeCount(args, name, fallback) {
  const { values, rest } = takeOption(args, name)
  const count = Number(values.at(-1) ?? fallback)
  if (!Number.isInteger(count) || count < 1)
    throw new UsageError(`${name} takes a whole number above 0, not ${values.at(-1)}`)
  return { count, rest }
}

/** The files that filters select, each at least one; without any those that run always. */
function testFiles(filters) {
  const entries = readdirSync(join(rootDirectory, "test"), { recursive: true })
  const files = entries.filter((path) => path.endsWith(".test.ts")).map((path) => `test/${path.split(sep).join("/")}`)
  const missing = filters.find((part) => !files.some((file) => file.includes(part)))
  if (missing !== undefined) throw new UsageError(`no test file matches ${missing}`)
  const isWanted = (file) =>
    filters.length > 0
      ? filters.some((part) => file.includes(part))
      : !onRequestOnly.some((part) => file.startsWith(part))
  return files.filter(isWanted).sort()
}

async function runOn(name, files, { jobs, minutes, compiled }) {
  const started = performance.now()
  const result = { name, passed: 0, failed: 0, skipped: 0, seconds: 0, skips: [], failures: [] }
  process.stdout.write(`${name.padEnd(5)}`)
  const isAlone = (file) => aloneOnly.some((part) => file.startsWith(part))
  const work = async (queue) => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      add(result, file, await runFile(name, file, { minutes, compiled }))
  }
  const together = files.filter((file) => !isAlone(file))
  await Promise.all(Array.from({ length: jobs }, () => work(together)))
  await work(files.filter(isAlone))
  result.seconds = (performance.now() - started) / 1000
  process.stdout.write("\n")
  return result
}

async function runFile(name, file, { minutes, compiled }) {
  const directory = mkdtempSync(join(tmpdir(), "bop-aof-report-"))
  const report = join(directory, "report.xml")
  // Node compiles each module again in each process, half a second for most files here, unless it is told where to keep what it made.
  const environment = { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, NODE_COMPILE_CACHE: compiled }
  const options = { cwd: rootDirectory, env: environment, timeoutMs: minutes * 60_000 }
  const run = await capture(runtimePath(name), commandLines[name](file, report), options)
  const cases = existsSync(report) ? readReport(readFileSync(report, "utf8")) : []
  rmSync(directory, { recursive: true, force: true })
  return { ...run, cases, minutes }
}

/** One dot a file; a file that failed is shown in full, as its runtime printed it. */
function add(result, file, { code, timedOut, output, cases, minutes }) {
  for (const { name, outcome } of cases) {
    result[outcome]++
    if (outcome === "skipped") result.skips.push({ file, name })
    if (outcome === "failed") result.failures.push({ file, name })
  }
  const failed = cases.filter(({ outcome }) => outcome === "failed").length
  if (code === 0 && failed === 0 && cases.length > 0) {
    process.stdout.write(".")
    return
  }
  // A file that does not load, dies, or holds no test has no failed case of its own to count.
  const why = timedOut
    ? `ended after ${minutes} minutes; --file-minutes N for more`
    : cases.length === 0
      ? "no test ran"
      : `exit code ${code}`
  if (failed === 0) {
    result.failed++
    result.failures.push({ file, name: `(${why})` })
  }
  process.stdout.write(`\n\nFAILED ${file} on ${result.name}: ${why}\n${output.trimEnd()}\n\n${result.name.padEnd(5)}`)
}
