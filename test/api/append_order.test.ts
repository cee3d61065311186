// Records lie in the stream in the order of the calls, also where some calls wait for room and others never wait, in both dresses.

import { describe, expect, test } from "bun:test"
import { APPEND_FLUSH, APPEND_ROLLOVER } from "bop-aof"
import * as EffectDress from "bop-aof/effect"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { openWith } from "../../src/api/manager.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { failure, texts, turns } from "../support/api.ts"

/** A stream as either dress has it. */
interface Dressed {
  readonly append: (text: string, extId?: number, signal?: AbortSignal) => Promise<unknown>
  readonly appendBatch: (texts: ReadonlyArray<string>, signal?: AbortSignal) => Promise<unknown>
  readonly tryAppend: (text: string, extId?: number) => number
  readonly ready: () => Promise<void>
  readonly flush: () => Promise<void>
  readonly texts: () => Promise<ReadonlyArray<string>>
  readonly close: () => Promise<void>
}

const options = { root: "/root", segmentBytes: 8192, recordBytesMax: 2048, journalBytes: 0 }

const openPromises = async (disk: MemoryDisk): Promise<Dressed> => {
  const manager = await openWith(disk.layer, options)
  const stream = await manager.stream("s")
  return {
    append: (text, extId = 0, signal) => stream.append(text, { extId, signal }),
    appendBatch: (items, signal) => stream.appendBatch(items, { signal }),
    tryAppend: (text, extId) => stream.tryAppend(text, extId),
    ready: () => stream.ready(),
    flush: () => stream.flush(),
    texts: () => texts(stream),
    close: () => manager.close(),
  }
}

const openEffects = async (disk: MemoryDisk): Promise<Dressed> => {
  const scope = await Effect.runPromise(Scope.make())
  const opened = EffectDress.AofManager.open(options).pipe(Scope.provide(scope), Effect.provide(disk.layer))
  const stream = await Effect.runPromise(Effect.flatMap(opened, (manager) => manager.stream("s")))
  return {
    append: (text, extId = 0, signal) => Effect.runPromise(stream.append(text, { extId }), { signal }),
    appendBatch: (items, signal) => Effect.runPromise(stream.appendBatch(items), { signal }),
    tryAppend: (text, extId) => stream.tryAppend(text, extId),
    ready: () => Effect.runPromise(stream.ready()),
    flush: () => Effect.runPromise(stream.flush()),
    texts: () =>
      Effect.runPromise(Effect.map(Stream.runCollect(stream.read()), (all) => all.map((record) => record.text()))),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}

const dresses: ReadonlyArray<[string, (disk: MemoryDisk) => Promise<Dressed>]> = [
  ["promises", openPromises],
  ["effects", openEffects],
]

const text = (number: number, bytes: number): string => `${number}|`.padEnd(bytes, "x")
const numbers = async (stream: Dressed): Promise<ReadonlyArray<number>> =>
  (await stream.texts()).map((one) => Number.parseInt(one, 10))

/** Holds all syncs from now on; the returned function lets them go. */
const holdSyncs = (disk: MemoryDisk): (() => void) => {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  disk.onOperation = ({ kind }) => (kind === "syncData" ? opened : undefined)
  return () => {
    disk.onOperation = undefined
    open()
  }
}

/** Appends until the stream takes no more of these while syncs are held; the number of the next call. */
const fillUp = (stream: Dressed, bytes: number): number => {
  for (let number = 0; number < 1000; number++) if (stream.tryAppend(text(number, bytes)) < 0) return number
  throw new Error("never full")
}

describe.each(dresses)("with %s", (_, open) => {
  test("tryAppend() answers as the append in front does while one waits for room, and takes nothing", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const stream = await open(disk)
    const letGo = holdSyncs(disk)
    const first = fillUp(stream, 1900)
    const waits = [
      stream.append(text(first, 1900), 1),
      stream.appendBatch([text(first + 1, 1200), text(first + 2, 20)]),
      stream.append(text(first + 3, 20), 2),
    ]
    // It would fit into what is left of the segment.
    expect(stream.tryAppend(text(-1, 1), 3)).toBe(APPEND_ROLLOVER)
    let isReady = false
    const ready = stream.ready().then(() => (isReady = true))
    await turns()
    expect([isReady, stream.tryAppend(text(-1, 1), 3)]).toEqual([false, APPEND_ROLLOVER])
    letGo()
    await ready
    expect(stream.tryAppend(text(first + 4, 20), 3)).toBeGreaterThan(0)
    await Promise.all(waits)
    await stream.flush()
    expect(await numbers(stream)).toEqual(Array.from({ length: first + 5 }, (_, at) => at))
    await stream.close()
  })

  test("an append that goes away lets those behind it through, and a tryAppend that waits for ready()", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const stream = await open(disk)
    const letGo = holdSyncs(disk)
    const first = fillUp(stream, 1900)
    const leaving = new AbortController()
    const left = failure(stream.append(text(-1, 1900), 0, leaving.signal))
    const behind = stream.append(text(first, 20))
    expect(stream.tryAppend(text(-1, 1))).toBe(APPEND_ROLLOVER)
    const ready = stream.ready()
    leaving.abort()
    await left
    // No sync has ended: the small one fits where the large one did not.
    await turns()
    expect(stream.tryAppend(text(first + 1, 1))).toBeGreaterThan(0)
    letGo()
    await Promise.all([ready, behind])
    await stream.flush()
    expect(await numbers(stream)).toEqual(Array.from({ length: first + 2 }, (_, at) => at))
    await stream.close()
  })

  test("ready() waits until none waits any more, and no append is refused for one that passed it", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const stream = await open(disk)
    const waits: Array<Promise<unknown>> = []
    let calls = 0
    let refused = 0
    for (let round = 0; round < 100; round++) {
      const bytes = round % 2 === 0 ? 1500 : 700
      waits.push(stream.append(text(calls, bytes), ++calls))
      if (stream.tryAppend(text(calls, 20), calls + 1) > 0) calls++
      else refused++
      if (round % 10 !== 9) continue
      // Nobody is faster than who comes in the very turn in which nobody waits any more.
      await stream.ready()
      if (stream.tryAppend(text(calls, 20), calls + 1) > 0) calls++
    }
    expect(refused).toBeGreaterThan(10)
    await Promise.all(waits)
    await stream.flush()
    expect(await numbers(stream)).toEqual(Array.from({ length: calls }, (_, at) => at))
    await stream.close()
  })
})

test("tryAppend() answers Flush behind an append that waits for a sync", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const sizes = { unflushedBytesMax: 8192, stagingBytes: 4096, recordBytesMax: 4000, journalBytes: 0 }
  const manager = await openWith(disk.layer, { root: "/root", ...sizes })
  const stream = await manager.stream("s")
  const letGo = holdSyncs(disk)
  let taken = 0
  while (stream.tryAppend("x".repeat(1000)) > 0) taken++
  const waits = [stream.append("y".repeat(3000)), stream.append("z")]
  expect(stream.tryAppend("")).toBe(APPEND_FLUSH)
  expect(stream.whyBlocked(APPEND_FLUSH)).toMatchObject({ _tag: "WouldBlock" })
  letGo()
  await Promise.all(waits)
  expect(stream.info().count).toBe(taken + 2)
  await manager.close()
})
