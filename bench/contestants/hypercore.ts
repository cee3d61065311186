/** The package `hypercore`: a signed log with a Merkle tree, on RocksDB. */
import type { Contestant } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 1000

export const contestant: Contestant = {
  name: "hypercore",
  runtimes: ["node"],
  packages: { hypercore: "11.39.5" },
  settings:
    "W1: append of arrays of 1,000, then a flush of its storage; an append by itself is not synced, so it has no part in W2, W3 and W6",
  workloads: ["W1", "W4", "W5", "W7"],
  scale: 0.03,
  open: async ({ directory, load }) => {
    const { default: Hypercore } = await load("hypercore")
    const { default: Storage } = await load("hypercore-storage")
    const storage = new Storage(directory)
    const core = new Hypercore(storage)
    await core.ready()
    return {
      appendAll: async (payloads, records) => {
        for (let at = 0; at < records; at += batchRecords) {
          const count = Math.min(batchRecords, records - at)
          await core.append(Array.from({ length: count }, (_, i) => payloads[(at + i) & (payloads.length - 1)]))
        }
        await storage.flush()
      },
      scan: async () => {
        let [records, hash] = [0, 0]
        for await (const value of core.createReadStream()) {
          hash = mixRecord(hash, value.length, value[0])
          records++
        }
        return { records, hash }
      },
      openPoint: async () => ({ records: core.length, get: (index) => core.get(index) }),
      close: () => core.close(),
    }
  },
}
