/** The results of one or several runtimes as one table. */

import type { AckResult } from "./ack.bench.ts"
import { type Machine, machineText } from "./machine.ts"
import type { SizeResult, SuiteResult } from "./suite.ts"

export interface Report {
  readonly machine: Machine
  /** What an acknowledgement of W1, W2 and W3 stands for. */
  readonly durability: "durable"
  readonly parameters: object
  readonly seconds: number
  readonly suites: ReadonlyArray<SuiteResult>
}

type Row = readonly [name: string, ...cells: ReadonlyArray<string>]

/** The table, with what it was measured on above it and what its columns say below. */
export const printReport = ({ machine, suites, seconds }: Report): string => {
  const rows: Array<Row> = [["", ...suites.map(({ runtime, version }) => `${runtime} ${version}`)]]
  for (const at of suites[0]!.sizes.keys()) {
    rows.push([""], [`${suites[0]!.sizes[at]!.payloadBytes} B`])
    for (const [name, cell] of sizeRows) rows.push([name, ...suites.map((suite) => cell(suite.sizes[at]!))])
  }
  rows.push([""])
  for (const [name, cell] of suiteRows) rows.push([name, ...suites.map(cell)])
  return [
    `${machineText(machine)}; durable = fdatasync returned`,
    "",
    ...align(rows),
    "",
    "In brackets: times the plain loop of the same process (W1, W4), acknowledgements for each plain fdatasync (W2, W3).",
    `Took ${seconds.toFixed(0)} s.`,
  ].join("\n")
}

const sizeRows: ReadonlyArray<readonly [string, (size: SizeResult) => string]> = [
  [
    "W1 append, flush counted, records/s",
    ({ append }) => `${rate(append.recordsPerSecond)} (${append.ratio.toFixed(2)})`,
  ],
  ["   plain loop", ({ append }) => rate(append.plainPerSecond)],
  ["W2 64 producers, durable acks/s", ({ group }) => `${rate(group.acksPerSecond)} (${group.ratio.toFixed(1)})`],
  ["   p50 / p99", ({ group }) => latency(group)],
  ["W3 one producer, durable acks/s", ({ alone }) => `${rate(alone.acksPerSecond)} (${alone.ratio.toFixed(2)})`],
  ["   p50 / p99", ({ alone }) => latency(alone)],
  [
    "   plain fdatasync, in thread pool",
    ({ alone }) => `${rate(alone.plainSyncsPerSecond)}, ${rate(alone.pooledSyncsPerSecond)}`,
  ],
  [
    "W4 scan by cursor, records/s",
    ({ scan }) => `${rate(scan.cursor.recordsPerSecond)} (${scan.cursor.ratio.toFixed(2)})`,
  ],
  ["   payload views", ({ scan }) => `${rate(scan.views.recordsPerSecond)} (${scan.views.ratio.toFixed(2)})`],
  ["   for await", ({ scan }) => `${rate(scan.read.recordsPerSecond)} (${scan.read.ratio.toFixed(2)})`],
  ["   plain loop", ({ scan }) => rate(scan.cursor.plainPerSecond)],
  ["W5 random reads/s", ({ point }) => rate(point.readsPerSecond)],
  [
    "   without a mapping",
    ({ pointPositional }) => (pointPositional === undefined ? "" : rate(pointPositional.readsPerSecond)),
  ],
  ["W7 bytes on disk a payload byte", ({ append }) => append.overhead.toFixed(4)],
]

const suiteRows: ReadonlyArray<readonly [string, (suite: SuiteResult) => string]> = [
  [
    "W6 open after SIGKILL to first record",
    ({ reopen }) => `${(reopen.seconds * 1000).toFixed(1)} ms ${reopen.isCold ? "cold" : "warm"}`,
  ],
  ["   of which open", ({ reopen }) => `${(reopen.openSeconds * 1000).toFixed(1)} ms`],
  ["heap bytes a tryAppend", ({ heap }) => heap.bytesPerAppend.toFixed(1)],
  ["   a move of a cursor", ({ heap }) => heap.bytesPerMove.toFixed(1)],
  ["   a small object, for comparison", ({ heap }) => heap.bytesPerObject.toFixed(1)],
]

/** Three digits: 12.3M, 456k, 78.9. */
export const rate = (value: number): string => {
  const [scaled, unit] = value >= 1e6 ? [value / 1e6, "M"] : value >= 1e3 ? [value / 1e3, "k"] : [value, ""]
  return `${scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2)}${unit}`
}

const latency = ({ p50Us, p99Us }: AckResult): string => `${p50Us.toFixed(0)} / ${p99Us.toFixed(0)} us`

/** Columns of equal width: the first to the left, the others to the right. */
export const align = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]! + 2)))
      .join("")
      .trimEnd(),
  )
}
