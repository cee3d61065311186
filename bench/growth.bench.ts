/** A store that grows: the rate of the last appends, that of random reads, and how long opening takes, at one size after another. */
import { memoryUsage } from "node:process"
import { AofManager } from "../mod.ts"
import { makePayloads } from "./payload.ts"

export interface GrowParameters {
  readonly root: string
  readonly payloadBytes: number
  /** Payload bytes that the store is to hold afterwards. */
  readonly untilBytes: number
  /** The last of them, whose appends are timed. */
  readonly timedBytes: number
}

export interface GrowResult {
  readonly recordsPerSecond: number
  readonly records: number
  readonly rssBytes: number
}

/** Appends up to a size; the flush at the end counts for the timed part. */
export const benchGrow = async (parameters: GrowParameters): Promise<GrowResult> => {
  const { root, payloadBytes, untilBytes, timedBytes } = parameters
  const payloads = makePayloads(payloadBytes)
  const manager = await AofManager.open({ root })
  const stream = await manager.stream("bench")
  const end = Math.floor(untilBytes / payloadBytes)
  const timedFrom = Math.max(stream.info().count, end - Math.floor(timedBytes / payloadBytes))
  let started = performance.now()
  for (let i = stream.info().count; i < end; i++) {
    if (i === timedFrom) {
      await stream.flush()
      started = performance.now()
    }
    while (stream.tryAppend(payloads[i & (payloads.length - 1)]!) < 0) await stream.ready()
    if (i % 10_000 === 9999) await new Promise((resolve) => setImmediate(resolve))
  }
  await stream.flush()
  const seconds = (performance.now() - started) / 1000
  const { rss } = memoryUsage()
  await manager.close()
  return { recordsPerSecond: (end - timedFrom) / seconds, records: end, rssBytes: rss }
}
