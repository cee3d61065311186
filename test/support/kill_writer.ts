// Writes into a store until it is killed: `kill_writer.ts ROOT SEED`. Waits for a line on standard input, opens, and says on standard
// output, synchronously, what it is about to do before it does it and what was acknowledged:
//   open | try NAME COUNT | ack NAME LEVEL RECORD_ID RECORD_NUMBER | trim RECORD_ID RECORD_NUMBER | trimmed RECORD_NUMBER | seal
// The payload of record K of NAME starts with `NAME/K `.

import { writeSync } from "node:fs"
import { AofManager } from "../../src/api/manager.ts"
import { randomOf } from "./crash_model.ts"

const [root, seedText] = process.argv.slice(2) as [string, string]
const random = randomOf(Number(seedText))

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
const manager = await AofManager.open({
  root,
  segmentBytes: 64 * 1024,
  stagingBytes: 16 * 1024,
  preallocateBytesMax: 65_536,
})
const stream = await manager.stream("s")
say("open")
const calls = new Set<Promise<unknown>>()
const durable: Array<{ readonly recordId: number; readonly recordNumber: number }> = []

const track = (call: Promise<unknown>): void => {
  calls.add(call)
  void call.then(() => calls.delete(call))
}

for (let step = 0; ; step++) {
  const name = `${seedText}.${step}`
  const kind = random(12)
  const level = kind % 3 === 0 ? "written" : "durable"
  if (kind < 6) {
    say(`try ${name} 1`)
    const text = `${name}/0 `.padEnd(20 + random(2000), ".")
    track(
      stream.append(text, { level }).then((ack) => {
        say(`ack ${name} ${level} ${ack.recordId} ${ack.recordNumber}`)
        if (level === "durable") durable.push(ack)
      }),
    )
  } else if (kind < 9) {
    const count = 2 + random(6)
    const large = kind === 8 && random(4) === 0 ? 6000 : 400
    say(`try ${name} ${count}`)
    const texts = Array.from({ length: count }, (_, one) => `${name}/${one} `.padEnd(20 + random(large), "."))
    track(
      stream
        .appendBatch(texts, { level })
        .then(({ first }) => say(`ack ${name} ${level} ${first.recordId} ${first.recordNumber}`)),
    )
  } else if (kind < 10) {
    say(`try ${name} 1`)
    const id = stream.tryAppend(`${name}/0 `.padEnd(20 + random(3000), "."))
    if (id < 0) await stream.ready()
    else if (random(2) === 0)
      track(stream.durable(id).then((ack) => say(`ack ${name} durable ${id} ${ack.recordNumber}`)))
  } else if (kind < 11 && random(4) === 0) {
    say("seal")
    track(stream.seal())
  } else if (random(6) === 0 && durable.length > 0) {
    const [point] = durable.splice(0, 1 + random(durable.length)).slice(-1)
    say(`trim ${point!.recordId} ${point!.recordNumber}`)
    track(stream.trim({ before: point!.recordId }).then(() => say(`trimmed ${point!.recordNumber}`)))
  }
  if (random(4) === 0) await Promise.all(calls)
  else if (calls.size > 40) await Promise.race(calls)
}
