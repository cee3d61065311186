// The same seed does the same on every runtime: what this one did is compared with what another did, event by event, through the hash of
// the trace.

import { expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { simulate } from "../../src/testing/simulation/mod.ts"
import { runSuccessfully } from "../support/run_process.ts"

const other = currentRuntime === "bun" ? "node" : "bun"
const [seed, seeds, steps] = [1, 6, 40]

test("the hash of a seed is the same on this runtime and another", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bop-aof-hashes-"))
  try {
    const hashes = join(directory, "hashes.txt")
    const options = { seed, seeds, minutes: 5, steps, tries: 0, hashes }
    const file = join(rootDirectory, "test", "simulate", "main.ts")
    await runSuccessfully(runtimeCommand(other, file, [JSON.stringify(options)]), rootDirectory)
    const own: Array<string> = []
    for (let at = seed; at < seed + seeds; at++) own.push(`${at} ${(await simulate(at, { steps })).hash}`)
    expect(readFileSync(hashes, "utf8").trim().split("\n")).toEqual(own)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}, 300_000)
