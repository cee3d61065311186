/** W5: random reads by record id, one at a time. The ids come from a walk before, so every frame has been verified once. */
import { AofManager } from "../mod.ts"
import { hashText, makeRandom32, mixRecord } from "./payload.ts"

export interface PointParameters {
  /** A store that was filled before. */
  readonly root: string
  readonly reads: number
}

export interface PointResult {
  readonly readsPerSecond: number
  readonly hash: string
}

/** Reads `reads` records at random places with `tryGet`, after a tenth of that to warm up. */
export const benchPoint = async ({ root, reads }: PointParameters): Promise<PointResult> => {
  const manager = await AofManager.open({ root, readOnly: true })
  const stream = await manager.stream("bench")
  const ids = new Float64Array(stream.info().count)
  const cursor = stream.cursor({ from: "start" })
  for (let i = 0; cursor.next(); i++) ids[i] = cursor.recordId
  const random32 = makeRandom32(reads)
  const readSome = (count: number): number => {
    let hash = 0
    for (let i = 0; i < count; i++) {
      const { bytes } = stream.tryGet(ids[random32() % ids.length]!)
      hash = mixRecord(hash, bytes.length, bytes[0]!)
    }
    return hash
  }
  readSome(Math.ceil(reads / 10))
  const started = performance.now()
  const hash = readSome(reads)
  const seconds = (performance.now() - started) / 1000
  await manager.close()
  return { readsPerSecond: reads / seconds, hash: hashText(reads, hash) }
}
