// What the tests of the public surface share: roots that clean up after themselves, collecting, and what a call fails with.

import { afterAll } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Aof, AofManagerOptions, AofRecord, ReadOptions } from "bop-aof"
import { AofManager } from "bop-aof"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk, type MemoryDiskOptions } from "../../src/testing/memory_disk.ts"

const roots: Array<string> = []

afterAll(() => {
  for (const root of roots) fs.rmSync(root, { recursive: true, force: true })
})

/** A directory that is gone after the tests of the file. */
export const makeRoot = (): string => {
  const root = fs.mkdtempSync(join(tmpdir(), "bop-aof-api-"))
  roots.push(root)
  return root
}

/** Small segments and buffers, so that a few records cross all of their edges. */
export const small: Partial<AofManagerOptions> = {
  segmentBytes: 16 * 1024,
  stagingBytes: 4096,
  unflushedBytesMax: 16 * 1024,
}

/** Opens a manager on a memory disk, a new one by default. */
export const openMemory = (
  options: Partial<AofManagerOptions> = {},
  disk: MemoryDisk = new MemoryDisk({ modelsCrashes: false }),
): Promise<AofManager> => openWith(disk.layer, { root: "/root", ...options })

/** The kinds of store that a behaviour has to hold on. */
export const stores: Array<[string, () => (options?: Partial<AofManagerOptions>) => Promise<AofManager>]> = [
  [
    "a real disk",
    () => {
      const root = makeRoot()
      return (options = {}) => AofManager.open({ root, ...options })
    },
  ],
  ["a memory disk that maps", () => onMemory({ mapsFiles: true })],
  ["a memory disk that does not map", () => onMemory({ mapsFiles: false })],
]

const onMemory = (diskOptions: MemoryDiskOptions) => {
  const disk = new MemoryDisk({ ...diskOptions, modelsCrashes: false })
  return (options: Partial<AofManagerOptions> = {}): Promise<AofManager> => openMemory(options, disk)
}

/** Everything that a read gives. */
export const collect = async <V>(records: AsyncIterable<AofRecord<V>>): Promise<Array<AofRecord<V>>> => {
  const all: Array<AofRecord<V>> = []
  for await (const record of records) all.push(record)
  return all
}

/** The payloads of a read, as text. */
export const texts = async (stream: Aof<any, any>, options: ReadOptions = {}): Promise<Array<string>> =>
  (await collect(stream.read(options))).map((record) => record.text())

/** What a call throws or rejects with, in the same way; fails when it does neither. */
export const failure = async (run: (() => unknown) | Promise<unknown>): Promise<any> => {
  let value: unknown
  try {
    value = await (typeof run === "function" ? run() : run)
  } catch (error) {
    return error
  }
  throw new Error(`nothing was thrown, but ${String(value)} came back`)
}

/** Like `failure`, but the call itself must not throw: it has to return a promise that rejects. */
export const rejection = async (run: () => Promise<unknown>): Promise<any> => {
  const promise = run()
  return failure(promise)
}

export { makeRandom } from "./random.ts"

/** Appends `count` records of about `bytes` bytes each and returns their ids. */
export const fill = async (stream: Aof, count: number, bytes = 100): Promise<Array<number>> => {
  const ids: Array<number> = []
  for (let i = 0; i < count; i++) {
    let id = stream.tryAppend(`${i} `.padEnd(bytes, "."))
    while (id < 0) {
      await stream.ready()
      id = stream.tryAppend(`${i} `.padEnd(bytes, "."))
    }
    ids.push(id)
  }
  await stream.flush()
  return ids
}

/** The next turns of the event loop, for what must not happen in them. */
export const turns = async (count = 3): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}
