// On a disk that stamps its files, a warm file that was made a moment ago is not read again before its segment leaves Tier 0, unless somebody
// has written into it.

import { afterAll, expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"

const root = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "bop-aof-")))
afterAll(() => fs.rmSync(root, { recursive: true }))

const payload = (index: number): Uint8Array => new TextEncoder().encode(`record ${index} `.repeat(40))
const count = 300

const changes: ReadonlyArray<readonly [string, (path: string) => void]> = [
  [
    "changed",
    (path) => {
      const bytes = fs.readFileSync(path)
      bytes[bytes.length >> 1]! ^= 1
      fs.writeFileSync(path, bytes)
    },
  ],
  [
    "replaced by another of its length",
    (path) => {
      const { size } = fs.statSync(path)
      fs.writeFileSync(`${path}.new`, new Uint8Array(size))
      fs.renameSync(`${path}.new`, path)
    },
  ],
  ["cut", (path) => fs.truncateSync(path, 100)],
  ["removed", (path) => fs.rmSync(path)],
]

test.each(changes)("one that is %s at once costs no record", async (what, change) => {
  const store = join(root, what.replaceAll(" ", "-"))
  const manager = await AofManager.open({
    root: store,
    tier1: { compress: "pressure", residencyMsMin: 0 },
    tier2: false,
  })
  try {
    const stream = await manager.stream("s")
    for (let index = 0; index < count; index++) await stream.append(payload(index), { level: "written" })
    await stream.seal()
    await stream.evict({ to: "tier1" })
    await stream.prefetch({ to: "tier0" })
    const folder = join(store, "streams", "s", "warm")
    change(join(folder, fs.readdirSync(folder)[0]!))
    await stream.evict({ to: "tier1" })
    let index = 0
    for await (const record of stream.read({ from: "start" })) expect(record.bytes).toEqual(payload(index++))
    expect(index).toBe(count)
  } finally {
    await manager.close()
  }
})
