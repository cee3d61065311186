// What many simulations have come to, and how it is printed.

import type { SimResult } from "../../src/testing/simulation/mod.ts"

export interface Totals {
  seeds: number
  runs: number
  operations: number
  steps: number
  records: number
  cuts: number
  kills: number
  violations: number
  virtualMs: number
  readonly faults: Record<string, number>
}

export const emptyTotals = (): Totals => ({
  seeds: 0,
  runs: 0,
  operations: 0,
  steps: 0,
  records: 0,
  cuts: 0,
  kills: 0,
  violations: 0,
  virtualMs: 0,
  faults: {},
})

export const addResult = (totals: Totals, { counts, violation, virtualMs }: SimResult): void => {
  totals.runs++
  totals.virtualMs += virtualMs
  if (violation !== undefined) totals.violations++
  for (const name of ["operations", "steps", "records", "cuts", "kills"] as const) totals[name] += counts[name]
  for (const [kind, count] of Object.entries(counts.faults)) totals.faults[kind] = (totals.faults[kind] ?? 0) + count
}

export const printTotals = (
  totals: Totals,
  run: { readonly runtime: string; readonly firstSeed: number; readonly seconds: number },
): void => {
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["runtime", run.runtime],
    ["seeds", `${totals.seeds} from ${run.firstSeed}`],
    ["runs", String(totals.runs)],
    ["steps", String(totals.steps)],
    ["records", String(totals.records)],
    ["operations", String(totals.operations)],
    ["power cuts", String(totals.cuts)],
    ["kills", String(totals.kills)],
    ...Object.entries(totals.faults)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([kind, count]): [string, string] => [`fault: ${kind}`, String(count)]),
    ["virtual time", `${(totals.virtualMs / 86_400_000).toFixed(1)} days`],
    ["real time", `${run.seconds.toFixed(1)} s`],
    ["violations", String(totals.violations)],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`)
}
