/**
 * W2 and W3: every append is awaited until an fdatasync covers it, by many producers or by one. The plain loops write one record
 * and sync it, on the main thread and through the thread pool, in a file that was filled with zeros before.
 */
import * as fs from "node:fs"
import { join } from "node:path"
import { AofManager } from "../mod.ts"
import { hashText, makePayloads } from "./payload.ts"
import { preallocatePlainly, syncInPool, syncPlainly } from "./reference.ts"
import { medianOf, quantileOf } from "./statistics.ts"

export interface AckParameters {
  readonly root: string
  readonly payloadBytes: number
  readonly producers: number
  /** Acknowledgements of all producers together in a round. */
  readonly acks: number
  /** Syncs of the plain loops in a round. */
  readonly syncs: number
  readonly rounds: number
}

export interface AckResult {
  readonly acksPerSecond: number
  /** Microseconds from the call of `append` to its acknowledgement. */
  readonly p50Us: number
  readonly p99Us: number
  readonly plainSyncsPerSecond: number
  readonly pooledSyncsPerSecond: number
  /** Acknowledgements for each sync of the plain loop on the main thread. */
  readonly ratio: number
  readonly hash: string
}

/** Appends and awaits; the first round warms up and is not counted when there are more. */
export const benchAck = async (parameters: AckParameters): Promise<AckResult> => {
  const { root, payloadBytes, producers, acks, syncs, rounds } = parameters
  const payloads = makePayloads(payloadBytes)
  const file = join(root, "plain")
  preallocatePlainly(file)
  const manager = await AofManager.open({ root: join(root, "store") })
  const stream = await manager.stream("bench")
  const latenciesMs = new Float64Array(acks)
  const [plain, pooled, stored, p50, p99]: Array<Array<number>> = [[], [], [], [], []]
  for (let round = 0; round < rounds; round++) {
    plain!.push(syncPlainly(file, payloads[0]!, syncs))
    pooled!.push(await syncInPool(file, payloads[0]!, syncs))
    const started = performance.now()
    let next = 0
    const produce = async (): Promise<void> => {
      while (next < acks) {
        const i = next++
        const asked = performance.now()
        await stream.append(payloads[i & (payloads.length - 1)]!)
        latenciesMs[i] = performance.now() - asked
      }
    }
    await Promise.all(Array.from({ length: producers }, produce))
    stored!.push((performance.now() - started) / 1000)
    p50!.push(quantileOf(latenciesMs, 0.5) * 1000)
    p99!.push(quantileOf(latenciesMs, 0.99) * 1000)
  }
  const { count } = stream.info()
  await manager.close()
  fs.rmSync(root, { recursive: true })
  const warm = (values: ReadonlyArray<number> | undefined): ReadonlyArray<number> => values!.slice(rounds > 1 ? 1 : 0)
  return {
    acksPerSecond: acks / medianOf(warm(stored)),
    p50Us: medianOf(warm(p50)),
    p99Us: medianOf(warm(p99)),
    plainSyncsPerSecond: syncs / medianOf(warm(plain)),
    pooledSyncsPerSecond: syncs / medianOf(warm(pooled)),
    ratio: medianOf(warm(stored!.map((seconds, round) => acks / seconds / (syncs / plain![round]!)))),
    hash: hashText(count, payloadBytes),
  }
}
