// A read replica: a writer with a bucket, and beside it a reader that has nothing but the bucket. Run it with any of the runtimes:
// `bun examples/replica.ts [directory]`, in a clone behind `npm run build`.

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager, openReplica } from "bop-aof"

const given = process.argv[2]
const directory = given ?? mkdtempSync(join(tmpdir(), "bop-aof-replica-"))
const store = { directory: join(directory, "bucket") }

const manager = await AofManager.open({
  root: join(directory, "root"),
  sealAfterMs: 50,
  tier2: { store, headIntervalMs: 50 },
})
const prices = await manager.stream("prices", { codec: "json" })
await prices.append({ item: "tea", price: 3 })
await prices.seal()
await manager.settled()

const replica = await openReplica({ store, pollMs: 50 })
const view = await replica.stream("prices", { codec: "json" })
const follower = (async () => {
  const seen: Array<string> = []
  for await (const { value } of view.follow({ from: "start" })) {
    seen.push(`${value.item} ${value.price}`)
    if (value.item === "end") return seen
  }
  return seen
})()
for (const [item, price] of [
  ["tea", 4],
  ["coffee", 5],
  ["end", 0],
] as const)
  await prices.append({ item, price })
// Nobody seals: after 50 ms the segment is sealed by itself, and then it comes.
console.log((await follower).join("\n"))
console.log(`epoch ${replica.info().epoch}, ${replica.info().failures} failures`)
await replica.close()
await manager.close()
if (given === undefined) rmSync(directory, { recursive: true, force: true })
