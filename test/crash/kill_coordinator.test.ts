// A consumer that appends nothing and is killed again and again goes on behind what it has acknowledged.

import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import { startChild } from "../support/child.ts"

test("a job queue that is killed after its acknowledgements redoes none of its jobs", async () => {
  const root = mkdtempSync(join(tmpdir(), "bop-aof-kill-"))
  try {
    for (let round = 0; round < 4; round++) {
      const child = startChild(currentRuntime, "coordinator_writer.ts", [root])
      const lines = Promise.all([child.line(), child.line()])
      try {
        expect(await lines).toEqual([`${round * 10} ${round * 10 + 10}`, "quiet"])
      } finally {
        child.kill("SIGKILL")
        await child.closed
      }
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}, 60_000)
