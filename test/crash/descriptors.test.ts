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

interface Told {
  readonly acknowledged: Record<string, ReadonlyArray<readonly [number, string]>>
  /** Errors while there were none, by kind. */
  readonly starved: Record<string, number>
  /** Errors afterwards. */
  readonly errors: Record<string, number>
}

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
  if (status !== 0) throw new Error(`the writer ended with ${status}: ${stdout}${stderr}`)
  return JSON.parse(readFileSync(`${root}.json`, "utf8")) as Told
}

describe("a store without file descriptors", () => {
  // Deno panics in its own signal handling when a worker starts with few left; with none left it starts none.
  const lefts = currentRuntime === "deno" ? [0] : [0, 1, 2, 5]

  test.each(lefts)(
    "with %i left says so, loses nothing, and goes on when there are some again",
    async (left) => {
      const root = join(parent, `left${left}`)
      const { acknowledged, starved, errors } = starve(root, left)
      for (const kind of Object.keys(starved)) expect(kind).toMatch(/^(Unavailable (EMFILE|ECANCELED)|WouldBlock )/)
      expect(errors).toEqual({})
      const manager = await AofManager.open({ root })
      let count = 0
      for (const [name, records] of Object.entries(acknowledged)) {
        const stream = await manager.stream(name, { create: false })
        for (const [recordId, text] of records) {
          expect((await stream.get(recordId)).text().trimEnd()).toBe(text)
          count++
        }
      }
      // Before and after at least.
      expect(count).toBeGreaterThanOrEqual(2 * 12 * 6)
      await manager.close()
    },
    60_000,
  )
})
