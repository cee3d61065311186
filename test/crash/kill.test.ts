// A process that appends, batches, seals and trims is killed at random moments, again and again on one store. After each kill:
// everything that was acknowledged `written` or `durable` is there, in the order of the calls, exactly once, with its id and number;
// batches are whole; nothing that was trimmed is back; and what one opening has found is there in the next.
// BOP_AOF_KILL_SEED repeats a run (the moments of the kills are the machine's), BOP_AOF_KILLS sets how many there are,
// BOP_AOF_KILL_KEEP leaves the store.

import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { currentRuntime } from "../../scripts/runtimes.mjs"
import { AofManager } from "../../src/api/manager.ts"
import { type Child, startChild } from "../support/child.ts"
import { randomOf } from "../support/crash_model.ts"

const kills = Number(process.env.BOP_AOF_KILLS ?? 50)
const seed = Number(process.env.BOP_AOF_KILL_SEED ?? Math.floor(Math.random() * 1e6))

interface Group {
  readonly name: string
  readonly count: number
  readonly order: number
  ack: { readonly recordId: number; readonly recordNumber: number } | undefined
}

interface FoundRecord {
  readonly text: string
  readonly recordId: number
  readonly recordNumber: number
}

class Model {
  readonly groups: Map<string, Group> = new Map()
  #order = 0
  trimAsked = 0
  trimAcked = 0
  acks = 0
  /** What the last opening found. */
  found: ReadonlyArray<FoundRecord> = []

  hear(line: string): void {
    const [word, ...rest] = line.split(" ")
    if (word === "try") {
      this.groups.set(rest[0]!, { name: rest[0]!, count: Number(rest[1]), order: this.#order++, ack: undefined })
    } else if (word === "ack") {
      this.acks++
      this.groups.get(rest[0]!)!.ack = { recordId: Number(rest[2]), recordNumber: Number(rest[3]) }
    } else if (word === "trim") this.trimAsked = Math.max(this.trimAsked, Number(rest[1]))
    else if (word === "trimmed") this.trimAcked = Math.max(this.trimAcked, Number(rest[0]))
  }

  /** Compares what is there now, and takes it for what must be there next time. */
  check(found: ReadonlyArray<FoundRecord>): void {
    const first = found[0]?.recordNumber ?? 0
    if (first < this.trimAcked) throw new Error(`record ${first} is back, trimmed up to ${this.trimAcked}`)
    if (first > this.trimAsked) throw new Error(`the first is ${first}, asked to trim were ${this.trimAsked}`)
    const groups = this.#groupsOf(found, first)
    const left = this.found.filter(({ recordNumber }) => recordNumber >= first)
    expect(found.slice(0, left.length)).toEqual(left)
    for (const group of this.groups.values()) {
      if (group.ack === undefined || group.ack.recordNumber + group.count <= first || groups.has(group.name)) continue
      throw new Error(`${group.name} was acknowledged as ${group.ack.recordNumber} and is not there`)
    }
    // What was not acknowledged and is not there will never be.
    for (const group of [...this.groups.values()]) if (!groups.has(group.name)) this.groups.delete(group.name)
    this.found = found
  }

  #groupsOf(found: ReadonlyArray<FoundRecord>, first: number): ReadonlySet<string> {
    const seen = new Set<string>()
    let order = -1
    for (let at = 0; at < found.length; ) {
      const { text, recordId, recordNumber } = found[at]!
      const [, name, member] = /^(\S+)\/(\d+) /.exec(text)!
      const group = this.groups.get(name!)
      if (group === undefined || seen.has(group.name)) throw new Error(`${name} was lost or is there twice`)
      if (group.order <= order) throw new Error(`${name} is out of order`)
      // Only a trim may have taken the beginning of a batch.
      const skipped = Number(member)
      if (skipped > 0 && recordNumber !== first) throw new Error(`${name} begins with ${member}`)
      for (let one = skipped; one < group.count; one++, at++) {
        const next = found[at]
        if (!next?.text.startsWith(`${name}/${one} `))
          throw new Error(`${name} is there in part: ${one} of ${group.count}`)
        if (next.recordNumber !== first + at) throw new Error(`${name}/${one} has number ${next.recordNumber}`)
      }
      if (group.ack !== undefined && skipped === 0) expect({ recordId, recordNumber }).toMatchObject(group.ack)
      order = group.order
      seen.add(group.name)
    }
    return seen
  }
}

const read = async (root: string, readOnly: boolean): Promise<ReadonlyArray<FoundRecord>> => {
  const manager = await AofManager.open({ root, readOnly })
  const found: Array<FoundRecord> = []
  try {
    expect([manager.recovery.quarantined, manager.recovery.manifestDamage]).toEqual([[], []])
    if (!manager.streams().includes("s")) return []
    const stream = await manager.stream("s")
    for await (const record of stream.read({ from: "start", level: "written" })) {
      found.push({ text: record.text().slice(0, 40), recordId: record.recordId, recordNumber: record.recordNumber })
    }
  } finally {
    await manager.close()
  }
  return found
}

/** Lets a child write for a while after so many acknowledgements and kills it. */
const runAndKill = async (child: Child, model: Model, { acks, delayMs }: Moment): Promise<void> => {
  child.write("go\n")
  let line = await child.line()
  const from = model.acks
  let timer: ReturnType<typeof setTimeout> | undefined
  for (;;) {
    model.hear(line)
    if (model.acks - from >= acks) timer ??= setTimeout(() => child.kill("SIGKILL"), delayMs)
    try {
      line = await child.line()
    } catch {
      break
    }
  }
  clearTimeout(timer)
  await child.closed
}

/** When a child is killed. */
interface Moment {
  readonly acks: number
  readonly delayMs: number
}

/** Each fifth one is killed as soon as it is open, the others not before they have acknowledged something, however slow they are. */
const momentOf = (round: number, random: (limit: number) => number): Moment =>
  round % 5 === 0 ? { acks: 0, delayMs: random(12) } : { acks: 2, delayMs: random(120) }

test(`after each of ${kills} kills, everything acknowledged is there, once and in order`, async () => {
  console.log(`seed ${seed}`)
  const root = mkdtempSync(join(tmpdir(), "bop-aof-kill-"))
  const random = randomOf(seed)
  const model = new Model()
  const start = (round: number): Child =>
    startChild(currentRuntime, "kill_writer.ts", [root, String(seed * 100 + round)])
  let next = start(0)
  try {
    for (let round = 0; round < kills; round++) {
      const child = next
      // The next one loads its modules meanwhile.
      next = start(round + 1)
      await runAndKill(child, model, momentOf(round, random))
      try {
        model.check(await read(root, random(3) === 0))
      } catch (error) {
        throw new Error(`seed ${seed}, kill ${round + 1}, store ${root}`, { cause: error })
      }
    }
  } finally {
    next.kill("SIGKILL")
    await next.closed
    if (!process.env.BOP_AOF_KILL_KEEP) rmSync(root, { recursive: true, force: true })
  }
  console.log(`${kills} kills, ${model.acks} acknowledgements`)
  expect(model.acks).toBeGreaterThan(kills)
}, 400_000)
