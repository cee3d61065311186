// A warm file that somebody changes right after it was made is found out before its segment leaves Tier 0, and costs no record.

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
  [
    "changed, and the time of that put back",
    (path) => {
      const { atime, mtime } = fs.statSync(path)
      const bytes = fs.readFileSync(path)
      bytes[bytes.length >> 1]! ^= 1
      const file = fs.openSync(path, "r+")
      fs.writeSync(file, bytes)
      fs.closeSync(file)
      fs.utimesSync(path, atime, mtime)
    },
  ],
  ["cut", (path) => fs.truncateSync(path, 100)],
  ["removed", (path) => fs.rmSync(path)],
]

test("one that is changed as soon as it has its name costs none either", async () => {
  const store = join(root, "early")
  const options = { tier1: { compress: "pressure", residencyMsMin: 0 }, tier2: false } as const
  const manager = await AofManager.open({ root: store, ...options })
  try {
    const stream = await manager.stream("s")
    for (let index = 0; index < count; index++) await stream.append(payload(index), { level: "written" })
    await stream.seal()
    const path = join(store, "streams", "s", "warm", "0000000001.seg.zst")
    let isChanged = false
    const leaving = stream.evict({ to: "tier1" }).finally(() => {
      isChanged = true
    })
    while (!isChanged) {
      if (fs.existsSync(path)) {
        isChanged = true
        const file = fs.openSync(path, "r+")
        fs.writeSync(file, new Uint8Array(64), 0, 64, 100)
        fs.closeSync(file)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    await leaving
    let index = 0
    for await (const record of stream.read({ from: "start" })) expect(record.bytes).toEqual(payload(index++))
    expect(index).toBe(count)
  } finally {
    await manager.close()
  }
})

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
