// Scrub and repair from the command line, on a store that is well, damaged, in use and not there.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"

const directory = mkdtempSync(join(tmpdir(), "bop-aof-maintain-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const run = (...args: ReadonlyArray<string>) => {
  const [command, ...rest] = runtimeCommand(currentRuntime, join(rootDirectory, "examples", "maintain.ts"), args)
  const { status, signal, error, stdout, stderr } = spawnSync(command, rest, {
    cwd: rootDirectory,
    encoding: "utf8",
    timeout: 60_000,
  })
  return { status: status ?? signal ?? error, stdout, stderr }
}

const make = async (name: string): Promise<string> => {
  const root = join(directory, name)
  const manager = await AofManager.open({ root, segmentBytes: 65_536, tier2: false })
  const stream = await manager.stream("orders")
  for (let i = 0; i < 40; i++) await stream.append(`record ${i} `.padEnd(4000, "."))
  await stream.seal()
  await manager.close()
  return root
}

/** Flips a byte of the content of the first segment. */
const damage = (root: string): void => {
  const folder = join(root, "streams", "orders", "segments")
  const path = join(folder, readdirSync(folder).sort()[0]!)
  const bytes = readFileSync(path)
  bytes[20_000] = bytes[20_000]! ^ 1
  writeFileSync(path, bytes)
}

describe("maintenance from the command line", () => {
  test("finds a store in order, and says so in words and in JSON", async () => {
    const root = await make("well")
    const scrubbed = run("scrub", "--root", root, "--tier2", "none")
    expect([scrubbed.status, scrubbed.stderr]).toEqual([0, ""])
    expect(scrubbed.stdout).toMatch(/^done: all clean; \d+ segments, \d+ files, [\d.]+ MiB read$/m)
    const planned = run("repair", "--root", root, "--tier2", "none", "--plan", "--json")
    expect(planned.status).toBe(0)
    expect(JSON.parse(planned.stdout)).toMatchObject({ isPlan: true, isClean: true, streams: ["orders"] })
  }, 60_000)

  test("names what is damaged and has no other copy, and changes nothing by a plan", async () => {
    const root = await make("damaged")
    damage(root)
    const scrubbed = run("scrub", "--root", root, "--tier2", "none")
    expect([scrubbed.status, scrubbed.stderr]).toEqual([1, ""])
    expect(scrubbed.stdout).toMatch(/^damaged {3}orders, segment 1, tier0: content: /m)
    const planned = run("repair", "--root", root, "--tier2", "none", "--plan")
    expect(planned.status).toBe(1)
    expect(planned.stdout).toMatch(/^lost {6}orders, segment 1: /m)
    expect(planned.stdout).toMatch(/^plan, nothing changed: not all can be made good; /m)
    expect(run("repair", "--root", root, "--tier2", "none").stdout).toMatch(/^done: not all can be made good; /m)
  }, 60_000)

  test("ends with 2 for arguments that can't be taken, with 3 for a store that is not there or in use, without a stack", async () => {
    const root = await make("used")
    const bad = [
      [],
      ["mend"],
      ["repair"],
      ["repair", "--root"],
      ["scrub", "--root", root, "--mib", "x"],
      ["repair", "--rot", root],
    ]
    for (const args of bad) expect([args, run(...args).status]).toEqual([args, 2])
    expect(run("scrub", "--root", root, "--plan").stderr).toContain("--plan is for repair")
    expect(run("scrub", "--help").status).toBe(0)
    const none = join(directory, "none")
    for (const command of ["scrub", "repair"]) {
      const { status, stderr } = run(command, "--root", none)
      expect([command, status]).toEqual([command, 3])
      expect(stderr).toContain(none)
      expect(stderr).not.toMatch(/^\s+at /m)
      expect(existsSync(none)).toBe(false)
    }
    const manager = await AofManager.open({ root, tier2: false })
    for (const command of ["scrub", "repair"]) expect(run(command, "--root", root, "--tier2", "none").status).toBe(3)
    await manager.close()
  }, 60_000)

  test("takes no other place for that of the objects, makes none, and says what was not looked at", async () => {
    const root = join(directory, "cold")
    const objects = join(directory, "cold-objects")
    const manager = await AofManager.open({ root, segmentBytes: 65_536, tier2: { store: { directory: objects } } })
    const stream = await manager.stream("orders")
    for (let i = 0; i < 40; i++) await stream.append(`record ${i} `.padEnd(4000, "."))
    await stream.seal()
    await stream.evict({ to: "tier2" })
    await manager.close()
    expect(run("scrub", "--root", root, "--tier2", objects).status).toBe(0)
    const typo = join(directory, "typo")
    const wrong = run("scrub", "--root", root, "--tier2", typo)
    expect([wrong.status, wrong.stderr.trim(), existsSync(typo)]).toEqual([
      2,
      `--tier2 is ${typo}, which is no directory`,
      false,
    ])
    const forgotten = run("scrub", "--root", root)
    expect(forgotten.status).toBe(2)
    expect(forgotten.stderr).toMatch(
      /^\d segments are in Tier 2 only, and .*cold.tier2, .* is not there: say --tier2 DIR$/m,
    )
    expect(run("repair", "--root", root).stderr).toContain("is not there: say --tier2 DIR")
    const left = run("scrub", "--root", root, "--tier2", "none")
    expect(left.status).toBe(1)
    expect(left.stdout).toMatch(/^skipped {3}.*: it is in Tier 2 only, and the store was opened without Tier 2$/m)
    expect(run("scrub", "--root", root, "--tier2", objects).stdout).toContain("done: all clean")
  }, 60_000)
})
