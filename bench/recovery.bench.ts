/**
 * W6: a writer is killed in the middle of appending; then another process opens the store and reads the first record. What is timed
 * begins with the call of `open`; the package is imported before.
 */
import * as fs from "node:fs"
import { AofManager } from "../mod.ts"
import { dropPageCache } from "./disk.ts"
import { hashText, makePayloads } from "./payload.ts"

export interface KilledWriterParameters {
  readonly root: string
  readonly payloadBytes: number
  readonly records: number
}

/** Makes `records` records durable, says so, and appends on until somebody kills the process or calls `isOver`. */
export const appendUntilKilled = async (
  { root, payloadBytes, records }: KilledWriterParameters,
  say: (line: string) => void,
  isOver: () => boolean = () => false,
): Promise<void> => {
  const payloads = makePayloads(payloadBytes)
  const manager = await AofManager.open({ root })
  const stream = await manager.stream("bench")
  for (let i = 0; i < records; i++) {
    while (stream.tryAppend(payloads[i & (payloads.length - 1)]!) < 0) await stream.ready()
  }
  await stream.flush()
  say("ready")
  for (let i = records; !isOver(); i++) await stream.append(payloads[i & (payloads.length - 1)]!)
  await manager.close()
}

export interface ReopenParameters {
  readonly root: string
  /** Drops the page cache first when that is permitted. */
  readonly dropsCache: boolean
}

export interface ReopenResult {
  /** From `open` to the first record. */
  readonly seconds: number
  /** From `open` until it resolved. */
  readonly openSeconds: number
  readonly isCold: boolean
  readonly records: number
  readonly hash: string
}

/** Opens and reads the first record. */
export const benchReopen = async ({ root, dropsCache }: ReopenParameters): Promise<ReopenResult> => {
  // Loads the code and runs it once with another store: what is timed is opening this one.
  const warm = await AofManager.open({ root: `${root}-warm` })
  await warm.close()
  fs.rmSync(`${root}-warm`, { recursive: true })
  const isCold = dropsCache && dropPageCache()
  const started = performance.now()
  const manager = await AofManager.open({ root })
  const stream = await manager.stream("bench")
  const opened = performance.now()
  const cursor = stream.cursor({ from: "start" })
  if (!cursor.next()) throw new Error("there is no first record")
  const ended = performance.now()
  const first = cursor.buffer[cursor.payloadStart]!
  const { count } = stream.info()
  cursor.close()
  await manager.close()
  return {
    seconds: (ended - started) / 1000,
    openSeconds: (opened - started) / 1000,
    isCold,
    records: count,
    hash: hashText(first),
  }
}
