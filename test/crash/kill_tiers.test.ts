// A process is killed with SIGKILL while its segments move through all tiers; what it acknowledged is there, each time.

import { afterAll, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { env } from "node:process"
import { AofManager } from "bop-aof"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { makeRandom } from "../support/random.ts"
import { tierText, tierWriterOptions } from "../support/tier_records.ts"

const parent = fs.mkdtempSync(join(tmpdir(), "bop-aof-kill-tiers-"))
afterAll(() => fs.rmSync(parent, { recursive: true, force: true }))

const kills = Number(env["BOP_AOF_KILLS"] ?? 8)

/** Runs the writer, kills it a while after its first acknowledgement, and returns the highest acknowledged number. */
const runAndKill = (afterMs: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const file = join(rootDirectory, "test", "support", "tier_writer.ts")
    const [path, ...args] = runtimeCommand(currentRuntime, file, [parent])
    const child = spawn(path!, args, { stdio: ["ignore", "pipe", "pipe"] })
    let [output, errors, isPlanned] = ["", "", false]
    child.stderr.on("data", (chunk) => (errors += chunk))
    child.stdout.on("data", (chunk) => {
      output += chunk
      if (isPlanned || !/^\d+$/m.test(output)) return
      isPlanned = true
      setTimeout(() => child.kill("SIGKILL"), afterMs)
    })
    child.on("close", (code) => {
      if (code !== null && code !== 137) return reject(new Error(`the writer ended by itself with ${code}: ${errors}`))
      // The last line may be cut.
      const lines = output
        .slice(0, output.lastIndexOf("\n") + 1)
        .trim()
        .split("\n")
      resolve(Math.max(-1, ...lines.filter((line) => /^\d+$/.test(line)).map(Number)))
    })
  })

test(`after each of ${kills} kills every acknowledged record is there, in every tier`, async () => {
  const random = makeRandom(Date.now())
  let acknowledged = -1
  for (let kill = 0; kill < kills; kill++) {
    acknowledged = Math.max(acknowledged, await runAndKill(150 + random(500)))
    const manager = await AofManager.open(tierWriterOptions(parent))
    expect(manager.recovery.quarantined).toEqual([])
    expect(manager.recovery.manifestDamage).toEqual([])
    const stream = await manager.stream("kill")
    let number = 0
    const ids: Array<number> = []
    for await (const record of stream.read()) {
      if (record.text() !== tierText(number) || record.recordNumber !== number) throw new Error(`record ${number}`)
      ids.push(record.recordId)
      number++
    }
    expect(number).toBeGreaterThan(acknowledged)
    for (let i = 0; i < 20 && number > 0; i++) {
      const at = random(number)
      expect((await stream.get(ids[at]!)).text()).toBe(tierText(at))
    }
    await manager.close()
  }
  expect(acknowledged).toBeGreaterThan(100)
})
