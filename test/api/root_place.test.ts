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

describe("a root that is moved away while it is open", () => {
  /** A manager of `root` with twelve records in a stream. */
  const begin = async (root: string) => {
    const events: Array<string> = []
    const manager = await AofManager.open({ root, ...small, onEvent: ({ name }) => events.push(name) })
    const stream = await manager.stream("s")
    let last = 0
    for (let i = 0; i < 12; i++) {
      const { recordId } = await stream.append("a".repeat(1000))
      last = recordId
    }
    return { manager, stream, events, last }
  }

  test("and has another one in its place, which is left alone, loses nothing that was acknowledged", async () => {
    const [root, moved] = [join(base, "root"), join(base, "moved")]
    const { manager, stream, events, last } = await begin(root)
    fs.renameSync(root, moved)
    const other = await AofManager.open({ root, ...small })
    const others = await other.stream("s")
    await others.append("b")
    let acked = 12
    let error: any
    while (error === undefined) {
      error = await errorOf(stream.append("a".repeat(1000)))
      if (error === undefined) acked++
    }
    expect([error._tag, error.code, error.retryable]).toEqual(["Unavailable", "ESTALE", false])
    expect(error.message).toContain(JSON.stringify(root))
    const calls = [
      () => stream.append("a"),
      () => manager.stream("new"),
      () => stream.seal(),
      () => stream.trim({ before: last }),
      () => manager.deleteStream("s"),
      () => manager.customEvent(1, new Uint8Array(1)),
    ]
    const codes: Array<unknown> = []
    for (const call of calls) codes.push((await errorOf(call()))?.code)
    expect(codes).toEqual(calls.map(() => "ESTALE"))
    for (let i = 0; i < 20; i++) await others.append("b".repeat(1000))
    expect((await errorOf(manager.close())).code).toBe("ESTALE")
    expect(events.filter((name) => name === "root_lost")).toEqual(["root_lost"])
    expect(fs.existsSync(join(root, "LOCK"))).toBe(true)
    expect((await errorOf(AofManager.open({ root, ...small }))).code).toBe("EBUSY")
    await (await other.stream("t")).append("t")
    await other.close()
    expect(await contentOf(root)).toEqual({ s: "b".repeat(21), t: "t" })
    // Also by this process, which knows that it has given it up.
    const again = await AofManager.open({ root: moved, ...small })
    expect(again.recovery.quarantined).toEqual([])
    await (await again.stream("s")).append("c")
    await again.close()
    expect(await contentOf(moved)).toEqual({ s: `${"a".repeat(acked)}c` })
  })

  test("makes no stream in the other one", async () => {
    const [root, moved] = [join(base, "root"), join(base, "moved")]
    const { manager } = await begin(root)
    const fresh = await manager.stream("t")
    fs.renameSync(root, moved)
    const other = await AofManager.open({ root, ...small })
    expect((await errorOf(fresh.append("t")))?.code).toBe("ESTALE")
    expect((await errorOf(manager.close()))?.code).toBe("ESTALE")
    expect(other.streams()).toEqual([])
    expect(fs.readdirSync(join(root, "streams"))).toEqual([])
    await other.close()
    expect(await contentOf(moved)).toEqual({ s: "a".repeat(12), t: "" })
  })

  test("or removed is told by close() at the latest", async () => {
    const root = join(base, "root")
    const { manager } = await begin(root)
    fs.rmSync(root, { recursive: true })
    expect((await errorOf(manager.close()))?.code).toBe("ESTALE")
    expect(fs.existsSync(root)).toBe(false)
    const lockless = await begin(root)
    fs.rmSync(join(root, "LOCK"))
    expect((await errorOf(lockless.manager.close()))?.code).toBe("ESTALE")
    expect(await contentOf(root)).toEqual({ s: "a".repeat(12) })
  })

  test("and comes back before anything was made is the same root", async () => {
    const [root, moved] = [join(base, "root"), join(base, "moved")]
    const { manager, stream } = await begin(root)
    fs.renameSync(root, moved)
    fs.renameSync(moved, root)
    // Another file of the same text, as a copy that is put back has it.
    const lock = fs.readFileSync(join(root, "LOCK"))
    fs.writeFileSync(join(root, "copy"), lock)
    fs.renameSync(join(root, "copy"), join(root, "LOCK"))
    for (let i = 0; i < 20; i++) await stream.append("a".repeat(1000))
    await manager.close()
    expect(await contentOf(root)).toEqual({ s: "a".repeat(32) })
  })
})
