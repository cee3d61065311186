// The reader in Python, written from README.md alone, agrees with a store and finds a flipped byte anywhere that matters.

import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { AofManager } from "../../mod.ts"
import { type ProcessResult, runProcess } from "../support/run_process.ts"
import { makeSampleStore, type SampleFiles } from "../support/sample_store.ts"

const reader = fileURLToPath(new URL("./aof_reader.py", import.meta.url))
const hasPython = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).status === 0
const withPython = hasPython ? "" : " (skipped: python3 is missing)"
const segment = "streams/orders/segments/0000000001.seg"
const open = "streams/orders/segments/0000000003.seg"
const chunk = "manifest/0000000002.chunk"
let root: string
let files: SampleFiles

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")
const run = (...args: ReadonlyArray<string>): Promise<ProcessResult> => runProcess(["python3", reader, ...args], root)

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "aof-python-"))
  files = makeSampleStore()
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), bytes)
  }
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe.skipIf(!hasPython)(`the Python reader${withPython}`, () => {
  test("verifies a clean store", async () => {
    const { code, stdout } = await run("verify", root)
    expect([code, stdout]).toEqual([0, "clean: 1 streams, 21 records, 7 manifest records\n"])
  })

  test("lists streams and segments", async () => {
    const { code, stdout } = await run("list", root)
    expect(code).toBe(0)
    expect(stdout).toContain("stream 2 orders: 21 records, 2 segments")
    expect(stdout).toMatch(/segment +1 sealed +16 records/)
    expect(stdout).toMatch(/segment +3 open +6 records/)
  })

  test("dumps records with ids, numbers, times, extIds and hashes, but not what was trimmed", async () => {
    const { stdout } = await run("dump", root, "orders", "--json")
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(rows.map((row) => row.recordNumber)).toEqual(Array.from({ length: 21 }, (_, index) => index + 1))
    expect(rows[11]).toMatchObject({ bytes: 70_000, extId: "40", timestampMs: 1_699_999_995_000 })
    expect(rows[14]).toMatchObject({ bytes: 0, extId: String(2n ** 63n), timestampMs: 1_700_010_000_000 })
    expect(rows[0].recordId).toBe(2 ** 28 + 1608)
  })

  test.each([
    ["ROOT", 9],
    [chunk, 20],
    [chunk, 1540],
    [chunk, 1800],
    ["manifest/0000000001.snapshot", 1600],
    ["streams/orders/segments/current.sealed", 20],
    [segment, 60],
    [segment, 600],
    [segment, 1595],
    [segment, 150_000],
    [segment, 204_160],
    [segment, 204_300],
    [segment, 204_425],
    [open, 30],
    [open, 1600],
  ])("finds a flipped byte of %s at %d, names it and exits with 1", async (path: string, position: number) => {
    const bytes = files.get(path)!.slice()
    bytes[position] = bytes[position]! ^ 0x40
    writeFileSync(join(root, path), bytes)
    const { code, stdout } = await run("verify", root)
    writeFileSync(join(root, path), files.get(path)!)
    expect(code).toBe(1)
    const ranges = [...stdout.matchAll(/^DAMAGE (\S+) \[(\d+), (\d+)\): \w/gm)]
    const isNamed = ranges.some(
      ([, file, from, to]) => file === path && Number(from) <= position && position < Number(to),
    )
    expect(`${stdout}${isNamed}`).toContain("true")
  })

  test("takes an unfinished end for no damage", async () => {
    const bytes = files.get(open)!.slice()
    bytes[1740] = bytes[1740]! ^ 1
    writeFileSync(join(root, open), bytes)
    const { code, stdout } = await run("verify", root)
    writeFileSync(join(root, open), files.get(open)!)
    expect(code).toBe(0)
    expect(stdout).toContain("the log ends at 1664")
  })

  test("agrees with a store of the public API: seals, batches, a trim, a deletion, an open end", async () => {
    const path = join(root, "api")
    const wanted: Array<string> = []
    const manager = await AofManager.open({ root: path })
    const stream = await manager.stream("lines")
    for (let number = 0; number < 300; number++) {
      const payload = `line ${number} ${"x".repeat(number)}`
      const ack = await stream.append(payload, { extId: number + 1, level: "written" })
      if (number >= 150) wanted.push(`${ack.recordId} ${ack.recordNumber} ${sha256(payload)}`)
      if (number === 100 || number === 200) await stream.seal()
    }
    const batch = Array.from({ length: 5 }, (_, index) => "y".repeat(40_000 + index))
    const { first } = await stream.appendBatch(batch)
    await stream.trim({ before: Number(wanted[0]?.split(" ")[0]) })
    await (await manager.stream("gone")).append("bye")
    await manager.deleteStream("gone")
    await manager.close()
    expect(await run("verify", path)).toMatchObject({ code: 0, stderr: "" })
    const { stdout } = await run("dump", path, "lines", "--json")
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    const shown = rows.map((row) => `${row.recordId} ${row.recordNumber} ${row.sha256}`)
    expect(shown.slice(0, 150)).toEqual(wanted)
    expect(rows.slice(150).map((row) => row.sha256)).toEqual(batch.map(sha256))
    expect(rows[150].recordId).toBe(first.recordId)
    expect(rows[0].extId).toBe("151")
  })

  test("exits with 2 when it is called wrongly, and where there is no store", async () => {
    expect((await run()).code).toBe(2)
    expect((await run("verify", join(root, "manifest"))).code).toBe(2)
    expect((await run("dump", root, "nothing")).code).toBe(2)
    expect((await run("list", root, "--json")).code).toBe(2)
  })
})
