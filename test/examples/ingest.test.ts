// The main job end to end, as a user starts it: each case is a process of this runtime with a child of its own.

import { afterAll, describe, expect, test } from "bun:test"
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"

const directory = mkdtempSync(join(tmpdir(), "bop-aof-ingest-test-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the job; `onOutput` may act on the process when something was printed. */
function ingest(
  args: ReadonlyArray<string>,
  input: string | Uint8Array = "",
  onOutput: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Result> {
  const [command, ...rest] = runtimeCommand(currentRuntime, join(rootDirectory, "examples", "ingest.ts"), args)
  return new Promise((resolve, reject) => {
    const child = spawn(command, rest, { cwd: rootDirectory, stdio: ["pipe", "pipe", "pipe"] })
    const output = { stdout: "", stderr: "" }
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        output[name] += text
        // Deno says after `child.kill` that the signal ended the child, also when it ended by itself with a code.
        onOutput(text, (signal) => process.kill(child.pid!, signal))
      })
    }
    // A job that does not read its input closes it.
    child.stdin.on("error", () => {})
    child.stdin.end(input)
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, ...output }))
  })
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

const sha256 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

/** On a slow machine it says how far it is. */
const withoutProgress = (stderr: string): string => stderr.replace(/^[a-zA-Z2 ]+ +\d+% .*\n/gm, "")

/** Expects a good end, and that what was read back has the checksum of `content`. */
function expectVerified({ code, stdout, stderr }: Result, ...content: ReadonlyArray<string | Uint8Array>): void {
  expect(withoutProgress(stderr)).toBe("")
  expect(stdout).toMatch(new RegExp(`SHA-256 of what was read +${sha256(...content)}`))
  expect(code).toBe(0)
}

const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index} of the input`).join("\n")
const windows = "one\r\ntwo\r\n\r\nlast\r\n"

describe("npm start", () => {
  test("brings standard input back as it was, without an LF at its end", async () => {
    const result = await ingest(["-"], lines)
    expectVerified(result, lines)
    expect(result.stdout).toMatch(/input +20 000 records/)
    expect(result.stdout).toContain("all acknowledged records are there")
    expect(result.stdout).toContain("the follower saw 20 000 records")
  })

  test("keeps a store with --root, goes on in it, and verifies every run", async () => {
    const root = join(directory, "it's kept")
    const binary = new Uint8Array(70_000).map((_, index) => (index * index) >> 3)
    const first = await ingest(["--root", root, file("windows.txt", windows), file("binary", binary)])
    expectVerified(first, windows, binary)
    const second = await ingest(["--root", root, file("cut.txt", "no end"), file("windows.txt", windows)])
    expectVerified(second, "no end", windows)
    expect(second.stdout).toContain("2 runs of 2")
    expect(existsSync(join(root, "ROOT"))).toBe(true)
    // The command that it names can be given to a shell as it stands.
    const scrub = /^npm run scrub -- (.*) checks every byte of both$/m.exec(second.stdout)?.[1]
    const words = spawnSync("sh", ["-c", `printf '%s\\n' ${scrub}`], { encoding: "utf8" })
      .stdout.trim()
      .split("\n")
    expect(words).toEqual(["--root", root, "--tier2", `${root}.tier2`])
  })

  test("takes an empty input", async () => {
    expectVerified(await ingest([file("empty.txt", "")]))
  })

  test("says where a line is too long, and keeps what was before it", async () => {
    const root = join(directory, "long")
    const path = file("long.txt", `first\n${"x".repeat(8 * 1024 * 1024 + 1)}\nlast\n`)
    const { code, stdout, stderr } = await ingest(["--root", root, path])
    expect(withoutProgress(stderr)).toBe(`ingest: ${path}, line 2: 8388609 bytes, at most 8388608 are allowed\n`)
    expect(stdout).toContain("stopped after 1 record of this run")
    expect(code).toBe(2)
  })

  test("stops in order when it is interrupted, and its store can be gone on with", async () => {
    const root = join(directory, "interrupted")
    let isSent = false
    const { code, stderr } = await ingest(["--root", root], "", (text, kill) => {
      if (isSent || !text.includes("input:")) return
      isSent = true
      kill("SIGINT")
      kill("SIGINT")
    })
    expect(stderr).toContain("ingest: interrupted by SIGINT\n")
    expect(code).toBe(130)
    const next = await ingest(["--root", root, file("after.txt", windows)])
    expectVerified(next, windows)
    expect(next.stdout).toContain("1 run of 1; 1 unfinished run kept")
  })

  test("ends with the code of the signal that has ended it", async () => {
    for (const [signal, expected] of [
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      let isSent = false
      const { code } = await ingest([], "", (text, kill) => {
        if (isSent || !text.includes("input:")) return
        isSent = true
        kill(signal)
      })
      expect([signal, code]).toEqual([signal, expected])
    }
    const help = await ingest(["--help"])
    expect(help.stdout).toMatch(/143 by SIGTERM, 129 by SIGHUP/)
  })

  test("refuses what it can't take in one line, with exit code 2", async () => {
    const folder = join(directory, "folder")
    mkdirSync(folder)
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["--nope"], "--help shows what there is"],
      [[join(directory, "nothing")], "there is no file"],
      [[folder], "is a directory"],
      [["-", "-"], "once only"],
    ]
    for (const [args, words] of cases) {
      const { code, stdout, stderr } = await ingest(args)
      expect(stderr).toContain(words)
      expect(stderr.trimEnd().split("\n").length).toBe(1)
      expect([code, stdout]).toEqual([2, ""])
    }
  })

  test("says that a root is a file, with exit code 1", async () => {
    const { code, stderr } = await ingest(["--root", file("root", ""), file("some.txt", windows)])
    expect(stderr).toMatch(/^ingest: the store said Unavailable: .*\n$/)
    expect(code).toBe(1)
  })
})
