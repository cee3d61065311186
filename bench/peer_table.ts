/** The samples of `bench:peers` as figures: medians, spread, ratios to the limit and to the best peer, goals; as a table. */
import type { Workload } from "./contestant.ts"
import { type Goal, goalOf } from "./goals.ts"
import type { Entry, Failure, Sample } from "./peer_runner.ts"
import { align, rate } from "./report.ts"
import { medianOf } from "./statistics.ts"

/** One line: what one entry reached in one workload at one size. */
export interface Figure {
  readonly workload: Workload
  readonly payloadBytes: number
  readonly label: string
  readonly mode: string
  readonly kind: "limit" | "own" | "peer"
  readonly median: number
  readonly least: number
  readonly most: number
  /** Processor time for each record, acknowledgement or read, in nanoseconds; without that of a server. */
  readonly cpuNs: number | undefined
  readonly p50Us: number | undefined
  readonly p99Us: number | undefined
  readonly isCold: boolean | undefined
  /** By the limit: the median of the rounds' ratios. */
  readonly ofLimit: number | undefined
  /** By the best peer, the same way. */
  readonly ofPeer: number | undefined
  readonly goal: Goal | undefined
  readonly isMet: boolean | undefined
}

export const limitLabel = "limit (C)"

/** True where less is better. */
export const isLessBetter = (workload: Workload): boolean => workload === "W6" || workload === "W7"

/** The figures of a run, by workload and size, the best first. */
export const makeFigures = (samples: ReadonlyArray<Sample>, entries: ReadonlyArray<Entry>): ReadonlyArray<Figure> => {
  const groups = Map.groupBy(samples, ({ workload, payloadBytes }) => `${workload} ${payloadBytes}`)
  const keys = [...groups.keys()].sort((a, b) => {
    const [[x, m], [y, n]] = [a.split(" "), b.split(" ")] as [[string, string], [string, string]]
    return x === y ? Number(m) - Number(n) : x < y ? -1 : 1
  })
  return keys.flatMap((key) => figuresOf(groups.get(key)!, entries))
}

const figuresOf = (samples: ReadonlyArray<Sample>, entries: ReadonlyArray<Entry>): ReadonlyArray<Figure> => {
  const { workload, payloadBytes } = samples[0]!
  const sign = isLessBetter(workload) ? 1 : -1
  const rows = [...Map.groupBy(samples, ({ label, mode }) => `${label}\n${mode}`).values()].map((of) => {
    const { label, mode } = of[0]!
    const entry = entries.find((one) => one.label === label)!
    const kind = entry.contestant === undefined ? "limit" : entry.contestant.isOwn === true ? "own" : "peer"
    return { of, label, mode, kind, runtime: entry.runtime, median: medianOf(of.map(({ value }) => value)) } as const
  })
  rows.sort((a, b) => sign * (a.median - b.median))
  const limit = rows.find(({ kind }) => kind === "limit")
  const best = rows.find(({ kind }) => kind === "peer")
  return rows.map(({ of, label, mode, kind, runtime, median }) => {
    const values = of.map(({ value }) => value)
    const latency = (pick: (sample: Sample) => number | undefined): number | undefined =>
      of[0]!.p99Us === undefined ? undefined : medianOf(of.map((one) => pick(one)!))
    const ofLimit = ratioOf(of, limit?.of)
    const ofPeer = ratioOf(of, best?.of)
    const goal = kind === "own" ? goalOf(workload, payloadBytes, mode, runtime) : undefined
    return {
      workload,
      payloadBytes,
      label,
      mode,
      kind,
      median,
      least: Math.min(...values),
      most: Math.max(...values),
      cpuNs: of[0]!.cpuNs === undefined ? undefined : medianOf(of.map((one) => one.cpuNs!)),
      p50Us: latency((one) => one.p50Us),
      p99Us: latency((one) => one.p99Us),
      isCold: of[0]!.isCold,
      ofLimit,
      ofPeer,
      goal,
      isMet: goal === undefined ? undefined : meets(goal, { median, ofLimit, ofPeer }),
    }
  })
}

/** The median of the rounds' own ratios, so that a slow stretch of the machine, which meets both, changes little. */
const ratioOf = (of: ReadonlyArray<Sample>, others: ReadonlyArray<Sample> | undefined): number | undefined => {
  const ratios = of.flatMap(({ round, value }) => {
    const other = others?.find((one) => one.round === round)
    return other === undefined ? [] : [value / other.value]
  })
  return ratios.length === 0 ? undefined : medianOf(ratios)
}

const meets = (
  { ofLimit, ofPeer, most }: Goal,
  figure: { readonly median: number; readonly ofLimit: number | undefined; readonly ofPeer: number | undefined },
): boolean =>
  (ofLimit === undefined || figure.ofLimit === undefined || figure.ofLimit >= ofLimit) &&
  (ofPeer === undefined || figure.ofPeer === undefined || figure.ofPeer >= ofPeer) &&
  (most === undefined || figure.median <= most)

const titles: Readonly<Record<Workload, string>> = {
  W1: "append in batches, one sync at the end counted, records/s",
  W2: "64 producers, each append acknowledged after an fdatasync, acks/s",
  W3: "one producer, each append acknowledged after an fdatasync, acks/s",
  W4: "scan of all records in a fresh process, page cache warm, records/s",
  W5: "random reads one at a time, page cache warm, reads/s",
  W6: "open after SIGKILL to the first record",
  W7: "bytes on disk for each payload byte, random payload",
}

/** What a workload measures, in words. */
export const titleOf = (workload: Workload): string => titles[workload]

/** A value of a workload with its unit. */
export const valueText = (workload: Workload, value: number): string =>
  workload === "W6" ? `${(value * 1000).toFixed(1)} ms` : workload === "W7" ? value.toFixed(4) : rate(value)

/** The table: a block for each workload and size. */
export const printFigures = (figures: ReadonlyArray<Figure>): string => {
  const blocks = [...Map.groupBy(figures, ({ workload, payloadBytes }) => `${workload} ${payloadBytes}`).values()]
  return blocks
    .map((block) => {
      const { workload, payloadBytes } = block[0]!
      const head = [
        "",
        "median",
        "min - max",
        "of limit",
        "of best peer",
        "CPU ns each",
        "p50 / p99 us",
        "goal",
      ] as const
      return [`${workload} ${titles[workload]}, ${payloadBytes} B`, ...align([head, ...block.map(rowOf)])].join("\n")
    })
    .join("\n\n")
}

const rowOf = (figure: Figure): readonly [string, ...Array<string>] => {
  const { workload, label, mode, kind, median, least, most, p50Us, p99Us, ofLimit, ofPeer } = figure
  const name = `${kind === "own" ? "> " : "  "}${label}${mode === "" ? "" : `, ${mode}`}`
  const times = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(value < 10 ? 2 : 0))
  const cold = figure.isCold === undefined ? "" : figure.isCold ? " cold" : " warm"
  return [
    name,
    valueText(workload, median) + cold,
    least === most ? "" : `${valueText(workload, least)} - ${valueText(workload, most)}`,
    kind === "limit" ? "" : times(ofLimit),
    kind === "limit" ? "" : times(ofPeer),
    figure.cpuNs === undefined ? "" : figure.cpuNs.toFixed(figure.cpuNs < 10 ? 1 : 0),
    p50Us === undefined ? "" : `${p50Us.toFixed(0)} / ${p99Us!.toFixed(0)}`,
    goalText(figure),
  ]
}

const goalText = ({ workload, goal, isMet }: Figure): string => {
  if (goal === undefined) return ""
  const { ofLimit, ofPeer, most } = goal
  const parts = [
    ofLimit === undefined ? [] : [`${ofLimit} of limit`],
    ofPeer === undefined ? [] : [`${ofPeer} of peer`],
    most === undefined ? [] : [`at most ${valueText(workload, most)}`],
  ].flat()
  return `${isMet === true ? "met" : "MISSED"}: ${parts.join(", ")}`
}

/** What each contestant ran with, and what failed. */
export const printSettings = (
  entries: ReadonlyArray<Entry>,
  failures: ReadonlyArray<Failure>,
  missing: ReadonlyArray<{ readonly name: string; readonly message: string }>,
): string => {
  const seen = new Set<Entry["contestant"]>()
  const lines = entries.flatMap(({ contestant }) => {
    if (contestant === undefined || seen.has(contestant)) return []
    seen.add(contestant)
    const versions = Object.entries(contestant.packages ?? {}).map(([name, version]) => `${name} ${version}`)
    return [`  ${contestant.name}${versions.length > 0 ? ` (${versions.join(", ")})` : ""}: ${contestant.settings}`]
  })
  return [
    "Settings",
    ...lines,
    ...missing.map(({ name, message }) => `  ${name}: not measured: ${message}`),
    ...failures.map(
      ({ label, workload, payloadBytes, message }) => `  ${label}, ${workload}, ${payloadBytes} B: failed: ${message}`,
    ),
  ].join("\n")
}
