// All streams of a manager share one budget of memory: together they stay within it, those who wait are served, and nothing is lost or doubled.

import { describe, expect, test } from "bun:test"
import type { Aof, AofManager } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { APPEND_FLUSH } from "../../src/core/append/append_codes.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"

const MiB = 1024 * 1024
const options = { root: "/store", memoryBytesMax: 32 * MiB, tier2: false, flushIntervalMs: 3_600_000 } as const
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const isSegment = (path: string): boolean => path.endsWith(".seg") || path.includes("journal")

const until = async (isTrue: () => boolean): Promise<void> => {
  for (let turn = 0; !isTrue(); turn++) {
    if (turn > 5000) throw new Error("it did not come to that")
    await pause(1)
  }
}

/** A disk whose syncs hang while it is held. */
const holdableDisk = () => {
  const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: true })
  let letGo: (() => void) | undefined
  return {
    disk,
    hold: (): void => {
      const held = new Promise<void>((resolve) => {
        letGo = resolve
      })
      disk.onOperation = ({ kind, path }) => (kind === "syncData" && isSegment(path) ? held : undefined)
    },
    letGo: (): void => {
      disk.onOperation = undefined
      letGo?.()
    },
  }
}

const openStreams = async (disk: MemoryDisk, count: number): Promise<readonly [AofManager, ReadonlyArray<Aof>]> => {
  const manager = await openWith(disk.layer, options)
  return [manager, await Promise.all(Array.from({ length: count }, (_, i) => manager.stream(`s${i}`)))]
}

const payloadOf = (number: number): Uint8Array => {
  const payload = new Uint8Array(50_000)
  new DataView(payload.buffer).setUint32(0, number, true)
  return payload
}

const numbersOf = async (stream: Aof): Promise<ReadonlyArray<number>> => {
  const numbers: Array<number> = []
  for await (const { bytes } of stream.read())
    numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true))
  return numbers
}

describe("one budget of memory", () => {
  test("holds for all streams together while the disk hangs, and all who wait are served when it goes on", async () => {
    const { disk, hold, letGo } = holdableDisk()
    const [manager, streams] = await openStreams(disk, 12)
    hold()
    const taken = streams.map(() => 0)
    for (let isRefused = false; !isRefused; ) {
      isRefused = true
      for (const [i, stream] of streams.entries()) {
        const code = stream.tryAppend(payloadOf(taken[i]!))
        if (code > 0) {
          taken[i]!++
          isRefused = false
        } else expect(code).toBe(APPEND_FLUSH)
      }
      await pause(0)
    }
    const { memory, flush } = manager.observe()
    const why = streams[0]!.whyBlocked(APPEND_FLUSH)
    expect(why).toMatchObject({ _tag: "WouldBlock", reason: { _tag: "Flush", limit: memory.stagingBytesMax } })
    expect(memory.bytesMax).toBe(32 * MiB)
    expect(memory.waitingStreams).toBe(12)
    expect(flush.stagingBytes).toBeLessThanOrEqual(memory.stagingBytesMax + MiB)
    expect(memory.usedBytes).toBeLessThanOrEqual(memory.bytesMax)
    // No stream alone has come to its own limit, 64 MiB.
    expect(flush.unflushedBytes).toBeGreaterThan(memory.stagingBytesMax * 0.9)
    const acks = streams.flatMap((stream, i) =>
      Array.from({ length: 30 }, (_, n) => stream.append(payloadOf(taken[i]! + n))),
    )
    const isReady = streams.map(() => false)
    for (const [i, stream] of streams.entries())
      void stream.ready().then(() => {
        isReady[i] = true
      })
    await pause(20)
    expect(isReady.some((one) => one)).toBe(false)
    letGo()
    await Promise.all(acks)
    await until(() => isReady.every((one) => one))
    for (const [i, stream] of streams.entries())
      expect(await numbersOf(stream)).toEqual(Array.from({ length: taken[i]! + 30 }, (_, n) => n))
    expect(manager.observe().memory.waitingStreams).toBe(0)
    await manager.close()
  })

  test("is shared again by streams that have gone quiet, whatever they have left unsynced", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false, mapsFiles: true })
    const [manager, streams] = await openStreams(disk, 60)
    let most = 0
    for (const [i, stream] of streams.entries()) {
      // Nobody asks for durability, and nobody appends to it again.
      for (let n = 0; n < 40; n++) {
        await stream.append(payloadOf(n), { level: "written" })
        most = Math.max(most, manager.observe().flush.stagingBytes)
      }
      expect(stream.info().count).toBe(40)
      if (i % 10 === 0) await pause(0)
    }
    expect(most).toBeLessThanOrEqual(manager.observe().memory.stagingBytesMax + MiB)
    await manager.close()
  })

  test("takes a batch and a record that are larger than what is left, one after the other", async () => {
    const { disk, hold, letGo } = holdableDisk()
    const [manager, streams] = await openStreams(disk, 4)
    hold()
    const batch = Array.from({ length: 40 }, (_, n) => ({ payload: new Uint8Array(250_000).fill(n + 1) }))
    const large = new Uint8Array(8 * MiB - 100).fill(9)
    const pending: Array<Promise<unknown>> = []
    let most = 0
    for (let round = 0; round < 2; round++)
      for (const stream of streams) {
        pending.push(stream.appendBatch(batch), stream.append(large))
        most = Math.max(most, manager.observe().flush.stagingBytes)
      }
    await pause(20)
    expect(most).toBeLessThanOrEqual(manager.observe().memory.stagingBytesMax + 12 * MiB)
    letGo()
    await Promise.all(pending)
    for (const stream of streams) {
      const lengths: Array<number> = []
      for await (const { bytes } of stream.read()) lengths.push(bytes.length)
      const one = [...batch.map(({ payload }) => payload.length), large.length]
      expect(lengths).toEqual([...one, ...one])
    }
    await manager.close()
  })

  test("is waited for by a call that is given up, and by a stream that is closed, without keeping others waiting", async () => {
    const { disk, hold, letGo } = holdableDisk()
    const [manager, streams] = await openStreams(disk, 3)
    hold()
    const [a, b, c] = streams as [Aof, Aof, Aof]
    while (a.tryAppend(payloadOf(0)) > 0) await pause(0)
    expect(b.tryAppend(payloadOf(1))).toBe(APPEND_FLUSH)
    const controller = new AbortController()
    const given = b.append(payloadOf(2), { signal: controller.signal }).catch((error: unknown) => error)
    const waiting = c.append(payloadOf(3))
    controller.abort()
    expect(await given).toBe(controller.signal.reason)
    const closing = b.close()
    letGo()
    await Promise.all([waiting, closing])
    expect(await numbersOf(c)).toEqual([3])
    await manager.close()
  })
})
