/**
 * Bytes of heap for each `tryAppend` and each move of a cursor. Counted as growth of the used heap over a stretch without a
 * collection, which the flags of the process see to on V8 (`heapFlags`). A loop that makes one small object a turn is measured too:
 * when that does not show, neither would anything else, and the result is not to be trusted.
 */
import { memoryUsage } from "node:process"
import { AofManager } from "../mod.ts"
import { makePayloads } from "./payload.ts"

export interface HeapParameters {
  readonly root: string
  readonly payloadBytes: number
  readonly records: number
  readonly rounds: number
}

export interface HeapResult {
  readonly bytesPerAppend: number
  readonly bytesPerMove: number
  /** Of an object with two fields that is kept from being optimised away. */
  readonly bytesPerObject: number
}

/** Flags by which V8 collects nothing meanwhile. */
export const heapFlags: Record<string, ReadonlyArray<string>> = {
  node: ["--expose-gc", "--min-semi-space-size=256", "--max-semi-space-size=256"],
  deno: ["--v8-flags=--expose-gc,--min-semi-space-size=256,--max-semi-space-size=256"],
  bun: [],
}

/** Measures the least growth of several rounds: what else goes on in the process only adds to it. */
export const benchHeap = async ({ root, payloadBytes, records, rounds }: HeapParameters): Promise<HeapResult> => {
  const usedHeap = await findUsedHeap()
  const payloads = makePayloads(payloadBytes)
  const manager = await AofManager.open({ root })
  const stream = await manager.stream("bench")
  const least = { append: Number.POSITIVE_INFINITY, move: Number.POSITIVE_INFINITY, object: Number.POSITIVE_INFINITY }
  for (let round = 0; round < rounds; round++) {
    let growth = usedHeap.growth(() => {
      for (let i = 0; i < records; i++) {
        if (stream.tryAppend(payloads[i & (payloads.length - 1)]!) < 0)
          throw new Error("the store is full: append fewer records")
      }
    })
    least.append = Math.min(least.append, growth / records)
    await stream.flush()
    const cursor = stream.cursor({ last: records })
    growth = usedHeap.growth(() => {
      for (let i = 0; i < records; i++) cursor.next()
    })
    cursor.close()
    least.move = Math.min(least.move, growth / records)
    growth = usedHeap.growth(() => makeObjects(records))
    least.object = Math.min(least.object, growth / records)
  }
  await manager.close()
  return { bytesPerAppend: least.append, bytesPerMove: least.move, bytesPerObject: least.object }
}

const kept: Array<object | undefined> = [undefined]

const makeObjects = (count: number): void => {
  for (let i = 0; i < count; i++) kept[0] = { first: i, second: i }
}

export interface UsedHeap {
  /** Bytes by which the used heap grows while `run` runs. */
  readonly growth: (run: () => void) => number
  /** What is in use after a collection: in the heap, and in buffers outside of it. */
  readonly settled: () => { readonly heapBytes: number; readonly otherBytes: number }
}

/** How this runtime tells what is in use. V8 collects on demand with `heapFlags` or `--expose-gc` only. */
export const findUsedHeap = async (): Promise<UsedHeap> => {
  if ("Bun" in globalThis) {
    const { gcAndSweep, heapStats } = await import("bun:jsc" as string)
    // JavaScriptCore counts what is used at collections only; what it has taken from the system shows in between.
    return {
      growth: (run) => difference(gcAndSweep, () => heapStats().heapCapacity, run),
      settled: () => {
        gcAndSweep()
        const { heapSize, extraMemorySize } = heapStats()
        return { heapBytes: heapSize - extraMemorySize, otherBytes: extraMemorySize }
      },
    }
  }
  const { gc } = globalThis as { readonly gc?: () => void }
  return {
    growth: (run) =>
      difference(
        () => gc?.(),
        () => memoryUsage().heapUsed,
        run,
      ),
    settled: () => {
      gc?.()
      const { heapUsed, external } = memoryUsage()
      return { heapBytes: heapUsed, otherBytes: external }
    },
  }
}

const difference = (collect: () => void, used: () => number, run: () => void): number => {
  collect()
  const before = used()
  run()
  return used() - before
}
