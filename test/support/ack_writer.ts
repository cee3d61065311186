// Appends at level `durable` through rollovers and seals: `ack_writer.ts ROOT`. Says each acknowledgement in one write to standard
// output: `ack SEGMENT_INDEX OFFSET END`, the place of the record's header and the end of its payload.

import { writeSync } from "node:fs"
import { AofManager } from "../../src/api/manager.ts"
import { segmentIndexOf, segmentOffsetOf } from "../../src/model/record_id.ts"

const root = process.argv[2] as string
const manager = await AofManager.open({ root, segmentBytes: 64 * 1024, stagingBytes: 16 * 1024 })
const stream = await manager.stream("s")

const say = (recordId: number, bytes: number): void => {
  const offset = segmentOffsetOf(recordId)
  writeSync(1, `ack ${segmentIndexOf(recordId)} ${offset} ${offset + 8 + bytes}\n`)
}

for (let round = 0; round < 12; round++) {
  const bytes = 200 + round * 400
  const acks = Array.from({ length: 5 }, () =>
    stream.append("x".repeat(bytes)).then(({ recordId }) => say(recordId, bytes)),
  )
  const id = stream.tryAppend("y".repeat(100))
  if (id > 0) acks.push(stream.durable(id).then(() => say(id, 100)))
  acks.push(stream.appendBatch(["z".repeat(bytes), "z".repeat(50)]).then(({ first }) => say(first.recordId, bytes)))
  await Promise.all(acks)
  if (round % 5 === 4) await stream.seal()
}
await manager.close()
process.exit(0)
