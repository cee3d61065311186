// A process that appends durably with budgets of a few segments until it is killed: `tier_writer.ts ROOT`. It goes on where the
// store ends, and says each acknowledged number. Everything moves meanwhile: seals, compressions, uploads, evictions, scans.

import { argv, stdout } from "node:process"
import { AofManager } from "bop-aof"
import { tierText, tierWriterOptions } from "./tier_records.ts"

const root = argv[2]!
const manager = await AofManager.open(tierWriterOptions(root))
const stream = await manager.stream("kill")
let next = stream.info().nextRecordNumber
stdout.write(`open ${next}\n`)

const produce = async (): Promise<void> => {
  for (;;) {
    const number = next++
    const ack = await stream.append(tierText(number))
    if (ack.recordNumber !== number) throw new Error(`record ${number} became ${ack.recordNumber}`)
    stdout.write(`${number}\n`)
  }
}
const scan = async (): Promise<void> => {
  for (;;) {
    // An empty stream is read without a turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 1))
    for await (const record of stream.read()) {
      if (record.text() !== tierText(record.recordNumber)) throw new Error(`record ${record.recordNumber} is wrong`)
    }
    const first = stream.segments()[0]
    if (first?.state === "sealed") await stream.prefetch({ from: first.index, count: 1 })
  }
}
await Promise.all([...Array.from({ length: 8 }, produce), scan()])
