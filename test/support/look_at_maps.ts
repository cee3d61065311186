// Reads a sealed segment: `look_at_maps.ts ROOT write|read`, where `write` makes it first and `read` opens the root for reading only. Says in one
// line of JSON what it read and whether files below the root are mapped.

import { readFileSync } from "node:fs"
import { AofManager } from "../../src/api/node.ts"

const [root = "", mode] = process.argv.slice(2)
const manager = await AofManager.open({ root, tier2: false, readOnly: mode === "read" })
const stream = await manager.stream("s")
if (mode === "write") {
  await stream.append("hello")
  await stream.seal()
}
const texts: Array<string> = []
for await (const record of stream.read()) texts.push(record.text())
const isMapped = readFileSync("/proc/self/maps", "utf8").includes(root)
await manager.close()
process.stdout.write(JSON.stringify({ texts, isMapped }))
