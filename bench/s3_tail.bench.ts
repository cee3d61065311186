/**
 * What readers of cold history cost those who follow the live end: from the call of `append` to the follower's loop, alone and beside readers that
 * scan the same cold segments at once, each from its start.
 */
import type { Aof, AofManager } from "../mod.ts"
import { quantileOf } from "./statistics.ts"

export interface S3Tail {
  /** Readers at once. */
  readonly readers: number
  readonly quietP50Us: number
  readonly quietP99Us: number
  readonly busyP50Us: number
  readonly busyP99Us: number
  /** What all readers together got out of the log. */
  readonly readBytes: number
  /** What the bucket was asked for, for that. */
  readonly fetchedBytes: number
  /** Bytes of the objects that hold it. */
  readonly objectBytes: number
}

const readers = 8
/** Between two appends. */
const pauseMs = 2
const quietMs = 3000

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))

/** Measures with `cold`, whose sealed segments lie in the bucket alone. */
export const measureTail = async (
  manager: AofManager,
  cold: { readonly stream: Aof; readonly records: number; readonly objectBytes: number },
): Promise<S3Tail> => {
  const live = await manager.stream("live")
  const asked: Array<number> = []
  let latenciesMs: Array<number> = []
  const stop = new AbortController()
  const followed = (async () => {
    for await (const { recordNumber } of live.follow({ from: "start", signal: stop.signal }))
      latenciesMs.push(performance.now() - asked[recordNumber]!)
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })
  let isOver = false
  const produced = (async () => {
    while (!isOver) {
      asked.push(performance.now())
      await live.append("a record of the live end")
      await sleep(pauseMs)
    }
  })()
  await sleep(quietMs)
  const quiet = latenciesMs.slice(latenciesMs.length >> 2)
  const readBefore = bytesOf(manager.observe().tier2)
  latenciesMs = []
  const read = await Promise.all(Array.from({ length: readers }, () => scan(cold)))
  const busy = latenciesMs
  const fetchedBytes = bytesOf(manager.observe().tier2) - readBefore
  isOver = true
  await produced
  stop.abort()
  await followed
  return {
    readers,
    quietP50Us: quantileOf(quiet, 0.5) * 1000,
    quietP99Us: quantileOf(quiet, 0.99) * 1000,
    busyP50Us: quantileOf(busy, 0.5) * 1000,
    busyP99Us: quantileOf(busy, 0.99) * 1000,
    readBytes: read.reduce((sum, bytes) => sum + bytes, 0),
    fetchedBytes,
    objectBytes: cold.objectBytes,
  }
}

const bytesOf = (tier2: ReturnType<AofManager["observe"]>["tier2"]): number =>
  (tier2?.bytesRead ?? 0) + (tier2?.bytesFetched ?? 0)

const scan = async ({ stream, records }: { readonly stream: Aof; readonly records: number }): Promise<number> => {
  let bytes = 0
  for await (const record of stream.read({ limit: records })) bytes += record.bytes.length
  return bytes
}
