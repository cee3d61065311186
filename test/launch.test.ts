// The commands of package.json say their options, and refuse with code 2 what they cannot use before they do anything.

import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { rootDirectory, runtimeCommand } from "../scripts/runtimes.mjs"
import { runProcess } from "./support/run_process.ts"

const launch = (...args: ReadonlyArray<string>): ReturnType<typeof runProcess> =>
  runProcess(runtimeCommand("node", join(rootDirectory, "scripts", "launch.mjs"), args), rootDirectory)

const { scripts } = JSON.parse(readFileSync(join(rootDirectory, "package.json"), "utf8"))
const commands = Object.keys(scripts).filter((name) => name !== "prepack")

test.each(commands)(
  "npm run %s --help ends with 0, a mistyped option with 2",
  async (command: string) => {
    const [help, mistyped] = await Promise.all([launch(command, "--help"), launch(command, "--bogus")])
    expect([help.code, help.stderr]).toEqual([0, ""])
    expect(help.stdout).toMatch(command === "build" ? /takes no argument/ : /^ {2,}\S/m)
    expect([mistyped.code, mistyped.stdout]).toEqual([2, ""])
    expect(mistyped.stderr).toContain("--bogus")
  },
  60_000,
)

test.each([
  [["test", "nosuch"], "no test file matches nosuch\n"],
  [["test", "launch", "nosuch"], "no test file matches nosuch\n"],
  [["test", "--jobs", "0"], "--jobs takes a whole number above 0, not 0\n"],
  [["test:s3", "nosuch"], "no test file matches test/s3/nosuch\n"],
  [["fix", "nosuch"], "there is no file or directory nosuch\n"],
  [["scrub"], "--root DIR is missing; --help says what there is\n"],
  [["check", "nosuch"], "no such step: nosuch; there are format, "],
  [["bench:peers", "--runtime", "perl"], "no such runtime: perl; there are bun, deno, node\n"],
])("%j ends with 2 and says why", async (args: ReadonlyArray<string>, message: string) => {
  const { code, stdout, stderr } = await launch(...args)
  expect([code, stdout]).toEqual([2, ""])
  expect(stderr.slice(0, message.length)).toBe(message)
})
