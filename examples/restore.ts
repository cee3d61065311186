// A restore from the bucket alone: a root is written and removed, and comes back on an empty disk, with the same records under the same
// ids. Run it with any of the runtimes: `bun examples/restore.ts [directory]`, in a clone behind `npm run build`.

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"

const given = process.argv[2]
const directory = given ?? mkdtempSync(join(tmpdir(), "bop-aof-restore-"))
const root = join(directory, "root")
const tier2 = { store: { directory: join(directory, "bucket") } }

const before = await AofManager.open({ root, tier2 })
const notes = await before.stream("notes")
const ids: Array<number> = []
for (let note = 0; note < 100; note++) ids.push((await notes.append(`note ${note}`)).recordId)
// What is sealed goes up; `settled` resolves when the bucket knows all that is in it.
await notes.seal()
await before.settled()
await notes.append("a note that is only here")
await before.close()
rmSync(root, { recursive: true })

const after = await AofManager.open({ root, tier2 })
const back = await after.stream("notes")
for (const [note, id] of ids.entries()) {
  const text = (await back.get(id)).text()
  if (text !== `note ${note}`) throw new Error(`record ${id} reads ${text}`)
}
console.log(`${back.info().count} notes are back, the one that had not gone up is lost`)
for (const { stream, reason } of after.recovery.lost) console.log(`lost of ${stream}: ${reason}`)
await after.close()
if (given === undefined) rmSync(directory, { recursive: true, force: true })
