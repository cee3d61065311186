/** This store, by its public API as the guide describes it, with default options. */
import { AofManager } from "../../mod.ts"
import type { Contestant } from "../contestant.ts"
import { mixRecord } from "../payload.ts"

/** Records between two turns of the event loop, as in a program that also reads its input. */
const batchRecords = 10_000

export const contestant: Contestant = {
  name: "bop-aof",
  runtimes: ["bun", "deno", "node"],
  isOwn: true,
  settings:
    "default options; W1: tryAppend in batches of 10,000, one flush; W2, W3: append at durable (fdatasync); W4, W5: a checksum over every frame",
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scanModes: ["cursor", "views"],
  scale: 1,
  open: async ({ directory, workload }) => {
    const manager = await AofManager.open({ root: directory, readOnly: workload === "W4" || workload === "W5" })
    const stream = await manager.stream("bench")
    return {
      appendAll: async (payloads, records) => {
        for (let i = 0; i < records; i++) {
          const payload = payloads[i & (payloads.length - 1)]!
          while (stream.tryAppend(payload) < 0) await stream.ready()
          if (i % batchRecords === batchRecords - 1) await new Promise((resolve) => setImmediate(resolve))
        }
        await stream.flush()
      },
      append: (payload) => stream.append(payload),
      scan: async (mode) => {
        const cursor = stream.cursor({ from: "start" })
        let [records, hash] = [0, 0]
        if (mode === "cursor") {
          for (; cursor.next(); records++)
            hash = mixRecord(hash, cursor.payloadEnd - cursor.payloadStart, cursor.buffer[cursor.payloadStart]!)
        } else {
          for (; cursor.next(); records++) {
            const payload = cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd)
            hash = mixRecord(hash, payload.length, payload[0]!)
          }
        }
        return { records, hash }
      },
      openPoint: async () => {
        const ids = new Float64Array(stream.info().count)
        const cursor = stream.cursor({ from: "start" })
        for (let i = 0; cursor.next(); i++) ids[i] = cursor.recordId
        return { records: ids.length, get: (index) => stream.tryGet(ids[index]!).bytes }
      },
      first: async () => {
        const cursor = stream.cursor({ from: "start" })
        if (!cursor.next()) throw new Error("there is no first record")
        return cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd)
      },
      close: () => manager.close(),
    }
  },
}
