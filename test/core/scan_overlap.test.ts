// What a scan of the bucket brings may overlap: frames that were damaged on their way come once more, with good ones between them. A record that lies in
// several such pieces is read whole, and nothing is made up behind them.

import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import { decodeSeekTable, type SeekTable } from "../../src/format/seekable_zstd.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { openBucketStore, segmentsIn } from "../support/bucket.ts"

const count = 60
const MiB = 1024 * 1024

/** Records of many zstd frames, and small ones behind them. */
const payloadOf = (number: number): Uint8Array => {
  const sizeBytes = number % 4 === 0 ? 650_000 + ((number * 7) % 11) * 30_000 : 20_000 + ((number * 13) % 7) * 10_000
  let state = number * 7919 + 1
  return new Uint8Array(sizeBytes).map((_, at) => {
    if (at % 8 === 0) state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    return (state >>> 16) & 15
  })
}

/** Frames of a long answer that are damaged on their way, the first time: too many places to ask for each, across two slices of what is decoded. */
const damagedFrames = [9, 11, 13, 15, 30]

/** Damages long answers once, when it knows where the frames are. */
const makeLine = (inner: ObjectStore) => {
  const line = { table: undefined as SeekTable | undefined, damaged: new Set<number>(), store: inner }
  const get: ObjectStore["get"] = (key, range) =>
    Effect.map(inner.get(key, range), (answer) => {
      const { table, damaged } = line
      if (table === undefined || range === undefined || damaged.has(range.offset)) return answer
      let first = 0
      while (first < table.frameCount && table.frame(first)!.compressedOffset < range.offset) first++
      const last = table.frame(first + damagedFrames.at(-1)!)
      if (last === undefined || last.compressedOffset + last.compressedBytes > range.offset + answer.length)
        return answer
      damaged.add(range.offset)
      const bad = answer.slice()
      for (const index of damagedFrames) bad[table.frame(first + index)!.compressedOffset - range.offset + 30]! ^= 0x55
      return bad
    })
  line.store = new Proxy(inner, {
    get: (target, name) => {
      const value = name === "get" ? get : target[name as keyof ObjectStore]
      return typeof value === "function" ? value.bind(target) : value
    },
  })
  return line
}

test("a scan over a line that damages much of an answer once gives every record", async () => {
  const inner = memoryStore()
  const line = makeLine(inner)
  const sizes = { segmentBytes: 64 * MiB, stagingBytes: 8 * MiB, preallocateBytesMax: MiB, closeTimeoutMs: 10_000 }
  const tier1 = { frameBytes: 65_536, residencyMsMin: 0, level: 1, retryBackoffMs: 1 }
  const manager = await openBucketStore(line.store, {}, { ...sizes, tier1 })
  const stream = await manager.stream("orders")
  for (let number = 0; number < count; number++) await stream.append(payloadOf(number))
  await stream.seal()
  await manager.settled()
  await stream.evict({ to: "tier2" })
  const [key] = await segmentsIn(inner)
  const object = await Effect.runPromise(inner.get(key!))
  line.table = decodeSeekTable(object, { fileBytes: object.length, contentBytes: undefined })
  let next = 0
  for await (const record of stream.read({ from: "start" })) {
    expect([record.recordNumber, Buffer.compare(record.bytes, payloadOf(next))]).toEqual([next, 0])
    next++
  }
  expect(next).toBe(count)
  expect(line.damaged.size).toBeGreaterThan(0)
  await manager.close()
}, 60_000)
