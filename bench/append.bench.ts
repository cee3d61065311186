/**
 * W1 and W7: appends in batches without waiting, one flush at the end which counts; and what lies on disk after the close. The plain
 * loop runs before each round, so that the ratio holds whatever else the machine does.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { AofManager } from "../mod.ts"
import { diskBytesBelow } from "./disk.ts"
import { hashText, makePayloads } from "./payload.ts"
import { appendPlainly } from "./reference.ts"
import { medianOf } from "./statistics.ts"

export interface AppendParameters {
  readonly root: string
  readonly payloadBytes: number
  readonly records: number
  readonly rounds: number
}

export interface AppendResult {
  /** W1: records a second, the flush included. */
  readonly recordsPerSecond: number
  /** The same before the flush. */
  readonly bufferedPerSecond: number
  readonly plainPerSecond: number
  /** Median of the rounds' own ratios to the plain loop. */
  readonly ratio: number
  /** W7: bytes on disk for each payload byte, after the close. */
  readonly overhead: number
  readonly hash: string
}

/** The median round. */
export const benchAppend = async (parameters: AppendParameters): Promise<AppendResult> => {
  const { root, payloadBytes, records, rounds } = parameters
  const payloads = makePayloads(payloadBytes)
  const plain: Array<number> = []
  const stores: Array<Awaited<ReturnType<typeof appendAll>>> = []
  for (let round = 0; round < rounds; round++) {
    const file = join(root, `plain-${round}`)
    plain.push(appendPlainly(file, payloads, records))
    fs.rmSync(file)
    const directory = join(root, `store-${round}`)
    stores.push(await appendAll(directory, payloads, records))
    fs.rmSync(directory, { recursive: true })
  }
  return {
    recordsPerSecond: records / medianOf(stores.map((one) => one.seconds)),
    bufferedPerSecond: records / medianOf(stores.map((one) => one.bufferedSeconds)),
    plainPerSecond: records / medianOf(plain),
    ratio: medianOf(stores.map((one, round) => plain[round]! / one.seconds)),
    overhead: medianOf(stores.map((one) => one.diskBytes)) / (records * payloadBytes),
    hash: hashText(...stores.map((one) => one.count), payloadBytes),
  }
}

/** Records between two turns of the event loop: W1 appends in batches, as a program does that also reads its input. */
const batchRecords = 10_000

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Fills a store under `directory` as a program would that does not wait for each record. */
export const appendAll = async (
  directory: string,
  payloads: ReadonlyArray<Uint8Array>,
  records: number,
): Promise<{
  readonly seconds: number
  readonly bufferedSeconds: number
  readonly diskBytes: number
  readonly count: number
}> => {
  const mask = payloads.length - 1
  const manager = await AofManager.open({ root: directory })
  const stream = await manager.stream("bench")
  const started = performance.now()
  for (let i = 0; i < records; i++) {
    const payload = payloads[i & mask]!
    while (stream.tryAppend(payload) < 0) await stream.ready()
    if (i % batchRecords === batchRecords - 1) await nextTurn()
  }
  const buffered = performance.now()
  await stream.flush()
  const ended = performance.now()
  const { count } = stream.info()
  await manager.close()
  return {
    seconds: (ended - started) / 1000,
    bufferedSeconds: (buffered - started) / 1000,
    diskBytes: diskBytesBelow(directory),
    count,
  }
}
