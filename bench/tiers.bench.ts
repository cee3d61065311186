/**
 * What moving segments costs those who append meanwhile: the longest turn of the event loop, and the latency of durable appends, while full
 * segments are sealed, compressed, uploaded, evicted and brought back. The plain load of the same process makes the same
 * records, writes and syncs them, without a store: what is left of its turns is the machine's.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { AofManager } from "../mod.ts"
import { makeLines } from "./lines.ts"
import { hashText } from "./payload.ts"
import { quantileOf } from "./statistics.ts"

export interface TiersParameters {
  readonly root: string
  readonly segmentBytes: number
  /** Segments that are moved. */
  readonly segments: number
  /** How long the quiet part lasts, in milliseconds. */
  readonly idleMs: number
  /** True for the load without a store. */
  readonly isPlain: boolean
}

export interface TiersResult {
  /** The longest turn while segments move, in milliseconds. */
  readonly longestTurnMs: number
  readonly idleP50Us: number
  readonly idleP99Us: number
  readonly busyP50Us: number
  readonly busyP99Us: number
  /** Durable appends while segments move. */
  readonly busyAppends: number
  /** Bytes of the segments for each byte of their warm files. */
  readonly compression: number
  readonly seconds: number
  readonly hash: string
}

/** Pause between two appends whose latency is measured. */
const pauseMs = 2
/** Appends between two turns of the event loop. */
const burst = 256

/** Time between two looks at the clock. */
const lookMs = 1

/**
 * Watches the turns of the event loop by a timer, as one that asks for a turn each time would take a core for itself, which those who compress and
 * sync then lack. The first look behind a long turn is late by its length.
 */
class TurnWatch {
  longestMs = 0
  #isRunning = true

  constructor() {
    let last = performance.now()
    const look = (): void => {
      const now = performance.now()
      this.longestMs = Math.max(this.longestMs, now - last - lookMs)
      last = now
      if (this.#isRunning) setTimeout(look, lookMs)
    }
    setTimeout(look, lookMs)
  }

  stop(): void {
    this.#isRunning = false
  }
}

const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs))
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What both loads do: one record at a time durably, and many at once. */
interface Load {
  readonly appendOne: () => Promise<unknown>
  readonly fill: () => Promise<void>
  readonly moveSegments: () => Promise<void>
  readonly compression: () => number
  readonly close: () => Promise<void>
}

/** Runs one of the two loads. */
export const benchTiers = async (parameters: TiersParameters): Promise<TiersResult> => {
  const started = performance.now()
  const load = parameters.isPlain ? makePlainLoad(parameters) : await makeStoreLoad(parameters)
  const idle: Array<number> = []
  const busy: Array<number> = []
  let samples = idle
  let isRunning = true
  const producer = (async () => {
    while (isRunning) {
      const [at, into] = [performance.now(), samples]
      await load.appendOne()
      into.push(performance.now() - at)
      await sleep(pauseMs)
    }
  })()
  await load.fill()
  samples.length = 0
  const watch = new TurnWatch()
  await sleep(parameters.idleMs)
  samples = busy
  watch.longestMs = 0
  await load.moveSegments()
  watch.stop()
  isRunning = false
  await producer
  const compression = load.compression()
  await load.close()
  return {
    longestTurnMs: watch.longestMs,
    idleP50Us: quantileOf(idle, 0.5) * 1000,
    idleP99Us: quantileOf(idle, 0.99) * 1000,
    busyP50Us: quantileOf(busy, 0.5) * 1000,
    busyP99Us: quantileOf(busy, 0.99) * 1000,
    busyAppends: busy.length,
    compression,
    seconds: (performance.now() - started) / 1000,
    hash: hashText(parameters.segmentBytes, parameters.segments),
  }
}

const makeStoreLoad = async ({ root, segmentBytes, segments }: TiersParameters): Promise<Load> => {
  const lines = makeLines()
  const manager = await AofManager.open({
    root: join(root, "store"),
    segmentBytes,
    // Nothing moves before it is asked to.
    tier1: { compress: "pressure", residencyMsMin: 0 },
    tier2: { store: { directory: join(root, "cold") } },
  })
  const live = await manager.stream("live")
  const bulk = await manager.stream("bulk")
  let compression = 0
  return {
    appendOne: () => live.append(lines[0]!),
    fill: async () => {
      // Starting a worker holds the event loop for a moment, once: that is not what is measured.
      const first = await manager.stream("first")
      await first.append(lines[0]!)
      await first.seal()
      await first.evict({ to: "tier2" })
      await first.prefetch({ to: "tier0" })
      for (let at = 0; bulk.segments().length <= segments; ) {
        for (let i = 0; i < burst; i++, at++) {
          while (bulk.tryAppend(lines[at & 4095]!) < 0) await bulk.ready()
        }
        await nextTurn()
      }
    },
    moveSegments: async () => {
      await bulk.seal()
      await bulk.evict({ to: "tier2" })
      await bulk.prefetch({ to: "tier0" })
      await manager.settled()
      const { compressedFromBytes, compressedToBytes } = manager.observe().tier1
      compression = compressedFromBytes / compressedToBytes
    },
    compression: () => compression,
    close: async () => {
      await manager.close()
      fs.rmSync(root, { recursive: true })
    },
  }
}

const makePlainLoad = ({ root, segmentBytes, segments }: TiersParameters): Load => {
  const lines = makeLines()
  const live = fs.openSync(join(root, "live"), "w+")
  const bulk = fs.openSync(join(root, "bulk"), "w+")
  const staging = new Uint8Array(1024 * 1024)
  let position = 0
  const sync = (file: number): Promise<void> =>
    new Promise((resolve, reject) => fs.fdatasync(file, (error) => (error ? reject(error) : resolve())))
  return {
    appendOne: () => {
      position += fs.writeSync(live, lines[0]!, 0, lines[0]!.length, position)
      return sync(live)
    },
    fill: async () => {},
    moveSegments: async () => {
      let [offset, used] = [0, 0]
      const syncing: Array<Promise<void>> = []
      for (let at = 0; offset < segmentBytes * segments; ) {
        for (let i = 0; i < burst; i++, at++) {
          const line = lines[at & 4095]!
          if (used + line.length > staging.length) {
            offset += fs.writeSync(bulk, staging, 0, used, offset)
            used = 0
            syncing.push(sync(bulk))
          }
          staging.set(line, used)
          used += line.length
        }
        await nextTurn()
      }
      await Promise.all([...syncing, sync(bulk)])
    },
    compression: () => 1,
    close: async () => {
      fs.closeSync(live)
      fs.closeSync(bulk)
      fs.rmSync(root, { recursive: true })
    },
  }
}
