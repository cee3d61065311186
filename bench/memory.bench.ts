/**
 * Overload: more is offered than the disk takes, by several streams at once, for a while; what the process then holds beyond what it held
 * before, beside the budget that it was given. The disk's speed is measured first, by writing and syncing large blocks.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { memoryUsage } from "node:process"
import { AofManager } from "../mod.ts"
import { makePayloads } from "./payload.ts"
import { quantileOf } from "./statistics.ts"

export interface MemoryParameters {
  readonly root: string
  readonly streams: number
  readonly payloadBytes: number
  readonly ms: number
  /** Times the disk's speed that is offered. */
  readonly overload: number
  readonly memoryBytesMax: number
}

export interface MemoryResult {
  readonly diskBytesPerSecond: number
  readonly offeredBytesPerSecond: number
  readonly takenBytesPerSecond: number
  /** Part of the time in which a stream refused. */
  readonly refusals: number
  readonly rssBeforeBytes: number
  readonly rssMostBytes: number
  readonly rssP50Bytes: number
  /** `memoryBytesMax`. */
  readonly budgetBytes: number
  /** Growth of RSS by the budget. */
  readonly ratio: number
}

const MiB = 1024 * 1024
const blockBytes = MiB
const diskBytesMax = 256 * MiB
const diskMs = 1000
const sampleMs = 20
const warmUpBytes = 4 * MiB
const settleMs = 1000
const retainedBytes = 128 * MiB
const segmentBytes = 32 * MiB

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Offers and watches. */
export const benchMemory = async (parameters: MemoryParameters): Promise<MemoryResult> => {
  const { root, streams: count, payloadBytes, ms, overload, memoryBytesMax } = parameters
  const diskBytesPerSecond = measureDisk(join(root, "plain"))
  const payloads = makePayloads(payloadBytes)
  const manager = await AofManager.open({
    root: join(root, "store"),
    segmentBytes,
    memoryBytesMax,
    retention: { bytes: retainedBytes },
    tier2: false,
  })
  const streams = await Promise.all(Array.from({ length: count }, (_, i) => manager.stream(`stream-${i}`)))
  // Code that any load compiles, and what it needs once, such as the worker that compresses, are no part of the growth.
  for (const stream of streams) {
    for (let bytes = 0; bytes < warmUpBytes; bytes += payloadBytes) stream.tryAppend(payloads[0]!)
    await stream.seal()
  }
  await new Promise((resolve) => setTimeout(resolve, settleMs))
  const rssBeforeBytes = memoryUsage().rss
  const rss: Array<number> = []
  const timer = setInterval(() => rss.push(memoryUsage().rss), sampleMs)
  const offeredPerMs = (diskBytesPerSecond * overload) / 1000 / count
  const started = performance.now()
  const results = await Promise.all(streams.map((stream) => offer(stream, { payloads, started, ms, offeredPerMs })))
  for (const stream of streams) await stream.flush()
  const seconds = (performance.now() - started) / 1000
  clearInterval(timer)
  await manager.close()
  fs.rmSync(root, { recursive: true })
  const sum = (pick: (one: Offered) => number): number => results.reduce((total, one) => total + pick(one), 0)
  const rssMostBytes = Math.max(...rss)
  return {
    diskBytesPerSecond,
    offeredBytesPerSecond: diskBytesPerSecond * overload,
    takenBytesPerSecond: sum((one) => one.takenBytes) / seconds,
    refusals: sum((one) => one.refusals),
    rssBeforeBytes,
    rssMostBytes,
    rssP50Bytes: quantileOf(rss, 0.5),
    budgetBytes: memoryBytesMax,
    ratio: (rssMostBytes - rssBeforeBytes) / memoryBytesMax,
  }
}

interface Offered {
  readonly takenBytes: number
  readonly refusals: number
}

type Stream = Awaited<ReturnType<AofManager["stream"]>>

/** Appends what is due; when the stream refuses, waits until it takes again, as a program would. */
const offer = async (
  stream: Stream,
  {
    payloads,
    started,
    ms,
    offeredPerMs,
  }: {
    readonly payloads: ReadonlyArray<Uint8Array>
    readonly started: number
    readonly ms: number
    readonly offeredPerMs: number
  },
): Promise<Offered> => {
  let [takenBytes, refusals, i] = [0, 0, 0]
  for (let isOver = false; !isOver; ) {
    const sinceMs = performance.now() - started
    isOver = sinceMs >= ms
    const dueBytes = Math.min(sinceMs, ms) * offeredPerMs
    // A turn appends at most a block, so that the other streams have theirs.
    for (let end = takenBytes + blockBytes; takenBytes < dueBytes && takenBytes < end; ) {
      const payload = payloads[i & (payloads.length - 1)]!
      if (stream.tryAppend(payload) < 0) {
        refusals++
        await stream.ready()
        break
      }
      takenBytes += payload.length
      i++
    }
    await nextTurn()
  }
  return { takenBytes, refusals }
}

/** Bytes a second that the disk takes in synced blocks. */
const measureDisk = (path: string): number => {
  const block = new Uint8Array(blockBytes).fill(7)
  const file = fs.openSync(path, "w")
  const started = performance.now()
  let bytes = 0
  while (bytes < diskBytesMax && performance.now() - started < diskMs) {
    bytes += fs.writeSync(file, block, 0, blockBytes, bytes)
    fs.fdatasyncSync(file)
  }
  const seconds = (performance.now() - started) / 1000
  fs.closeSync(file)
  fs.rmSync(path)
  return bytes / seconds
}
