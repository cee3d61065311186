// Appends to many streams until it is killed: `streams_writer.ts ROOT STREAMS PRODUCERS`. Waits for a line on standard input, opens, and
// says on standard output, synchronously, `open` and then `ack STREAM NUMBER RECORD_ID` for each record that is durable. The payload of
// record NUMBER of STREAM is `STREAM/NUMBER`.

import { writeSync } from "node:fs"
import { AofManager } from "../../src/api/manager.ts"

const [root, streamCount, producerCount] = process.argv.slice(2) as [string, string, string]

const say = (line: string): void => {
  const bytes = new TextEncoder().encode(`${line}\n`)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error
    }
  }
}

await new Promise<void>((resolve) => process.stdin.once("data", () => resolve()))
// A small journal, so that its files are drained and used again all the time.
const manager = await AofManager.open({ root, segmentBytes: 64 * 1024, journalBytes: 512 * 1024 })
const names = Array.from({ length: Number(streamCount) }, (_, at) => `s${at}`)
const streams = await Promise.all(names.map((name) => manager.stream(name)))
say("open")
let next = Math.floor(Math.random() * streams.length)

const produce = async (): Promise<void> => {
  for (;;) {
    const stream = streams[next++ % streams.length]!
    const number = stream.info().nextRecordNumber
    const ack = await stream.append(`${stream.name}/${number}`.padEnd(40 + (number % 300), "."))
    if (ack.recordNumber !== number) say(`mistake ${stream.name} ${number} ${ack.recordNumber}`)
    say(`ack ${stream.name} ${number} ${ack.recordId}`)
  }
}

await Promise.all(Array.from({ length: Number(producerCount) }, produce))
