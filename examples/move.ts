// A planned move to another machine, by the bucket: the first one seals everything and closes, and an empty root on the second one has every record
// under the same ids. Run it with any of the runtimes: `bun examples/move.ts [directory]`, in a clone behind `npm run build`.

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"

const given = process.argv[2]
const directory = given ?? mkdtempSync(join(tmpdir(), "bop-aof-move-"))
const store = { directory: join(directory, "bucket") }

const first = await AofManager.open({ root: join(directory, "first"), tier2: { store } })
const ids: Array<number> = []
for (const name of ["orders", "prices"]) {
  const stream = await first.stream(name)
  for (let number = 0; number < 100; number++) ids.push((await stream.append(`${name} ${number}`)).recordId)
}

// Nobody appends any more. `close` seals nothing: what is in an active segment would stay here.
for (const name of first.streams()) await (await first.stream(name)).seal()
// Until every segment is there. A machine that goes for good should know before it is closed.
for (const name of first.streams()) {
  const stream = await first.stream(name)
  await stream.evict({ to: "tier2" })
  if (stream.segments().some(({ count, coldBytes }) => count > 0 && coldBytes === undefined))
    throw new Error(`${name} is not all there`)
}
await first.close()

const second = await AofManager.open({ root: join(directory, "second"), tier2: { store, requireBucket: true } })
if (second.recovery.lost.length > 0) throw new Error("something was left behind")
let found = 0
for (const name of second.streams())
  for await (const record of (await second.stream(name)).read({ from: "start" }))
    if (ids[found] === record.recordId) found++
console.log(`${found} records are there, under the same ids`)
await second.close()
if (given === undefined) rmSync(directory, { recursive: true, force: true })
