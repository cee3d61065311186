// A process is killed with SIGKILL while its segments move through all tiers; what it acknowledged is there, each time.

import { afterAll, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { env } from "node:process"
import { type Aof, AofManager } from "bop-aof"
import { currentRuntime, rootDirectory, runtimeCommand } from "../../scripts/runtimes.mjs"
import { makeRandom } from "../support/random.ts"
import { tierText, tierWriterOptions } from "../support/tier_records.ts"

const parent = fs.mkdtempSync(join(tmpdir(), "bop-aof-kill-tiers-"))
let isWhole = false
afterAll(() => {
  // A store that has lost something stays.
  if (isWhole) fs.rmSync(parent, { recursive: true, force: true })
  else console.error(`the store is left in ${parent}`)
})

const kills = Number(env["BOP_AOF_KILLS"] ?? 8)

/** What a writer had said when it was killed. */
interface Said {
  /** Highest number acknowledged, asked for, and so on, by word; a bare number is `record`. */
  readonly most: (word: string) => number
}

const saidIn = (output: string): Said => {
  const numbers = new Map<string, number>()
  // The last line may be cut.
  for (const line of output.slice(0, output.lastIndexOf("\n") + 1).split("\n")) {
    const [, word, number] = /^(?:([a-z]+) )?(\d+)$/.exec(line) ?? []
    if (number !== undefined)
      numbers.set(word ?? "record", Math.max(numbers.get(word ?? "record") ?? -1, Number(number)))
  }
  return { most: (word) => numbers.get(word) ?? -1 }
}

/** So many are acknowledged before a kill, however slow the machine is. */
const acksMin = 15

/** Runs the writer and kills it a while after its first acknowledgements. */
const runAndKill = (afterMs: number, count: number): Promise<Said> =>
  new Promise((resolve, reject) => {
    const file = join(rootDirectory, "test", "support", "tier_writer.ts")
    const [path, ...args] = runtimeCommand(currentRuntime, file, [parent, String(count)])
    const child = spawn(path!, args, { stdio: ["ignore", "pipe", "pipe"] })
    let [output, errors, isPlanned] = ["", "", false]
    child.stderr.on("data", (chunk) => (errors += chunk))
    child.stdout.on("data", (chunk) => {
      output += chunk
      if (isPlanned || (output.match(/^\d+$/gm)?.length ?? 0) < acksMin) return
      isPlanned = true
      setTimeout(() => child.kill("SIGKILL"), afterMs)
    })
    child.on("close", (code) => {
      if (code !== null && code !== 137) return reject(new Error(`the writer ended by itself with ${code}: ${errors}`))
      resolve(saidIn(output))
    })
  })

const random = makeRandom(Date.now())

/** Reads a stream whole, and some records by id; gives its first number and the one after the last. */
const readWhole = async (stream: Aof): Promise<readonly [number, number]> => {
  const ids: Array<number> = []
  let first = -1
  for await (const record of stream.read()) {
    if (first < 0) first = record.recordNumber
    const number = first + ids.length
    if (record.text() !== tierText(number) || record.recordNumber !== number) throw new Error(`record ${number}`)
    ids.push(record.recordId)
  }
  for (let one = 0; one < 20 && ids.length > 0; one++) {
    const at = random(ids.length)
    expect((await stream.get(ids[at]!)).text()).toBe(tierText(first + at))
  }
  return [Math.max(first, 0), Math.max(first, 0) + ids.length]
}

test(`after each of ${kills} kills every acknowledged record is there, in every tier, and nothing that was trimmed or deleted`, async () => {
  let [acknowledged, trimmed, trimming, kept, count] = [-1, 0, 0, -1, 0]
  for (let kill = 0; kill < kills; kill++) {
    const { most } = await runAndKill(150 + random(700), count)
    acknowledged = Math.max(acknowledged, most("record"))
    trimmed = Math.max(trimmed, most("trim"))
    trimming = Math.max(trimming, trimmed, most("trimming"))
    kept = Math.max(kept, most("kept"))
    const manager = await AofManager.open(tierWriterOptions(parent))
    expect(manager.recovery.quarantined).toEqual([])
    expect(manager.recovery.manifestDamage).toEqual([])
    const [first, end] = await readWhole(await manager.stream("kill"))
    expect([first >= trimmed, first <= trimming, end > acknowledged]).toEqual([true, true, true])
    const [, keptEnd] = await readWhole(await manager.stream("kept"))
    expect(keptEnd).toBeGreaterThan(kept)
    const thirds = manager.streams().filter((name) => name.startsWith("third-"))
    const mayBeThere = most("making") > most("deleted") ? `third-${most("making")}` : ""
    expect(thirds.filter((name) => name !== mayBeThere)).toEqual([])
    if (most("made") > most("deleting")) expect(thirds).toEqual([`third-${most("made")}`])
    for (const name of thirds) await manager.deleteStream(name)
    count = Math.max(count, most("making"))
    await manager.close()
  }
  expect(acknowledged + 1).toBeGreaterThanOrEqual(kills * acksMin)
  isWhole = true
}, 400_000)
