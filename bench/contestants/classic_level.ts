/** LevelDB by the package `classic-level`: a log-structured merge tree. */
import type { Contestant } from "../contestant.ts"
import { makeGroupCommit } from "../group_commit.ts"
import { mixRecord } from "../payload.ts"

const batchRecords = 1000

const makeKey = (number: number): Uint8Array => {
  const key = new Uint8Array(8)
  new DataView(key.buffer).setFloat64(0, number)
  return key
}

export const contestant: Contestant = {
  name: "classic-level",
  runtimes: ["node"],
  packages: { "classic-level": "3.0.0" },
  settings:
    "8-byte keys, no compression, defaults else; W1: batches of 1,000, the last with sync; W2, W3: all that wait in one batch with sync; checksums are written, not checked",
  workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7"],
  scale: 0.25,
  open: async ({ directory, load }) => {
    const { ClassicLevel } = await load("classic-level")
    const database = new ClassicLevel(directory, { keyEncoding: "view", valueEncoding: "view", compression: false })
    await database.open()
    let next = 1
    for await (const key of database.keys({ reverse: true, limit: 1 })) {
      next = new DataView(key.buffer, key.byteOffset).getFloat64(0) + 1
    }
    const write = (payloads: ReadonlyArray<Uint8Array>, sync: boolean): Promise<void> =>
      database.batch(
        payloads.map((value) => ({ type: "put", key: makeKey(next++), value })),
        { sync },
      )
    return {
      appendAll: async (payloads, records) => {
        for (let at = 0; at < records; at += batchRecords) {
          const count = Math.min(batchRecords, records - at)
          const batch = Array.from({ length: count }, (_, i) => payloads[(at + i) & (payloads.length - 1)]!)
          await write(batch, at + count === records)
        }
      },
      append: makeGroupCommit((payloads) => write(payloads, true)),
      appendAlone: (payload) => database.put(makeKey(next++), payload, { sync: true }),
      scan: async () => {
        let [records, hash] = [0, 0]
        const iterator = database.values()
        for (let values = await iterator.nextv(1000); values.length > 0; values = await iterator.nextv(1000)) {
          for (const value of values) hash = mixRecord(hash, value.length, value[0])
          records += values.length
        }
        await iterator.close()
        return { records, hash }
      },
      openPoint: async () => ({ records: next - 1, get: (index) => database.get(makeKey(index + 1)) }),
      first: () => database.get(makeKey(1)),
      close: () => database.close(),
    }
  },
}
