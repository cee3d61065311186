// Fail-over: two processes and one bucket. A child writes and is killed without warning; this process takes the root over with one call and
// goes on. Run it with any of the runtimes: `bun examples/failover.ts [directory]`, in a clone behind `npm run build`.

import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { AofManager } from "bop-aof"
import type { WriterOrder, WriterReport } from "./failover_writer.ts"

/** How many records the child is allowed to bring to the bucket before it is killed. */
const recordsMin = 20

/** Starts the writer and kills it when enough is in the bucket. Gives its last report. */
function writeAndKill(order: WriterOrder): Promise<WriterReport> {
  const path = fileURLToPath(new URL("failover_writer.ts", import.meta.url))
  const child: ChildProcess = fork(path, [], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
  let last: WriterReport = { appended: 0, inBucket: 0 }
  return new Promise((resolve, reject) => {
    child.on("message", (report: WriterReport) => {
      last = report
      if (report.inBucket >= recordsMin) child.kill("SIGKILL")
    })
    child.on("error", reject)
    child.on("exit", () => resolve(last))
    child.send(order)
  })
}

const given = process.argv[2]
const directory = given ?? mkdtempSync(join(tmpdir(), "bop-aof-failover-"))
const bucket = join(directory, "bucket")
const { appended, inBucket } = await writeAndKill({ root: join(directory, "first"), bucket })
console.log(
  `the first process was killed: ${appended} records acknowledged, at least ${inBucket} of them in the bucket`,
)

const manager = await AofManager.open({ root: join(directory, "second"), tier2: { store: { directory: bucket } } })
const orders = await manager.stream("orders")
let found = 0
for await (const record of orders.read({ from: "start" })) {
  if (record.text() !== `order ${found}`) throw new Error(`record ${found} reads ${record.text()}`)
  found++
}
if (found < inBucket) throw new Error(`only ${found} of ${inBucket} records came back`)
console.log(`the second process has taken over: ${found} records are there`)
for (const { stream, from, to, reason } of manager.recovery.lost)
  console.log(`lost: ${stream} ${from} to ${to}, ${reason}`)
const { recordNumber } = await orders.append(`order ${found}`)
console.log(`and goes on with record ${recordNumber}`)
await manager.close()

// The first machine comes back, and is told that it has lost the root.
try {
  await AofManager.open({ root: join(directory, "first"), tier2: { store: { directory: bucket } } })
  throw new Error("two writers have one root")
} catch (error) {
  const { _tag } = error as { _tag?: string }
  if (_tag !== "Fenced") throw error
  console.log(`the first root is refused: ${_tag}`)
}
if (given === undefined) rmSync(directory, { recursive: true, force: true })
