// A root stays the directory that its path meant when it was opened: wherever the process goes, and whatever takes its place.

import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager, ManifestInspector } from "bop-aof"

const parent = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "bop-aof-place-")))
const home = process.cwd()
let base = ""
let count = 0

beforeEach(() => {
  base = join(parent, String(count++))
  for (const name of ["a", "b"]) fs.mkdirSync(join(base, name), { recursive: true })
})
afterEach(() => process.chdir(home))
afterAll(() => fs.rmSync(parent, { recursive: true, force: true }))

const small = { segmentBytes: 8192, recordBytesMax: 4096, closeTimeoutMs: 5000 }

/** What each stream of a root holds, by the first letters of its records. */
const contentOf = async (root: string): Promise<Record<string, string>> => {
  const manager = await AofManager.open({ root, readOnly: true })
  const found: Record<string, string> = {}
  for (const name of manager.streams()) {
    found[name] = ""
    for await (const record of (await manager.stream(name)).read()) found[name] += record.text()[0]
  }
  await manager.close()
  return found
}

const errorOf = (call: Promise<unknown>): Promise<any> =>
  call.then(
    () => undefined,
    (error) => error,
  )

describe("a relative path", () => {
  test("of a root is that of its opening, wherever the process goes", async () => {
    process.chdir(join(base, "b"))
    const other = await AofManager.open({ root: "./data", ...small })
    await (await other.stream("orders")).append("b".repeat(1000))
    await other.close()
    process.chdir(join(base, "a"))
    const manager = await AofManager.open({ root: "./data", ...small })
    expect(manager.root).toBe("./data")
    const stream = await manager.stream("orders")
    await stream.append("a".repeat(1000))
    process.chdir(join(base, "b"))
    for (let i = 0; i < 19; i++) await stream.append("a".repeat(1000))
    await (await manager.stream("new")).append("n")
    await stream.evict({ to: "tier2" })
    await manager.close()
    expect(await contentOf(join(base, "a/data"))).toEqual({ new: "n", orders: "a".repeat(20) })
    expect(await contentOf(join(base, "b/data"))).toEqual({ orders: "b" })
    expect(fs.existsSync(join(base, "a/data/LOCK"))).toBe(false)
  })

  test("of a bucket is that of the opening", async () => {
    process.chdir(join(base, "a"))
    const root = join(base, "root")
    const manager = await AofManager.open({ root, ...small, tier2: { store: { directory: "bucket" } } })
    process.chdir(join(base, "b"))
    const stream = await manager.stream("s")
    for (let i = 0; i < 20; i++) await stream.append("a".repeat(1000))
    await stream.evict({ to: "tier2" })
    await manager.close()
    expect(fs.readdirSync(join(base, "b"))).toEqual([])
    expect(fs.readdirSync(join(base, "a/bucket/objects")).length).toBeGreaterThan(0)
  })

  test("names the same root for readers, repairs and the inspector", async () => {
    process.chdir(base)
    const roots: ReadonlyArray<readonly [string, number]> = [
      ["a/../a/data", 1],
      [".", 1],
      ["./.", 2],
    ]
    for (const [root, records] of roots) {
      const manager = await AofManager.open({ root, ...small })
      await (await manager.stream("s")).append("x")
      await manager.close()
      const reader = await AofManager.open({ root, readOnly: true })
      const repair = AofManager.repair({ root, plan: true })
      const inspector = ManifestInspector.open(root)
      expect((await repair).root).toBe(root)
      expect((await inspector).inspection.root).toBe(root)
      process.chdir(join(base, "b"))
      expect(await Array.fromAsync((await reader.stream("s")).read())).toHaveLength(records)
      await reader.close()
      process.chdir(base)
    }
  })

  test("below a working directory that is gone is Unavailable, an absolute one is as always", async () => {
    const gone = join(base, "gone")
    fs.mkdirSync(gone)
    process.chdir(gone)
    fs.rmdirSync(gone)
    const error = await errorOf(AofManager.open({ root: "data" }))
    const manager = await AofManager.open({ root: join(base, "data") })
    await manager.close()
    process.chdir(home)
    expect([error?._tag, error?.code]).toEqual(["Unavailable", "ENOENT"])
  })
})
