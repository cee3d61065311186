/** LMDB by the package `lmdb`: a memory-mapped B+ tree, writes gathered into transactions off the main thread. */
import { join } from "node:path"
import type { Contestant } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 10_000

export const contestant: Contestant = {
  name: "lmdb",
  runtimes: ["node", "bun"],
  packages: { lmdb: "3.5.6" },
  settings:
    "uint32 keys, binary values, defaults else (overlapping sync); W1: put in batches of 10,000, then db.flushed; W2, W3: put, then its promise of the flush; no checksums",
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 0.5,
  open: async ({ directory, load }) => {
    const { open } = await load("lmdb")
    const database = open({
      path: join(directory, "log.mdb"),
      keyEncoding: "uint32",
      encoding: "binary",
      cache: false,
      separateFlushed: true,
    })
    let next = 1
    for (const key of database.getKeys({ reverse: true, limit: 1 })) next = key + 1
    return {
      appendAll: async (payloads, records) => {
        let last: any
        for (let i = 0; i < records; i++) {
          last = database.put(next++, payloads[i & (payloads.length - 1)])
          if (i % batchRecords === batchRecords - 1) await last
        }
        await last
        await last.flushed
        await database.flushed
      },
      append: (payload) => database.put(next++, payload).flushed,
      scan: async () => {
        let [records, hash] = [0, 0]
        for (const { value } of database.getRange()) {
          hash = mixRecord(hash, value.length, value[0])
          records++
        }
        return { records, hash }
      },
      openPoint: async () => ({ records: next - 1, get: (index) => database.getBinary(index + 1) }),
      first: async () => database.getBinary(1),
      close: () => database.close(),
    }
  },
}
