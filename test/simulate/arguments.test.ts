// `npm run simulate` and `npm run mutants` say which argument they cannot use, its value and what is allowed, and end with 2.

import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { runProcess } from "../support/run_process.ts"

const launch = (...args: ReadonlyArray<string>): ReturnType<typeof runProcess> =>
  runProcess(runtimeCommand("node", join(rootDirectory, "scripts", "launch.mjs"), args), rootDirectory)

describe("npm run simulate", () => {
  test.each([
    [["--seeds", "0"], "--seeds is 0, allowed is a whole number from 1 to 1000000000\n"],
    [["--minutes", "soon"], "--minutes is soon, allowed is a number from 0.01 to 100000\n"],
    [["--seed=-1"], `--seed is -1, allowed is a whole number from 0 to ${2 ** 52}\n`],
    [["--steps", "1.5"], "--steps is 1.5, allowed is a whole number from 1 to 100000\n"],
    [["--steps"], "--steps needs a value\n"],
    [["--runtime", "perl"], "no such runtime: perl; there are bun, deno, node\n"],
  ])("refuses %j with exit code 2", async (args: ReadonlyArray<string>, message: string) => {
    const { code, stderr, stdout } = await launch("simulate", ...args)
    expect([code, stderr, stdout]).toEqual([2, message, ""])
  })

  test("names the argument that there is not, and those that there are", async () => {
    const { code, stderr } = await launch("simulate", "--sede", "1")
    expect(code).toBe(2)
    expect(stderr).toContain("there is no argument --sede, there are --seeds, --minutes, --seed,")
  })

  test("runs the seeds it is asked for and prints what was done", async () => {
    const { code, stdout } = await launch("simulate", "--seed", "3", "--seeds", "2", "--steps", "5")
    expect(stdout).toMatch(/^runtime +bun\nseeds +2 from 3\nruns +2\nsteps +\d+\n/)
    expect(stdout).toMatch(/\nviolations +0\n$/)
    expect(code).toBe(0)
  }, 120_000)
})

test("npm run torture refuses minutes that are none with exit code 2", async () => {
  const { code, stderr, stdout } = await launch("torture", "--minutes", "0")
  expect([code, stderr, stdout]).toEqual([2, "--minutes is 0, allowed is a number above 0 and at most 100000\n", ""])
})

test("npm run mutants refuses a mutant that there is not", async () => {
  const { code, stderr } = await launch("mutants", "--only", "none")
  expect(code).toBe(2)
  expect(stderr).toContain("--only is none, allowed is ")
})
