// Follows the stream `s` of a store that another process writes: `follow_store.ts ROOT`. Says the number of each record.

import { writeSync } from "node:fs"
import { AofManager } from "../../src/api/manager.ts"

const manager = await AofManager.open({ root: process.argv[2] as string, readOnly: true })
const stream = await manager.stream("s")
for await (const record of stream.follow({ from: "start" })) {
  const [number] = record.text().split(" ")
  if (Number(number) !== record.recordNumber) throw new Error(`record ${record.recordNumber} says ${number}`)
  writeSync(1, `${number}\n`)
}
