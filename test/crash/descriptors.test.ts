// File descriptors that run out under a store: what cannot be done says so with a typed error, nothing acknowledged is lost, and when there are some
// again the store goes on.

import { afterAll, describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AofManager } from "bop-aof"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"

const parent = mkdtempSync(join(tmpdir(), "bop-aof-descriptors-"))
afterAll(() => rmSync(parent, { recursive: true, force: true }))

type Acknowledged = readonly [stream: string, recordId: number, text: string]

interface Told {
  readonly acknowledged: ReadonlyArray<Acknowledged>
  /** Undefined when the runtime itself gave up. */
  readonly end:
    | {
        /** Errors while there were none, by kind. */
        readonly starved: Record<string, number>
        /** Errors afterwards. */
        readonly errors: Record<string, number>
      }
    | undefined
}

/** Deno needs descriptors for itself now and then, and panics without: to the store that is a crash, and nothing may be lost by it either. */
const isOwnPanic = (stderr: string): boolean =>
  currentRuntime === "deno" && stderr.includes("Deno has panicked") && stderr.includes("Too many open files")

const starve = (root: string, left: number): Told => {
  const [command, ...rest] = runtimeCommand(
    currentRuntime,
    join(rootDirectory, "test", "support", "descriptor_writer.ts"),
    [root, String(left), `${root}.json`],
  )
  const script = 'ulimit -n 256 && exec "$@"'
  const { stdout, stderr, status } = spawnSync("bash", ["-c", script, "bash", command, ...rest], {
    cwd: rootDirectory,
    encoding: "utf8",
    timeout: 50_000,
  })
  if (status !== 0 && !isOwnPanic(stderr)) throw new Error(`the writer ended with ${status}: ${stdout}${stderr}`)
  const lines = readFileSync(`${root}.json`, "utf8").trimEnd().split("\n")
  const end = status === 0 ? (JSON.parse(lines.pop()!) as Told["end"]) : undefined
  return { acknowledged: lines.map((line) => JSON.parse(line) as Acknowledged), end }
}

describe("a store without file descriptors", () => {
  test.each([0, 1, 2, 5])(
    "with %i left says so, loses nothing, and goes on when there are some again",
    async (left) => {
      const root = join(parent, `left${left}`)
      const { acknowledged, end } = starve(root, left)
      if (end !== undefined) {
        for (const kind of Object.keys(end.starved)) {
          expect(kind).toMatch(/^(Unavailable (EMFILE|ECANCELED)|WouldBlock )/)
        }
        expect(end.errors).toEqual({})
      }
      const manager = await AofManager.open({ root })
      for (const [name, recordId, text] of acknowledged) {
        const stream = await manager.stream(name, { create: false })
        expect((await stream.get(recordId)).text().trimEnd()).toBe(text)
      }
      // All of before, and of afterwards.
      expect(acknowledged.length).toBeGreaterThanOrEqual((end === undefined ? 1 : 2) * 12 * 6)
      await manager.close()
    },
    60_000,
  )
})
