// Stores with a bucket on disks in memory, and what lies in a bucket.

import * as Effect from "effect/Effect"
import type { Aof } from "../../src/api/aof.ts"
import { type AofManager, openWith } from "../../src/api/manager.ts"
import type { ReadOptions } from "../../src/core/read/start.ts"
import { type DecodedHead, decodeHead, headKey } from "../../src/format/head_object.ts"
import type { ColdOptions } from "../../src/model/cold_config.ts"
import type { AofManagerOptions } from "../../src/model/config.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { bodyOf } from "./object_store_conformance.ts"

/** Segments of a few records; a HEAD as soon as there is something to tell. */
export const bucketOptions = (store: ObjectStore, more: ColdOptions = {}): AofManagerOptions => ({
  root: "/store",
  segmentBytes: 8192,
  stagingBytes: 4096,
  preallocateBytesMax: 8192,
  flushIntervalMs: 5,
  closeTimeoutMs: 2000,
  tier1: { frameBytes: 4096, residencyMsMin: 0, level: 1, retryBackoffMs: 1 },
  tier2: { store, headIntervalMs: 0, deleteGraceMs: 0, retry: { maxAttempts: 2, baseDelayMs: 1, jitter: 0 }, ...more },
})

/** Opens a root on a machine of its own, or on `disk`. */
export const openBucketStore = (
  store: ObjectStore,
  { disk = new MemoryDisk({ modelsCrashes: false }), ...more }: ColdOptions & { readonly disk?: MemoryDisk } = {},
  options: Partial<AofManagerOptions> = {},
): Promise<AofManager> => openWith(disk.layer, { ...bucketOptions(store, more), ...options })

/** Opens a root with 30 records in sealed segments in the bucket. */
export const filled = async (
  store: ObjectStore,
  disk: MemoryDisk = new MemoryDisk({ modelsCrashes: false }),
): Promise<{ readonly manager: AofManager; readonly stream: Aof }> => {
  const manager = await openBucketStore(store, { disk })
  const stream = await manager.stream("orders")
  await appendTexts(stream, 0, 30)
  await stream.seal()
  await manager.settled()
  return { manager, stream }
}

/** Appends records `from` to `to - 1` of about 1 KiB, durably, and gives their ids. */
export const appendTexts = async (stream: Aof, from: number, to: number): Promise<ReadonlyArray<number>> => {
  const acks: Array<Promise<{ readonly recordId: number }>> = []
  for (let number = from; number < to; number++) acks.push(stream.append(textOfNumber(number)))
  return (await Promise.all(acks)).map(({ recordId }) => recordId)
}

export const textOfNumber = (number: number): string => `${number} `.padEnd(1000, String(number))

/** The numbers of the records in a stream, in order. */
export const numbersIn = async (stream: Aof, options: ReadOptions = {}): Promise<ReadonlyArray<number>> => {
  const numbers: Array<number> = []
  for await (const record of stream.read({ from: "start", ...options })) {
    const number = Number.parseInt(record.text(), 10)
    if (record.text() !== textOfNumber(number)) throw new Error(`record ${record.recordId} has other bytes`)
    numbers.push(number)
  }
  return numbers
}

/** The same up to what was lost: sealed records that the bucket has heard of and never got. */
export const numbersLeft = async (stream: Aof): Promise<ReadonlyArray<number>> => {
  const numbers: Array<number> = []
  try {
    for await (const record of stream.read({ from: "start" })) numbers.push(Number.parseInt(record.text(), 10))
  } catch (error) {
    if (!(error as Error).message.includes("are missing")) throw error
  }
  return numbers
}

/** 0 to `count - 1`. */
export const upTo = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, number) => number)

/** All keys of a bucket, in order. */
export const keysIn = async (store: ObjectStore): Promise<ReadonlyArray<string>> => {
  const keys: Array<string> = []
  let after: string | undefined
  do {
    const page = await Effect.runPromise(store.list("", after === undefined ? {} : { after }))
    keys.push(...page.objects.map(({ key }) => key))
    after = page.next
  } while (after !== undefined)
  return keys
}

/** The keys of segments in a bucket, in order. */
export const segmentsIn = async (store: ObjectStore): Promise<ReadonlyArray<string>> =>
  (await keysIn(store)).filter((key) => key.includes("/segments/"))

/** Puts an object of these bytes. */
export const putBytes = async (store: ObjectStore, key: string, bytes: Uint8Array): Promise<void> => {
  await Effect.runPromise(store.put(key, bodyOf(bytes)))
}

/** HEAD as it is in the bucket. */
export const headIn = async (store: ObjectStore): Promise<DecodedHead | undefined> => {
  const info = await Effect.runPromise(store.head(headKey))
  return info === undefined ? undefined : decodeHead(await Effect.runPromise(store.get(headKey)))
}

/** Waits until something holds; fails when it does not within some thousand turns of the event loop with pauses. */
export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  for (let turn = 0; turn < 4000; turn++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`it did not come to pass: ${what}`)
}
