// A power cut at every operation of a run with records of every type, chunks sealed by size and by time, and snapshots. Afterwards the state is
// that of a beginning of what was staged, with all that was committed; what hooks were told to be complete is there unchanged.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { type ManifestLog, open } from "../../src/core/manifest/manifest_log.ts"
import { plainJson } from "../../src/core/plain_json.ts"
import type { ManifestEvent, ManifestRecord } from "../../src/format/manifest_record.ts"
import type { AofError } from "../../src/model/errors.ts"
import { Directory } from "../../src/port/directory.ts"
import {
  applyManifestRecord,
  emptyManifestState,
  type ManifestState,
  snapshotRecords,
} from "../../src/state/manifest_state.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { chunkBytes, manifestRootId, turns } from "../support/manifest.ts"
import { makeDraw, sampleHistory } from "../support/manifest_samples.ts"

const startMs = 1_700_000_000_000

/** All that counts of a state, in an order of its own. */
const canonical = (state: ManifestState): string =>
  snapshotRecords(state, { coversSequence: 0, timestampMs: 0 })
    .map((record) => JSON.stringify(Object.entries(plainJson({ ...record, sequence: 0 }) as object).sort()))
    .sort()
    .join("\n")

interface Moment {
  readonly disk: MemoryDisk
  readonly operation: string
  readonly committed: number
  readonly staged: number
  /** Files that hooks were told of, as complete, and have not been told to be gone. */
  readonly complete: ReadonlyMap<string, number>
}

interface Run {
  readonly moments: ReadonlyArray<Moment>
  /** The state after so many records. */
  readonly states: ReadonlyArray<string>
  readonly sealedCount: number
}

const withClock = <A>(disk: MemoryDisk, use: Effect.Effect<A, AofError, Directory>): Promise<A> =>
  Effect.runPromise(
    Effect.andThen(TestClock.setTime(startMs), use).pipe(Effect.provide(TestClock.layer()), Effect.provide(disk.layer)),
  )

/** Records of every type, those of 4 KiB among them, in groups of a few, with time passing now and then. */
const record = async (seed: number, length: number): Promise<Run> => {
  const disk = new MemoryDisk()
  const moments: Array<Moment> = []
  const complete = new Map<string, number>()
  const state = emptyManifestState()
  const states = [canonical(state)]
  let committed = 0
  let sealedCount = 0
  disk.onOperation = ({ kind, path, sequence }) => {
    if (kind === "read" || kind === "list" || kind === "open") return
    const staged = states.length - 1
    moments.push({
      disk: disk.fork(),
      operation: `${sequence} ${kind} ${path}`,
      committed,
      staged,
      complete: new Map(complete),
    })
  }
  const hooks = {
    onChunkSealed: ({ path, bytes }: { readonly path: string; readonly bytes: number }) => {
      sealedCount++
      complete.set(path, bytes)
    },
    onSnapshot: ({ path, bytes }: { readonly path: string; readonly bytes: number }) => {
      complete.clear()
      complete.set(path, bytes)
    },
  }
  const draw = makeDraw(seed + 500)
  const work = Effect.gen(function* () {
    const options = { root: "/store", rootId: manifestRootId, readOnly: false, chunkBytes, chunkAgeMs: 1000, hooks }
    const log = yield* open(options)
    let nowMs = startMs
    const deleted = new Map<number, number>()
    for (const { sequence, timestampMs: _, rest: __, ...sample } of sampleHistory(makeDraw(seed), length)) {
      // A writer says nothing more of a stream that it has deleted: the next one of that name has another id.
      const deletions = deleted.get(sample.streamId) ?? 0
      const event = { ...sample, streamId: sample.streamId + 10 * deletions }
      if (sample.type === "StreamDeleted") deleted.set(sample.streamId, deletions + 1)
      log.append(event as ManifestEvent)
      applyManifestRecord(state, { ...event, sequence, timestampMs: nowMs, rest: undefined } as ManifestRecord)
      states.push(canonical(state))
      // Makes chunks full and snapshots due, and leaves no trace in the state.
      if (draw(3) === 0) {
        log.customEvent(0, 1, new Uint8Array(4096))
        states.push(canonical(state))
      }
      if (draw(4) > 0) continue
      yield* log.commit
      committed = states.length - 1
      if (draw(6) > 0) continue
      nowMs += 600
      yield* TestClock.adjust(600)
      yield* turns(3)
    }
  })
  await withClock(disk, Effect.scoped(work))
  moments.push({
    disk: disk.fork(),
    operation: "closed",
    committed: states.length - 1,
    staged: states.length - 1,
    complete,
  })
  return { moments, states, sealedCount }
}

const openAndRead = (disk: MemoryDisk): Promise<string> => {
  const use = (log: ManifestLog) => {
    expect(log.replay.damage).toEqual([])
    return canonical(log.state)
  }
  const opened = open({ root: "/store", rootId: manifestRootId, readOnly: false, chunkBytes })
  return withClock(disk, Effect.scoped(Effect.map(opened, use)))
}

const lengthsOf = (disk: MemoryDisk, paths: Iterable<string>): Promise<ReadonlyMap<string, number | undefined>> =>
  withClock(
    disk,
    Effect.flatMap(Directory, (directory) =>
      Effect.map(
        Effect.forEach([...paths], (path) =>
          Effect.map(directory.readFile(path), (bytes) => [path, bytes?.length] as const),
        ),
        (entries) => new Map(entries),
      ),
    ),
  )

describe("after a power cut at every operation", () => {
  test.each([1, 2, 3])(
    "the state is that of a beginning with all that was committed, seed %d",
    async (seed: number) => {
      const { moments, states, sealedCount } = await record(seed, 260)
      expect(moments.some(({ operation }) => operation.includes("snapshot"))).toBe(true)
      expect(sealedCount).toBeGreaterThan(5)
      let choice = seed
      for (const moment of moments) {
        for (const keep of [0, 8, 16]) {
          const draw = makeDraw(++choice)
          const disk = moment.disk.fork()
          disk.crash(() => draw(16) < keep)
          try {
            const lengths = await lengthsOf(disk, moment.complete.keys())
            for (const [path, bytes] of moment.complete) {
              // A snapshot under way removes chunks before the hook has told of that.
              if (!/remove/.test(moment.operation) && lengths.get(path) !== undefined)
                expect(lengths.get(path)).toBe(bytes)
            }
            const found = await openAndRead(disk)
            expect(states.slice(moment.committed, moment.staged + 1).includes(found)).toBe(true)
            disk.crash(() => draw(16) < keep)
            expect(await openAndRead(disk)).toBe(found)
          } catch (error) {
            throw new Error(`power cut before ${moment.operation}, ${keep} of 16 kept`, { cause: error })
          }
        }
      }
    },
    240_000,
  )
})
