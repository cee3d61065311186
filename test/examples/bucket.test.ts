// The examples of the bucket, and of a backup, run as they stand, each in a process of this runtime.

import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { runSuccessfully } from "../support/run_process.ts"

const directory = mkdtempSync(join(tmpdir(), "bop-aof-examples-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const run = (name: string): Promise<string> =>
  runSuccessfully(
    runtimeCommand(currentRuntime, join(rootDirectory, "examples", `${name}.ts`), [join(directory, name)]),
    rootDirectory,
  )

describe("the example", () => {
  test("failover: what was in the bucket is there for the second process, and the first one is fenced", async () => {
    const printed = await run("failover")
    expect(printed).toMatch(/^the second process has taken over: \d+ records are there$/m)
    expect(printed).toMatch(/^and goes on with record \d+$/m)
    expect(printed).toMatch(/^the first root is refused: Fenced$/m)
  }, 60_000)

  test("replica: sees what the writer appends, in order", async () => {
    expect(await run("replica")).toBe("tea 3\ntea 4\ncoffee 5\nend 0\nepoch 1, 0 failures\n")
  }, 60_000)

  test("move: a planned one leaves nothing behind", async () => {
    expect(await run("move")).toBe("200 records are there, under the same ids\n")
  }, 60_000)

  test("backup: of a store that is written to, goes on where the copy ends", async () => {
    expect(await run("backup")).toBe(
      "copied while it was written to, 900 records in all\na third run copies 0\nthe copy has orders 101 to 1000\n",
    )
  }, 60_000)

  test("restore: everything that was uploaded is back", async () => {
    expect(await run("restore")).toContain("100 notes are back, the one that had not gone up is lost\n")
  }, 60_000)
})
