/**
 * Many streams of one root: durable acknowledgements a second of a few producers that go round them all, how fast streams are made, what
 * an idle one costs in memory and open files, and how long opening a root of them takes.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { memoryUsage, pid } from "node:process"
import { AofManager } from "../mod.ts"
import { findUsedHeap, type UsedHeap } from "./heap.bench.ts"
import { hashText, makePayloads } from "./payload.ts"
import { syncPlainly } from "./reference.ts"
import { quantileOf } from "./statistics.ts"

export interface StreamsParameters {
  /** A directory; the store lies below it, and stays for `benchStreamsOpen`. */
  readonly root: string
  readonly streams: number
  readonly producers: number
  readonly payloadBytes: number
  /** When the acknowledgements end. */
  readonly ms: number
  /** Streams that are made at the same time. */
  readonly concurrency: number
  /** When making them ends, whether or not all are made. */
  readonly createMsMax: number
}

export interface StreamsResult {
  /** Fewer than asked for when there was no time for more. */
  readonly madeStreams: number
  readonly createdPerSecond: number
  readonly acksPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
  /** Syncs of one file a second in a plain loop of this process, before and after. */
  readonly plainSyncsPerSecond: number
  /** Growth of heap and of memory outside of it for each stream that was made and left alone. */
  readonly madeHeapBytes: number
  readonly madeOtherBytes: number
  /** The same when many of them were appended to before they were left alone. */
  readonly idleHeapBytes: number
  readonly idleOtherBytes: number
  /** Streams that were appended to. */
  readonly appendedStreams: number
  readonly openFilesBefore: number
  /** With all streams made. */
  readonly openFilesMade: number
  /** With all appended to and then left alone. */
  readonly openFilesIdle: number
  readonly hash: string
}

const idleMs = 300
const plainSyncs = 200
/** Closing thousands of streams is not what is timed, and takes its time on a slow disk. */
const closeTimeoutMs = 120_000

/** Descriptors of this process; NaN where the system does not say. */
const countOpenFiles = (): number => {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return Number.NaN
  }
}

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))
const streamName = (index: number): string => `stream-${index}`

/** Makes the streams and appends to them. */
export const benchStreams = async (parameters: StreamsParameters): Promise<StreamsResult> => {
  const { root, streams: asked, producers, payloadBytes, ms, concurrency, createMsMax } = parameters
  const payloads = makePayloads(payloadBytes)
  const usedHeap = await findUsedHeap()
  const plainFile = join(root, "plain")
  fs.writeFileSync(plainFile, new Uint8Array(8 * 1024 * 1024))
  const before = syncPlainly(plainFile, payloads[0]!, plainSyncs)
  const manager = await AofManager.open({ root: join(root, "store"), closeTimeoutMs })
  const first = await manager.stream("first")
  await first.append(payloads[0]!)
  const openFilesBefore = countOpenFiles()
  const memoryBefore = await settle(usedHeap)
  let next = 0
  const started = performance.now()
  const streams: Array<Awaited<ReturnType<typeof manager.stream>>> = []
  const make = async (): Promise<void> => {
    while (next < asked && performance.now() - started < createMsMax) {
      streams.push(await manager.stream(streamName(next++)))
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, asked) }, make))
  const count = streams.length
  const createdPerSecond = count / ((performance.now() - started) / 1000)
  const memoryAfter = await settle(usedHeap)
  const openFilesMade = countOpenFiles()
  const acked = await appendToAll(streams, { producers, payloads, ms })
  const memoryIdle = await settle(usedHeap)
  const openFilesIdle = countOpenFiles()
  await manager.close()
  const after = syncPlainly(plainFile, payloads[0]!, plainSyncs)
  fs.rmSync(plainFile)
  return {
    madeStreams: count,
    createdPerSecond,
    ...acked,
    plainSyncsPerSecond: (2 * plainSyncs) / (before + after),
    madeHeapBytes: (memoryAfter.heapBytes - memoryBefore.heapBytes) / count,
    madeOtherBytes: (memoryAfter.otherBytes - memoryBefore.otherBytes) / count,
    idleHeapBytes: (memoryIdle.heapBytes - memoryBefore.heapBytes) / count,
    idleOtherBytes: (memoryIdle.otherBytes - memoryBefore.otherBytes) / count,
    openFilesBefore,
    openFilesMade,
    openFilesIdle,
    hash: hashText(count, payloadBytes),
  }
}

/** What is in use after a quiet while. Twice, as buffers outside of the heap go in the background after a collection. */
const settle = async (usedHeap: UsedHeap): Promise<ReturnType<UsedHeap["settled"]>> => {
  await sleep(idleMs)
  usedHeap.settled()
  await sleep(idleMs)
  return usedHeap.settled()
}

type Streams = ReadonlyArray<Awaited<ReturnType<AofManager["stream"]>>>

/** Each producer awaits its append before the next one, which goes to the next stream that nobody has. */
const appendToAll = async (
  streams: Streams,
  {
    producers,
    payloads,
    ms,
  }: { readonly producers: number; readonly payloads: ReadonlyArray<Uint8Array>; readonly ms: number },
): Promise<Pick<StreamsResult, "acksPerSecond" | "p50Us" | "p99Us" | "appendedStreams">> => {
  const latenciesMs: Array<number> = []
  let next = 0
  const produce = async (until: number): Promise<void> => {
    do {
      const index = next++
      const asked = performance.now()
      await streams[index % streams.length]!.append(payloads[index & (payloads.length - 1)]!)
      latenciesMs.push(performance.now() - asked)
    } while (performance.now() < until)
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: producers }, () => produce(started + ms)))
  const seconds = (performance.now() - started) / 1000
  return {
    acksPerSecond: latenciesMs.length / seconds,
    p50Us: quantileOf(latenciesMs, 0.5) * 1000,
    p99Us: quantileOf(latenciesMs, 0.99) * 1000,
    appendedStreams: Math.min(streams.length, next),
  }
}

export interface StreamsOpenResult {
  readonly openSeconds: number
  readonly streams: number
  readonly rssBytes: number
}

/** Opens the root that `benchStreams` has left. */
export const benchStreamsOpen = async ({ root }: { readonly root: string }): Promise<StreamsOpenResult> => {
  const warm = await AofManager.open({ root: join(root, "warm") })
  await warm.close()
  const started = performance.now()
  const manager = await AofManager.open({ root: join(root, "store"), closeTimeoutMs })
  const openSeconds = (performance.now() - started) / 1000
  const streams = manager.streams().length
  const { rss } = memoryUsage()
  await manager.close()
  return { openSeconds, streams, rssBytes: rss }
}
