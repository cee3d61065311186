/**
 * From the call of `append` to the follower's loop in the same process, at a steady rate, at `written` or at `durable`; and the same while
 * segments of another stream are compressed, uploaded, evicted and brought back. What is due is appended at `durable` by a timer of a millisecond,
 * so that the cores are free for those who sync; at `written`, where a timer's tick is long, in every turn of the event loop. The same producer
 * feeds a plain file in groups before: so what the disk does can be told from what the store adds.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { AofManager } from "../mod.ts"
import { makeLines } from "./lines.ts"
import { hashText, makePayloads } from "./payload.ts"
import { PlainGroups } from "./plain_groups.ts"
import { quantileOf } from "./statistics.ts"

export interface LatencyParameters {
  readonly root: string
  readonly level: "written" | "durable"
  readonly payloadBytes: number
  /** Appends a second. */
  readonly rate: number
  readonly ms: number
  /** True while segments of another stream move. */
  readonly isBusy: boolean
  /** Size of the other stream's segments. */
  readonly segmentBytes: number
}

export interface LatencyResult {
  readonly p50Us: number
  readonly p99Us: number
  readonly mostUs: number
  /** What the producer reached. */
  readonly appendsPerSecond: number
  /** Segments that went down and came back meanwhile. */
  readonly movedSegments: number
  /** The same records in a plain file, in groups, in the same process before. */
  readonly plainP50Us: number
  readonly plainP99Us: number
  readonly hash: string
}

const warmUpPart = 0.2
const busySegments = 2
const tickMs = 1
const plainFileBytes = 16 * 1024 * 1024

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))

/** Measures one level, with or without work in the background. */
export const benchLatency = async (parameters: LatencyParameters): Promise<LatencyResult> => {
  const { root, level, payloadBytes, rate, ms, isBusy, segmentBytes } = parameters
  const payloads = makePayloads(payloadBytes)
  const count = Math.ceil((rate * ms) / 1000)
  const plain = await followPlainly(join(root, "plain"), { payloads, rate, count })
  const manager = await AofManager.open({
    root: join(root, "store"),
    // Nothing moves before it is asked to.
    tier1: { compress: "pressure", residencyMsMin: 0 },
    tier2: { store: { directory: join(root, "cold") } },
  })
  const stream = await manager.stream("live")
  const bulk = isBusy ? await fillBulk(manager, segmentBytes) : undefined
  const asked = new Float64Array(count)
  const latenciesMs = new Float64Array(count)
  const followed = (async () => {
    let seen = 0
    for await (const { recordNumber } of stream.follow({ from: "start", level })) {
      latenciesMs[recordNumber] = performance.now() - asked[recordNumber]!
      if (++seen === count) break
    }
  })()
  let last: Promise<unknown> = Promise.resolve()
  const seconds = produce({ asked, rate, isEager: level === "written" }, (i, reject) => {
    last = stream.append(payloads[i & (payloads.length - 1)]!, { level })
    last.catch(reject)
  })
  const state = { isOver: false, movedSegments: 0 }
  const moving = bulk === undefined ? undefined : moveSegments(bulk, state)
  const took = await seconds
  await last
  await followed
  state.isOver = true
  await moving
  await manager.close()
  fs.rmSync(root, { recursive: true })
  const counted = latenciesMs.subarray(Math.floor(count * warmUpPart))
  return {
    p50Us: quantileOf(counted, 0.5) * 1000,
    p99Us: quantileOf(counted, 0.99) * 1000,
    mostUs: quantileOf(counted, 1) * 1000,
    appendsPerSecond: count / took,
    movedSegments: state.movedSegments,
    plainP50Us: quantileOf(plain.subarray(Math.floor(count * warmUpPart)), 0.5) * 1000,
    plainP99Us: quantileOf(plain.subarray(Math.floor(count * warmUpPart)), 0.99) * 1000,
    hash: hashText(count, payloadBytes),
  }
}

type Stream = Awaited<ReturnType<AofManager["stream"]>>

/** Appends each record when it is due, without waiting for those before; gives the seconds that took. */
const produce = (
  {
    asked,
    rate,
    isEager,
  }: {
    readonly asked: Float64Array
    readonly rate: number
    /** True to look in each turn of the event loop, false by a timer. */
    readonly isEager: boolean
  },
  append: (index: number, reject: (error: unknown) => void) => void,
): Promise<number> =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const distanceMs = 1000 / rate
    let next = 0
    const tick = (): void => {
      for (let now = performance.now(); next < asked.length && now >= started + next * distanceMs; ) {
        asked[next] = now
        append(next++, reject)
        now = performance.now()
      }
      if (next === asked.length) resolve((performance.now() - started) / 1000)
      else if (isEager) setImmediate(tick)
      else setTimeout(tick, tickMs)
    }
    tick()
  })

/** Sealed segments with lines that compress to about a fifth. */
const fillBulk = async (manager: AofManager, segmentBytes: number): Promise<Stream> => {
  const bulk = await manager.stream("bulk", { segmentBytes })
  const lines = makeLines()
  for (let i = 0; bulk.segments().length <= busySegments; i++) {
    while (bulk.tryAppend(lines[i & 4095]!) < 0) await bulk.ready()
    if ((i & 255) === 255) await new Promise((resolve) => setImmediate(resolve))
  }
  await bulk.seal()
  return bulk
}

/** Down to the cold store and up again, over and over. */
const moveSegments = async (bulk: Stream, state: { isOver: boolean; movedSegments: number }): Promise<void> => {
  while (!state.isOver) {
    await bulk.evict({ to: "tier2" })
    await bulk.prefetch({ to: "tier0" })
    state.movedSegments += busySegments
    await sleep(1)
  }
}

/** Latencies of the same records in a file without a store. */
const followPlainly = async (
  path: string,
  {
    payloads,
    rate,
    count,
  }: { readonly payloads: ReadonlyArray<Uint8Array>; readonly rate: number; readonly count: number },
): Promise<Float64Array> => {
  const asked = new Float64Array(count)
  const latenciesMs = new Float64Array(count)
  await new Promise<void>((resolve, reject) => {
    let done = 0
    const onDurable = (records: number): void => {
      const now = performance.now()
      for (; done < records; done++) latenciesMs[done] = now - asked[done]!
      if (done === count) resolve()
    }
    const file = new PlainGroups(path, { fileBytes: plainFileBytes, onDurable, onFailure: reject })
    produce({ asked, rate, isEager: false }, (i) => file.append(payloads[i & (payloads.length - 1)]!)).catch(reject)
  })
  return latenciesMs
}
