// A backup of a store that is being written to: it is read with `readOnly` and appended to another store, with each record's `extId` and time. Run
// again it goes on where the copy ends. Ids of records differ in the copy. Run it with any of the runtimes: `bun examples/backup.ts [directory]`, in a
// clone behind `npm run build`.

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Aof, AofManager, type AofRecord } from "bop-aof"

/** What one batch of the copy holds at most; it has to fit a segment of the copy. */
const batchBytesMax = 1024 * 1024
const batchRecordsMax = 1000

/** The stream of the copy that says, for each stream, with which number of the original it begins. */
const beginningsName = "copied-from"

/** Brings the copy up to where the original is durable now, and gives how many records came. */
async function backUp(original: string, copy: string): Promise<number> {
  const from = await AofManager.open({ root: original, readOnly: true })
  const to = await AofManager.open({ root: copy })
  let copied = 0
  const beginnings = new Map<string, number>()
  const notes = await to.stream(beginningsName, { codec: "json" })
  for await (const { value } of notes.read({ from: "start" })) beginnings.set(value.name, value.number)
  for (const name of from.streams()) {
    const source = await from.stream(name)
    let beginning = beginnings.get(name)
    if (beginning === undefined) {
      // What was trimmed before the first backup is not in the copy: numbers differ by that.
      beginning = source.info().firstRecordNumber
      await notes.append({ name, number: beginning })
    }
    copied += await copyStream(source, await to.stream(name), beginning)
  }
  await to.close()
  await from.close()
  return copied
}

async function copyStream(source: Aof, target: Aof, beginning: number): Promise<number> {
  // The last batch is there whole or not at all, so the number of the next record says where to go on.
  const number = beginning + target.info().nextRecordNumber
  if (source.info().firstRecordNumber > number)
    throw new Error(`records from ${number} on were trimmed before they were copied: begin another copy`)
  if (source.info().nextRecordNumber === number) return 0
  let batch: Array<AofRecord<string | Uint8Array>> = []
  let [bytes, copied] = [0, 0]
  const append = async (): Promise<void> => {
    if (batch.length === 0) return
    await target.appendBatch(
      batch.map((record) => ({ payload: record.bytes, extId: record.extId, timestampMs: record.timestampMs })),
    )
    copied += batch.length
    batch = []
    bytes = 0
  }
  for await (const record of source.read({ number })) {
    if (bytes + record.bytes.length > batchBytesMax || batch.length === batchRecordsMax) await append()
    batch.push(record)
    bytes += record.bytes.length
  }
  await append()
  return copied
}

const given = process.argv[2]
const directory = given ?? mkdtempSync(join(tmpdir(), "bop-aof-backup-"))
const [original, copy] = [join(directory, "original"), join(directory, "copy")]

const manager = await AofManager.open({ root: original })
const orders = await manager.stream("orders")
const write = async (first: number, last: number): Promise<void> => {
  for (let order = first; order <= last; order++)
    await orders.append(`order ${order}`, { extId: order, timestampMs: 1_700_000_000_000 + order })
}
await write(1, 500)
// What lies before order 101 is not needed any more, also not in the copy.
for await (const { recordId } of orders.read({ number: 100, limit: 1 })) await orders.trim({ before: recordId })

const writing = write(501, 1000)
const during = await backUp(original, copy)
await writing
// Who only reads sees the newest records when the stream has been quiet for some ten milliseconds.
await new Promise((resolve) => setTimeout(resolve, 200))
const after = await backUp(original, copy)
console.log(`${during >= 400 ? "copied while it was written to" : "too few"}, ${during + after} records in all`)
console.log(`a third run copies ${await backUp(original, copy)}`)

const check = await AofManager.open({ root: copy, readOnly: true })
let next = 101
for await (const record of (await check.stream("orders")).read({ from: "start" })) {
  const isSame = record.text() === `order ${next}` && record.extId === BigInt(next)
  if (!isSame || record.timestampMs !== 1_700_000_000_000 + next)
    throw new Error(`order ${next} reads ${record.text()}`)
  next++
}
console.log(`the copy has orders 101 to ${next - 1}`)
await check.close()
await manager.close()
if (given === undefined) rmSync(directory, { recursive: true, force: true })
