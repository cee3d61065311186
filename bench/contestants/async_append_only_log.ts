/** The package `async-append-only-log`: blocks of 64 KiB, each written and synced whole. */
import { join } from "node:path"
import type { Contestant, Walk } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 1000

/** It takes nothing else. */
const toBuffer = ({ buffer, byteOffset, length }: Uint8Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, length)

export const contestant: Contestant = {
  name: "async-append-only-log",
  runtimes: ["node"],
  packages: { "async-append-only-log": "4.3.10" },
  settings:
    "blocks of 64 KiB; W1: append of arrays of 1,000, then onDrain (it syncs each block); W2, W3: append, then onDrain, writeTimeout 1 instead of 250 ms; keeps up to 64 MiB of blocks in memory of its own; no checksums",
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 1,
  open: async ({ directory, workload, load }) => {
    const { default: makeLog } = await load("async-append-only-log")
    const log = makeLog(join(directory, "log"), workload === "W1" ? {} : { writeTimeout: 1 })
    await new Promise<void>((resolve) => log.onLoad(resolve)())
    const drained = (): Promise<void> => new Promise((resolve) => log.onDrain(resolve))
    const append = (items: unknown): Promise<void> =>
      new Promise((resolve, reject) => log.append(items, (error: unknown) => (error ? reject(error) : resolve())))
    const walk = (visit: (value: Uint8Array, offset: number) => void, limit = 0): Promise<void> =>
      new Promise((resolve, reject) => {
        const write = ({ value, offset }: { value: Uint8Array; offset: number }): void => visit(value, offset)
        const end = (error: unknown): void => (error && error !== true ? reject(error) : resolve())
        log.stream({ offsets: true, values: true, limit }).pipe({ paused: false, write, end })
      })
    return {
      appendAll: async (payloads, records) => {
        for (let at = 0; at < records; at += batchRecords) {
          const count = Math.min(batchRecords, records - at)
          await append(Array.from({ length: count }, (_, i) => toBuffer(payloads[(at + i) & (payloads.length - 1)]!)))
        }
        await drained()
      },
      append: async (payload) => {
        await append(toBuffer(payload))
        await drained()
      },
      scan: async (): Promise<Walk> => {
        let [records, hash] = [0, 0]
        await walk((value) => {
          hash = mixRecord(hash, value.length, value[0]!)
          records++
        })
        return { records, hash }
      },
      openPoint: async () => {
        const offsets: Array<number> = []
        await walk((_, offset) => offsets.push(offset))
        const get = (index: number): Promise<Uint8Array> =>
          new Promise((resolve, reject) =>
            log.get(offsets[index], (error: unknown, value: Uint8Array) => (error ? reject(error) : resolve(value))),
          )
        return { records: offsets.length, get }
      },
      first: () =>
        new Promise((resolve, reject) =>
          log.get(0, (error: unknown, value: Uint8Array) => (error ? reject(error) : resolve(value))),
        ),
      close: () => new Promise((resolve) => log.close(() => resolve())),
    }
  },
}
