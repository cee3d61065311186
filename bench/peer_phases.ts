/**
 * What the process of one phase of `bench:peers` does with one contestant: the same loops for all. A phase that is bounded by time ends
 * at its amount or its time, whichever comes first; rates are compared.
 */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { argv, cpuUsage, exit, stdout } from "node:process"
import type { Contestant, Context, PointReader, Store, Workload } from "./contestant.ts"
import { diskBytesBelow, dropPageCache } from "./disk.ts"
import { expectedHash, makePayloads, makeRandom32, mixRecord } from "./payload.ts"
import { quantileOf } from "./statistics.ts"

export type PhaseName = "append" | "ack" | "scan" | "point" | "killed" | "reopen"

export interface PhaseParameters {
  readonly phase: PhaseName
  readonly workload: Workload
  readonly directory: string
  readonly payloadBytes: number
  /** Records, acknowledgements or reads. */
  readonly amount: number
  /** When an amount of acknowledgements ends at the latest; for reads the same in processor time, so that code is as warm on a busy machine. */
  readonly msMax: number
  readonly producers: number
  /** A scan mode of the contestant. */
  readonly mode: string
  /** Where its packages were installed. */
  readonly packagesFolder: string
  /** Paths of its programs. */
  readonly programs: Readonly<Record<string, string>>
}

export interface PhaseResult {
  /** Records, acknowledgements or reads a second. */
  readonly rate?: number
  /** Processor time of all threads of the process for each of them, in nanoseconds: the machine's load changes it little. */
  readonly cpuNs?: number
  /** W1: bytes on disk after the close. */
  readonly diskBytes?: number
  readonly p50Us?: number
  readonly p99Us?: number
  /** W6. */
  readonly seconds?: number
  readonly isCold?: boolean
  /** Of what was read, so that reading it cannot be left out. */
  readonly hash?: number
}

/** Runs what the command line says, and prints the result. */
export const runPhase = async (contestant: Contestant): Promise<void> => {
  const parameters = JSON.parse(argv.at(-1)!) as PhaseParameters
  const result = await phases[parameters.phase](contestant, parameters)
  // Some peers keep timers or threads that would keep the process.
  stdout.write(`${JSON.stringify(result)}\n`, () => exit(0))
}

const openStore = (contestant: Contestant, parameters: PhaseParameters): Promise<Store> => {
  const require = createRequire(join(parameters.packagesFolder, "package.json"))
  const context: Context = {
    directory: parameters.directory,
    workload: parameters.workload,
    load: async (name) => {
      const loaded = require(name)
      return typeof loaded === "function" ? { default: loaded } : loaded
    },
    program: (name) => parameters.programs[name]!,
  }
  return contestant.open(context)
}

/** Begins to time; what it gives ends that and says what `count` operations took. */
const startWatch = (): ((count: number) => { readonly rate: number; readonly cpuNs: number }) => {
  const before = cpuUsage()
  const started = performance.now()
  return (count) => {
    const seconds = (performance.now() - started) / 1000
    const { user, system } = cpuUsage(before)
    return { rate: count / seconds, cpuNs: ((user + system) / count) * 1000 }
  }
}

type Phase = (contestant: Contestant, parameters: PhaseParameters) => Promise<PhaseResult>

const append: Phase = async (contestant, parameters) => {
  const { payloadBytes, amount, directory } = parameters
  const payloads = makePayloads(payloadBytes)
  const store = await openStore(contestant, parameters)
  const watch = startWatch()
  await store.appendAll(payloads, amount)
  const rates = watch(amount)
  await store.close()
  return { ...rates, diskBytes: diskBytesBelow(directory) }
}

const ack: Phase = async (contestant, parameters) => {
  const { payloadBytes, amount, producers, msMax } = parameters
  const payloads = makePayloads(payloadBytes)
  const store = await openStore(contestant, parameters)
  const appendOne = (producers === 1 ? store.appendAlone : undefined) ?? store.append!
  const warmUp = Array.from({ length: producers }, () => appendOne(payloads[0]!))
  await Promise.all(warmUp)
  const latenciesMs = new Float64Array(amount)
  let [next, acks] = [0, 0]
  const watch = startWatch()
  const started = performance.now()
  const produce = async (): Promise<void> => {
    for (let isFirst = true; next < amount && (isFirst || performance.now() - started < msMax); isFirst = false) {
      const i = next++
      const asked = performance.now()
      await appendOne(payloads[i & (payloads.length - 1)]!)
      latenciesMs[i] = performance.now() - asked
      acks++
    }
  }
  await Promise.all(Array.from({ length: producers }, produce))
  const rates = watch(acks)
  await store.close()
  const taken = latenciesMs.subarray(0, acks)
  return { ...rates, p50Us: quantileOf(taken, 0.5) * 1000, p99Us: quantileOf(taken, 0.99) * 1000 }
}

const scan: Phase = async (contestant, parameters) => {
  const { payloadBytes, amount, mode } = parameters
  const store = await openStore(contestant, parameters)
  const watch = startWatch()
  const { records, hash } = await store.scan!(mode)
  const rates = watch(records)
  await store.close()
  if (records !== amount || hash !== expectedHash(makePayloads(payloadBytes), amount))
    throw new Error(`error: scanned ${records} records of ${amount}, or others`)
  return rates
}

/** Reads between two looks at the time. */
const pointBatch = 256

const point: Phase = async (contestant, parameters) => {
  const { payloadBytes, amount, msMax } = parameters
  const store = await openStore(contestant, parameters)
  const reader = await store.openPoint!()
  const random32 = makeRandom32(amount)
  await readSome(reader, random32, { payloadBytes, reads: Math.ceil(amount / 10), msMax: msMax / 4 })
  const watch = startWatch()
  const { reads, hash } = await readSome(reader, random32, { payloadBytes, reads: amount, msMax })
  const rates = watch(reads)
  await store.close()
  return { ...rates, hash }
}

const cpuMs = (before: NodeJS.CpuUsage): number => {
  const { user, system } = cpuUsage(before)
  return (user + system) / 1000
}

const readSome = async (
  reader: PointReader,
  random32: () => number,
  { payloadBytes, reads, msMax }: { readonly payloadBytes: number; readonly reads: number; readonly msMax: number },
): Promise<{ readonly reads: number; readonly hash: number }> => {
  const first = reader.get(0)
  if ((await first).length !== payloadBytes) throw new Error(`error: a record of ${(await first).length} bytes`)
  const isWaiting = first instanceof Promise
  let [done, hash] = [0, 0]
  const before = cpuUsage()
  while (done < reads && cpuMs(before) < msMax) {
    const end = Math.min(reads, done + pointBatch)
    for (; done < end; done++) {
      const given = reader.get(random32() % reader.records)
      const payload = isWaiting ? await given : (given as Uint8Array)
      hash = mixRecord(hash, payload.length, payload[0]!)
    }
  }
  return { reads: done, hash }
}

const killed: Phase = async (contestant, parameters) => {
  const payloads = makePayloads(parameters.payloadBytes)
  const store = await openStore(contestant, parameters)
  await store.appendAll(payloads, parameters.amount)
  stdout.write("ready\n")
  for (let i = 0; ; i++) await store.append!(payloads[i & (payloads.length - 1)]!)
}

const reopen: Phase = async (contestant, parameters) => {
  // Loads the code and runs it once with another store: what is timed is opening this one.
  const directory = `${parameters.directory}-warm`
  fs.mkdirSync(directory)
  const warm = await openStore(contestant, { ...parameters, directory })
  await warm.appendAll(makePayloads(parameters.payloadBytes), 1000)
  await warm.first!()
  await warm.close()
  fs.rmSync(directory, { recursive: true })
  const isCold = dropPageCache()
  const started = performance.now()
  const store = await openStore(contestant, parameters)
  const first = await store.first!()
  const seconds = (performance.now() - started) / 1000
  if (first.length !== parameters.payloadBytes) throw new Error(`error: a first record of ${first.length} bytes`)
  await store.close()
  return { seconds, isCold }
}

const phases: Record<PhaseName, Phase> = { append, ack, scan, point, killed, reopen }
