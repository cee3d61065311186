// The power cut of a real run: every write, sync and name that a store has asked the real disk for is done on a disk in memory too, which is
// cut again and again on the way. Whatever stays of what no sync covered, each record acknowledged by then is there.

import { describe, expect, test } from "bun:test"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { makeRoot } from "../support/api.ts"
import { makeRandom } from "../support/random.ts"
import { loadRuntimeLayer } from "../support/runtime_layer.ts"
import { shadowing } from "../support/shadow_directory.ts"

const options = {
  segmentBytes: 16 * 1024,
  stagingBytes: 4096,
  journalStreamsMin: 2,
  tier2: false,
  manifest: { chunkBytes: 16 * 1024 },
} as const

interface Acknowledged {
  readonly stream: string
  readonly recordId: number
  readonly text: string
}

/** A moment of the run: the disk, and how much was acknowledged. */
interface Moment {
  readonly disk: MemoryDisk
  readonly count: number
}

const record = async (root: string, seed: number, cuts: number) => {
  const random = makeRandom(seed)
  // What the shadow does is done when it is asked for; a store on it later has its turns.
  let isShadow = true
  const disk = new MemoryDisk({
    nextTurn: (callback) => {
      if (isShadow) callback()
      else setImmediate(callback)
    },
  })
  const acknowledged: Array<Acknowledged> = []
  const moments: Array<Moment> = []
  let left = 1 + random(12)
  const onOperation = (): void => {
    if (--left > 0 || moments.length === cuts) return
    left = 1 + random(8)
    moments.push({ disk: disk.fork(), count: acknowledged.length })
  }
  const manager = await openWith(shadowing(await loadRuntimeLayer(), disk, onOperation), { root, ...options })
  let number = 0
  const writer = async (name: string): Promise<void> => {
    const stream = await manager.stream(name)
    for (let i = 0; i < 25; i++) {
      const text = `${name} ${number++} `.padEnd(100 + random(1500), "x")
      const { recordId } = await stream.append(text)
      acknowledged.push({ stream: name, recordId, text })
      if (random(12) === 0) await stream.seal()
    }
  }
  await Promise.all(["a", "b", "c"].map(writer))
  await manager.close()
  moments.push({ disk: disk.fork(), count: acknowledged.length })
  isShadow = false
  return { acknowledged, moments }
}

describe("what a real run has written", () => {
  test.each([1, 2])(
    "holds every acknowledged record wherever the power is cut (seed %i)",
    async (seed) => {
      const root = makeRoot()
      const { acknowledged, moments } = await record(root, seed, 40)
      expect(moments.length).toBeGreaterThan(20)
      expect(acknowledged.length).toBe(75)
      const random = makeRandom(seed * 7 + 1)
      for (const { disk, count } of moments) {
        const share = random(4)
        disk.crash(() => random(4) < share)
        const manager = await openWith(disk.layer, { root, ...options })
        for (const { stream, recordId, text } of acknowledged.slice(0, count)) {
          const found = await (await manager.stream(stream, { create: false })).get(recordId)
          if (found.text() !== text) throw new Error(`record ${recordId} of ${stream} is another`)
        }
        expect(manager.recovery.lost.filter(({ bytes }) => bytes > 0)).toEqual([])
        await manager.close()
      }
    },
    60_000,
  )
})
