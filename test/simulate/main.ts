// The program behind `npm run simulate`: runs seeds until there are enough or the time is over, and says what came of them. Its only
// argument is JSON that `scripts/simulate.mjs` has checked.

import { writeFileSync } from "node:fs"
import process from "node:process"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import { exhaust, makePlan, runPlan, type SimPlan, type SimResult, shrink } from "../../src/testing/simulation/mod.ts"
import { addResult, emptyTotals, printTotals, type Totals } from "./totals.ts"

interface Options {
  readonly seed: number
  readonly seeds: number
  readonly minutes: number
  readonly steps: number
  readonly tries: number
  readonly isExhaustive: boolean
  readonly showsTrace: boolean
  readonly hashes: string | undefined
  /** Violations after which it ends; 5 by default. */
  readonly stopAt: number | undefined
}

const options: Options = JSON.parse(process.argv[2] ?? "{}")
const started = performance.now()
const stopAt = options.stopAt ?? 5
let isStopped = false
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    isStopped = true
  })
}

const main = async (): Promise<void> => {
  const totals = emptyTotals()
  const hashes: Array<string> = []
  for (let at = 0; at < options.seeds && !isOver(); at++) {
    const seed = options.seed + at
    for (const result of resultsOf(seed)) {
      addResult(totals, result)
      hashes.push(`${result.seed} ${result.hash}`)
      if (result.violation !== undefined) tellViolation(result)
      await showProgress(totals)
      if (isOver() || totals.violations >= stopAt) break
    }
    totals.seeds++
    if (totals.violations >= stopAt) break
  }
  clearProgress()
  printTotals(totals, { runtime: currentRuntime, firstSeed: options.seed, seconds: seconds() })
  if (options.hashes !== undefined) writeFileSync(options.hashes, `${hashes.join("\n")}\n`)
  if (totals.violations > 0) process.exitCode = 1
}

function* resultsOf(seed: number): Generator<SimResult, void, void> {
  if (!options.isExhaustive) {
    yield runPlan(makePlan(seed, options.steps), options.showsTrace)
    return
  }
  const keeps = ["half", "nothing", "all", "entries", "bytes", "oneLost", "oneKept"] as const
  for (const where of ["run", "opening"] as const) {
    yield* exhaust(seed, { steps: options.steps, keeps, stride: 1, where })
  }
}

/** What was wrong, how to see it again, and the smallest run that was found with it. */
const tellViolation = (result: SimResult): void => {
  clearProgress()
  const { seed, violation } = result
  const flags = options.isExhaustive ? " --exhaustive" : ""
  console.log(`violation in seed ${seed}: ${violation}`)
  console.log(
    `  again: npm run simulate -- --seed ${seed} --seeds 1 --steps ${options.steps}${flags} --runtime ${currentRuntime}`,
  )
  if (options.showsTrace) console.log(result.trace.join("\n"))
  if (options.tries === 0 || options.isExhaustive) return
  const { plan, result: least, tries } = shrink(makePlan(seed, options.steps), options.tries)
  console.log(`  shrunk with ${tries} tries to ${describe(plan)}`)
  console.log(`  ${least.violation}`)
  const steps = least.trace.filter((line) => / (?:step|done|failed|fault|end|verified|violation) /.test(line))
  console.log(steps.slice(-60).join("\n"))
}

const describe = (plan: SimPlan): string => {
  const steps = plan.sessions.reduce((sum, session) => sum + session.steps.length, 0)
  const kinds = plan.sessions.map((session) => `${session.steps.map(({ kind }) => kind).join(" ")} then ${session.end}`)
  return `${plan.sessions.length} processes with ${steps} steps: ${kinds.join("; ")}`
}

const seconds = (): number => (performance.now() - started) / 1000
const isOver = (): boolean => isStopped || seconds() >= options.minutes * 60

let shownAt = 0

/** Lets signals in, and on a terminal says how far it is. */
const showProgress = async (totals: Totals): Promise<void> => {
  await new Promise((resolve) => setImmediate(resolve))
  if (!process.stderr.isTTY || performance.now() - shownAt < 200) return
  shownAt = performance.now()
  const { runs, operations, violations } = totals
  process.stderr.write(
    `\r\x1b[K${runs} runs, ${operations} operations, ${violations} violations, ${seconds().toFixed(0)} s`,
  )
}

const clearProgress = (): void => {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K")
}

await main()
