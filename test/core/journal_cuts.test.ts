// The power is cut at many operations of a run whose streams share their syncs, and again while the store is opened. Afterwards everything that was
// acknowledged is there, in order and under its id, and what follows is a beginning of what was appended; nothing is reported as damage.
// BOP_AOF_CRASH_SEEDS=N cuts at every operation of N runs.

import { expect, test } from "bun:test"
import type { AofManager, AofManagerOptions } from "bop-aof"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chance, randomOf, withStore } from "../support/crash_model.ts"
import { type Choose, cutSeeds, isChange, isDeep, operationText } from "../support/power_cut.ts"

const KiB = 1024
const options: AofManagerOptions = {
  root: "/store",
  segmentBytes: 16 * KiB,
  stagingBytes: 4 * KiB,
  journalBytes: 256 * KiB,
  journalStreamsMin: 2,
}
const streamCount = 5
const roundCount = 40

/** What was appended to a stream, and the ids of what was acknowledged. */
interface Known {
  readonly texts: Array<string>
  readonly ids: Array<number>
}

/** Appends to all streams at once, again and again; a stream is sealed now and then. */
const work = async (manager: AofManager, known: Map<string, Known>, seed: number): Promise<void> => {
  const random = randomOf(seed)
  const streams = await Promise.all(Array.from({ length: streamCount }, (_, at) => manager.stream(`s${at}`)))
  for (let round = 0; round < roundCount; round++) {
    await Promise.all(
      streams.map(async (stream) => {
        const own = known.get(stream.name) ?? { texts: [], ids: [] }
        known.set(stream.name, own)
        const text = `${stream.name}/${own.texts.length} `.padEnd(20 + random(1200), ".")
        own.texts.push(text)
        const ack = await stream.append(text)
        own.ids[ack.recordNumber] = ack.recordId
      }),
    )
    if (random(8) === 0) await streams[random(streamCount)]!.seal()
  }
}

const check = async (manager: AofManager, known: ReadonlyMap<string, Known>): Promise<void> => {
  expect([manager.recovery.quarantined, manager.recovery.manifestDamage]).toEqual([[], []])
  const names = manager.streams()
  for (const [name, { texts, ids }] of known) {
    if (!names.includes(name)) {
      expect([name, ids.length]).toEqual([name, 0])
      continue
    }
    let next = 0
    for await (const record of (await manager.stream(name)).read({ from: "start" })) {
      expect([name, record.text()]).toEqual([name, texts[next]])
      if (ids[next] !== undefined) expect(record.recordId).toBe(ids[next])
      next++
    }
    expect(next >= ids.length ? ids.length : next).toBe(ids.length)
  }
}

const choices = (seed: number): ReadonlyArray<readonly [string, Choose]> => [
  ["nothing kept", () => false],
  ["entries kept, bytes not", (one) => one.kind !== "write" && one.kind !== "truncate"],
  ["bytes kept, entries not", (one) => one.kind === "write" || one.kind === "truncate"],
  ["half kept", chance(seed, 2)],
]

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly known: ReadonlyMap<string, Known>
}

const record = async (seed: number): Promise<ReadonlyArray<Moment>> => {
  const disk = new MemoryDisk()
  const known = new Map<string, Known>()
  const moments: Array<Moment> = []
  let count = 0
  disk.onOperation = (operation) => {
    // Each has its turn in one of the runs that were asked for; a usual run looks at some.
    if (!isChange(operation) || (!isDeep && ++count % 5 !== 0)) return
    const copy = new Map([...known].map(([name, { texts, ids }]) => [name, { texts: [...texts], ids: [...ids] }]))
    moments.push({ disk: disk.fork(), operation: operationText(operation), known: copy })
  }
  await withStore(disk.layer, options, (manager) => work(manager, known, seed))
  return moments
}

test.each(cutSeeds)(
  "run %d survives each cut, and another one while it is opened",
  async (seed: number) => {
    const moments = await record(seed)
    expect(moments.filter(({ operation }) => operation.includes(".jnl")).length).toBeGreaterThan(10)
    for (const [at, { disk, operation, known }] of moments.entries()) {
      for (const [name, choose] of choices(seed + at)) {
        const cut = disk.fork()
        cut.crash(choose)
        try {
          // The opening is cut off as well, at some operation of its own.
          let left = 1 + ((seed + at * 7) % 40)
          cut.onOperation = (one) => {
            if (isChange(one) && --left === 0) cut.crash(chance(seed + at, 3))
          }
          await withStore(cut.layer, options, () => Promise.resolve()).catch(() => undefined)
          cut.onOperation = undefined
          cut.kill()
          await withStore(cut.layer, options, (manager) => check(manager, known))
        } catch (error) {
          throw new Error(`seed ${seed}, before ${operation}, ${name}`, { cause: error })
        }
      }
    }
  },
  400_000,
)
