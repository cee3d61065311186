// A process that appends durably with budgets of a few segments until it is killed: `tier_writer.ts ROOT`. It goes on where the
// store ends, and says what was acknowledged: each number, `trim N`, and the stream that comes and goes, `made N` and `deleted N`.
// Everything moves meanwhile: seals, compressions, uploads, evictions, hydrations, trims, retention, deletions.

import { argv, stdout } from "node:process"
import { AofManager } from "bop-aof"
import { tierText, tierWriterOptions } from "./tier_records.ts"

// What ends it is to be found from what it says.
Error.stackTraceLimit = 100
const root = argv[2]!
const manager = await AofManager.open(tierWriterOptions(root))
const stream = await manager.stream("kill")
const kept = await manager.stream("kept", { retention: { bytes: 192 * 1024 } })
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
    let [count, at] = [0, 0]
    try {
      for await (const record of stream.read()) {
        if (record.text() !== tierText(record.recordNumber)) throw new Error(`record ${record.recordNumber} is wrong`)
        // Half of what is there goes, now and then.
        if (++count === 200) at = record.recordId
      }
      const first = stream.segments()[0]
      if (first?.state === "sealed") await stream.prefetch({ from: first.index, count: 1 })
    } catch (error) {
      // Trimmed under the reader.
      if ((error as { _tag?: string })._tag !== "NotFound") throw error
    }
    if (count < 400) continue
    const { recordNumber } = await stream.get(at)
    stdout.write(`trimming ${recordNumber}\n`)
    await stream.trim({ before: at })
    stdout.write(`trim ${recordNumber}\n`)
  }
}

/** A stream that keeps little. */
const retain = async (): Promise<void> => {
  let number = kept.info().nextRecordNumber
  for (;;) {
    await kept.append(tierText(number++))
    stdout.write(`kept ${number - 1}\n`)
  }
}

/** A stream that is made, moved to Tier 2 and deleted. */
const comeAndGo = async (): Promise<void> => {
  let count = Number(argv[3] ?? 0)
  for (;;) {
    const name = `third-${++count}`
    stdout.write(`making ${count}\n`)
    const third = await manager.stream(name)
    await third.append(tierText(count))
    stdout.write(`made ${count}\n`)
    await third.seal()
    await third.evict({ to: "tier2" })
    stdout.write(`deleting ${count}\n`)
    await manager.deleteStream(name)
    stdout.write(`deleted ${count}\n`)
  }
}

await Promise.all([...Array.from({ length: 8 }, produce), scan(), retain(), comeAndGo()])
