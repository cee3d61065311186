/** All workloads on one runtime, smallest payload first, each in a process of its own. */
import * as fs from "node:fs"
import { join } from "node:path"
import type { RuntimeName } from "../scripts/runtimes.mjs"
import type { AckResult } from "./ack.bench.ts"
import type { AppendResult } from "./append.bench.ts"
import { runChild, runKilled } from "./children.ts"
import { type HeapResult, heapFlags } from "./heap.bench.ts"
import type { PointResult } from "./point.bench.ts"
import type { ReopenResult } from "./recovery.bench.ts"
import type { ScanMode, ScanResult } from "./scan.bench.ts"

/** How much of each workload is done for a payload size. */
export interface Amounts {
  readonly payloadBytes: number
  readonly appends: number
  readonly acks: number
  readonly acksAlone: number
  readonly reads: number
}

export interface SuiteParameters {
  readonly sizes: ReadonlyArray<Amounts>
  readonly producers: number
  readonly syncs: number
  readonly rounds: number
  /** Of W6. */
  readonly killedBytes: number
  readonly killedPayloadBytes: number
  readonly heapRecords: number
  /** Empties the page cache before W6 when that is permitted. */
  readonly dropsCache: boolean
}

/** What takes about 40 seconds a runtime. */
export const suiteParameters: SuiteParameters = {
  sizes: [
    { payloadBytes: 100, appends: 2_000_000, acks: 60_000, acksAlone: 1500, reads: 200_000 },
    { payloadBytes: 1024, appends: 250_000, acks: 40_000, acksAlone: 1500, reads: 150_000 },
    { payloadBytes: 16_384, appends: 16_000, acks: 10_000, acksAlone: 1000, reads: 50_000 },
  ],
  producers: 64,
  syncs: 1000,
  rounds: 3,
  killedBytes: 256 * 1024 * 1024,
  killedPayloadBytes: 1024,
  heapRecords: 200_000,
  dropsCache: true,
}

export interface SizeResult {
  readonly payloadBytes: number
  readonly append: AppendResult
  readonly group: AckResult
  readonly alone: AckResult
  readonly scan: Readonly<Record<ScanMode, ScanResult>>
  /** Mapped where the runtime can. */
  readonly point: PointResult
  /** Deno without the permission to map. */
  readonly pointPositional: PointResult | undefined
}

export interface SuiteResult {
  readonly runtime: RuntimeName
  readonly version: string
  readonly sizes: ReadonlyArray<SizeResult>
  readonly reopen: ReopenResult
  readonly heap: HeapResult
}

const scanModes: ReadonlyArray<ScanMode> = ["cursor", "views", "read"]
/** How long the writer of W6 appends on before it is killed. */
const killedAfterMs = 100

/** Runs everything; `onStep` hears what comes next. */
export const runSuite = async (
  runtime: RuntimeName,
  directory: string,
  parameters: SuiteParameters,
  onStep: (step: string) => void,
): Promise<SuiteResult> => {
  const { version } = await runChild<{ readonly version: string }>(runtime, "version", {})
  const sizes: Array<SizeResult> = []
  for (const amounts of parameters.sizes) {
    onStep(`${runtime}, ${amounts.payloadBytes} B`)
    sizes.push(await runSize(runtime, directory, amounts, parameters))
  }
  onStep(`${runtime}, killed writer`)
  const reopen = await runReopen(runtime, directory, parameters)
  onStep(`${runtime}, heap`)
  const heap = await inRoot(directory, (root) =>
    runChild<HeapResult>(
      runtime,
      "heap",
      { root, payloadBytes: 100, records: parameters.heapRecords, rounds: parameters.rounds },
      heapFlags[runtime],
    ),
  )
  return { runtime, version, sizes, reopen, heap }
}

const runSize = async (
  runtime: RuntimeName,
  directory: string,
  { payloadBytes, appends, acks, acksAlone, reads }: Amounts,
  { producers, syncs, rounds }: SuiteParameters,
): Promise<SizeResult> => {
  const append = await inRoot(directory, (root) =>
    runChild<AppendResult>(runtime, "append", { root, payloadBytes, records: appends, rounds }),
  )
  const group = await inRoot(directory, (root) =>
    runChild<AckResult>(runtime, "ack", { root, payloadBytes, producers, acks, syncs, rounds }),
  )
  const alone = await inRoot(directory, (root) =>
    runChild<AckResult>(runtime, "ack", { root, payloadBytes, producers: 1, acks: acksAlone, syncs, rounds }),
  )
  return inRoot(directory, async (parent) => {
    const [root, plainFile] = [join(parent, "store"), join(parent, "plain")]
    await runChild(runtime, "fill", { root, plainFile, payloadBytes, records: appends })
    const scan: Partial<Record<ScanMode, ScanResult>> = {}
    for (const mode of scanModes) scan[mode] = await runChild<ScanResult>(runtime, "scan", { root, plainFile, mode })
    const point = await runChild<PointResult>(runtime, "point", { root, reads })
    const pointPositional =
      runtime === "deno" ? await runChild<PointResult>(runtime, "point", { root, reads }, ["--deny-ffi"]) : undefined
    return { payloadBytes, append, group, alone, scan: scan as Record<ScanMode, ScanResult>, point, pointPositional }
  })
}

const runReopen = (runtime: RuntimeName, directory: string, parameters: SuiteParameters): Promise<ReopenResult> =>
  inRoot(directory, async (root) => {
    const { killedBytes, killedPayloadBytes: payloadBytes } = parameters
    await runKilled(runtime, { root, payloadBytes, records: Math.ceil(killedBytes / payloadBytes) }, killedAfterMs)
    return runChild<ReopenResult>(runtime, "reopen", { root, dropsCache: parameters.dropsCache })
  })

/** Gives a workload a directory of its own. */
const inRoot = async <A>(directory: string, run: (root: string) => Promise<A>): Promise<A> => {
  const root = fs.mkdtempSync(join(directory, "root-"))
  const result = await run(root)
  fs.rmSync(root, { recursive: true, force: true })
  return result
}
