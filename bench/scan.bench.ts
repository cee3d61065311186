/**
 * W4: all records of a store from the first to the last, in a process that has read nothing yet; checksums are verified on the
 * way. By cursor, by a view of each payload, and by `for await`.
 */
import { AofManager } from "../mod.ts"
import { hashText, mixRecord } from "./payload.ts"
import { scanPlainly } from "./reference.ts"

export type ScanMode = "cursor" | "views" | "read"

export interface ScanParameters {
  /** A store that was filled before. */
  readonly root: string
  /** The same records in a file of the plain loop. */
  readonly plainFile: string
  readonly mode: ScanMode
}

export interface ScanResult {
  readonly recordsPerSecond: number
  readonly plainPerSecond: number
  readonly ratio: number
  readonly hash: string
}

/** Reads everything once; opening the store is not counted. */
export const benchScan = async ({ root, plainFile, mode }: ScanParameters): Promise<ScanResult> => {
  const manager = await AofManager.open({ root, readOnly: true })
  const stream = await manager.stream("bench")
  const started = performance.now()
  const { records, hash } = await scans[mode](stream)
  const seconds = (performance.now() - started) / 1000
  await manager.close()
  const plain = scanPlainly(plainFile)
  if (plain.records !== records || plain.hash !== hash)
    throw new Error(`scanned ${records} records, not ${plain.records}, or others`)
  const recordsPerSecond = records / seconds
  const plainPerSecond = plain.records / plain.seconds
  return { recordsPerSecond, plainPerSecond, ratio: recordsPerSecond / plainPerSecond, hash: hashText(records, hash) }
}

type Stream = Awaited<ReturnType<AofManager["stream"]>>
type Scan = (stream: Stream) => Promise<{ readonly records: number; readonly hash: number }>

const scans: Record<ScanMode, Scan> = {
  async cursor(stream) {
    const cursor = stream.cursor({ from: "start" })
    let records = 0
    let hash = 0
    while (cursor.next()) {
      hash = mixRecord(hash, cursor.payloadEnd - cursor.payloadStart, cursor.buffer[cursor.payloadStart]!)
      records++
    }
    return { records, hash }
  },
  async views(stream) {
    const cursor = stream.cursor({ from: "start" })
    let records = 0
    let hash = 0
    while (cursor.next()) {
      const payload = cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd)
      hash = mixRecord(hash, payload.length, payload[0]!)
      records++
    }
    return { records, hash }
  },
  async read(stream) {
    let records = 0
    let hash = 0
    for await (const { bytes } of stream.read({ from: "start" })) {
      hash = mixRecord(hash, bytes.length, bytes[0]!)
      records++
    }
    return { records, hash }
  },
}
