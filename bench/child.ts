/**
 * One workload in a process of its own: `child.ts NAME PARAMETERS`, the parameters as JSON; the last line of output is the result as
 * JSON. Everything that was imported is imported before anything is timed.
 */
import { argv, stdout, version } from "node:process"
import { benchAck } from "./ack.bench.ts"
import { appendAll, benchAppend } from "./append.bench.ts"
import { benchGrow } from "./growth.bench.ts"
import { benchHeap } from "./heap.bench.ts"
import { benchLatency } from "./latency.bench.ts"
import { benchMemory } from "./memory.bench.ts"
import { makePayloads } from "./payload.ts"
import { benchPoint } from "./point.bench.ts"
import { appendUntilKilled, benchReopen } from "./recovery.bench.ts"
import { appendPlainly } from "./reference.ts"
import { benchScan } from "./scan.bench.ts"
import { benchStreams, benchStreamsOpen } from "./streams.bench.ts"
import { benchTiers } from "./tiers.bench.ts"
import { benchWarm } from "./warm.bench.ts"

interface FillParameters {
  readonly root: string
  readonly plainFile: string
  readonly payloadBytes: number
  readonly records: number
}

/** A store to be read by others, and the same records in a plain file. */
const fill = async ({ root, plainFile, payloadBytes, records }: FillParameters): Promise<object> => {
  const payloads = makePayloads(payloadBytes)
  await appendAll(root, payloads, records)
  appendPlainly(plainFile, payloads, records)
  return {}
}

const runtimeVersion = (): string => {
  const { Bun, Deno } = globalThis as {
    readonly Bun?: { readonly version: string }
    readonly Deno?: { readonly version: { readonly deno: string } }
  }
  return Bun?.version ?? Deno?.version.deno ?? version.slice(1)
}

const say = (line: string): void => {
  stdout.write(`${line}\n`)
}

/** What a child can be asked for. */
const workloads: Record<string, (parameters: any) => Promise<object | undefined>> = {
  version: async () => ({ version: runtimeVersion() }),
  append: benchAppend,
  ack: benchAck,
  fill,
  scan: benchScan,
  point: benchPoint,
  reopen: benchReopen,
  heap: benchHeap,
  tiers: benchTiers,
  latency: benchLatency,
  memory: benchMemory,
  grow: benchGrow,
  streams: benchStreams,
  streamsOpen: benchStreamsOpen,
  warm: benchWarm,
  killed: async (parameters) => {
    await appendUntilKilled(parameters, say)
    return undefined
  },
}

const [name = "", parameters = "{}"] = argv.slice(2)
const result = await workloads[name]!(JSON.parse(parameters))
if (result !== undefined) say(JSON.stringify(result))
