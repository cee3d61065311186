// SIGKILL of a process whose producers go round many streams, which share their syncs: everything acknowledged is there, once and in order, under
// its id. BOP_AOF_KILLS sets how many kills there are, BOP_AOF_KILL_KEEP leaves the store.

import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import { AofManager } from "../../src/api/manager.ts"
import { type Child, startChild } from "../support/child.ts"

const kills = Number(process.env["BOP_AOF_KILLS"] ?? 6)
const streamCount = 60
const producerCount = 24

/** Record ids of each stream by record number, as acknowledged. */
type Acked = Map<string, Map<number, number>>

const runAndKill = async (child: Child, acked: Acked, { acks, delayMs }: { acks: number; delayMs: number }) => {
  child.write("go\n")
  let heard = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  for (;;) {
    let line: string
    try {
      line = await child.line()
    } catch {
      break
    }
    const [word, name = "", number, recordId] = line.split(" ")
    if (word === "mistake") throw new Error(line)
    if (word === "ack") {
      const own = acked.get(name) ?? new Map()
      acked.set(name, own.set(Number(number), Number(recordId)))
      heard++
    }
    if (heard >= acks) timer ??= setTimeout(() => child.kill("SIGKILL"), delayMs)
  }
  clearTimeout(timer)
  await child.closed
  return heard
}

const check = async (root: string, acked: Acked): Promise<void> => {
  const manager = await AofManager.open({ root })
  try {
    expect([manager.recovery.quarantined, manager.recovery.manifestDamage]).toEqual([[], []])
    for (const [name, own] of acked) {
      const stream = await manager.stream(name, { create: false })
      let next = 0
      for await (const record of stream.read({ from: "start" })) {
        if (record.recordNumber !== next || !record.text().startsWith(`${name}/${next}`)) {
          throw new Error(`${name} has ${record.text().slice(0, 20)} as number ${record.recordNumber}, ${next} was due`)
        }
        const id = own.get(next)
        if (id !== undefined && id !== record.recordId)
          throw new Error(`${name}/${next} was ${id} and is ${record.recordId}`)
        next++
      }
      const last = Math.max(...own.keys())
      if (last >= next) throw new Error(`${name}/${last} was acknowledged, ${next} records are there`)
    }
  } finally {
    await manager.close()
  }
}

test(`after each of ${kills} kills, everything acknowledged of ${streamCount} streams is there, once and in order`, async () => {
  const root = mkdtempSync(join(tmpdir(), "bop-aof-kill-streams-"))
  const acked: Acked = new Map()
  let heard = 0
  const args = [root, String(streamCount), String(producerCount)]
  try {
    for (let round = 0; round < kills; round++) {
      const moment = { acks: round % 3 === 0 ? 1 : 500, delayMs: Math.floor(Math.random() * 400) }
      heard += await runAndKill(startChild(currentRuntime, "streams_writer.ts", args), acked, moment)
      try {
        await check(root, acked)
      } catch (error) {
        throw new Error(`kill ${round + 1}, store ${root}`, { cause: error })
      }
    }
  } finally {
    if (!process.env["BOP_AOF_KILL_KEEP"]) rmSync(root, { recursive: true, force: true })
  }
  console.log(`${kills} kills, ${heard} acknowledgements`)
  expect(heard).toBeGreaterThan(kills)
}, 400_000)
