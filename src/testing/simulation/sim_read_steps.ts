/** Steps that read a stream, and such that move its segments between the tiers. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { AofError, AofManager, Cursor, ReadOptions } from "../../api/effect.ts"
import { attempt } from "../../core/flow/attempt.ts"
import type { Step } from "./sim_append_steps.ts"
import type { ModelEntry } from "./sim_model.ts"
import type { OpenStream, SimProcess } from "./sim_process.ts"
import type { SimRandom } from "./sim_random.ts"
import { Reading, type ReadRecord } from "./sim_reading.ts"
import { SimWatcher } from "./sim_watcher.ts"

const readingOf = (
  process: SimProcess,
  stream: OpenStream,
  what: string,
  isReverse = false,
  level: "durable" | "written" = "durable",
): Reading =>
  new Reading({
    level,
    model: process.world.model,
    stream: stream.model,
    isNoise: process.world.plan.isNoise,
    isReverse,
    what,
    isWhole: true,
  })

const readable = (stream: OpenStream): ReadonlyArray<ModelEntry> =>
  stream.model.known().filter((entry) => entry.level === "durable" && entry.id >= stream.model.trimAsked)

/** Reads all that a read gives, and tells its check. */
const readAll = (
  process: SimProcess,
  stream: OpenStream,
  options: ReadOptions,
  reading: Reading,
): Effect.Effect<void, AofError> =>
  Stream.runForEach(stream.aof.read(options), (record) => Effect.sync(() => process.violate(reading.take(record))))

const get: Step = (process, stream, random) => {
  const known = readable(stream)
  if (known.length === 0) return
  const entry = random.pick(known)
  const what = `get ${entry.id}`
  process.begin(`${what} of ${stream.model.name}`, stream.aof.get(entry.id), {
    onDone: (record) =>
      record.recordId === entry.id ? readingOf(process, stream, what).take(record) : `${what} gave ${record.recordId}`,
    isAllowed: (error) => process.allows(stream, error),
  })
}

/** A start somewhere, and the least entry that such a read must begin with, where that is known. */
const someStart = (
  stream: OpenStream,
  random: SimRandom,
): { readonly options: ReadOptions; readonly least: number } => {
  const known = readable(stream)
  if (known.length === 0 || random.chance(0.3)) return { options: { from: "start" }, least: 0 }
  const entry = random.pick(known)
  switch (random.below(4)) {
    case 0:
      return { options: { from: entry.id }, least: entry.index }
    case 1:
      return { options: { after: entry.id }, least: entry.index + 1 }
    case 2:
      return entry.number < 0
        ? { options: { from: entry.id }, least: entry.index }
        : { options: { number: entry.number }, least: entry.index }
    default:
      return { options: { extId: entry.extId }, least: 0 }
  }
}

const read: Step = (process, stream, random) => {
  const { options, least } = someStart(stream, random)
  const what = `read ${Object.entries(options).flat().join(" ")}`
  const reading = readingOf(process, stream, what)
  const isWhole = options.from === "start"
  const { trimAsked } = stream.model
  process.begin(`${what} of ${stream.model.name}`, readAll(process, stream, options, reading), {
    onDone: () => {
      if (isWhole) return reading.endWhole(trimAsked)
      const first = reading.first?.index
      return first === undefined || first >= least
        ? undefined
        : `${what} of ${stream.model.name} begins at entry ${first}`
    },
    isAllowed: (error) => process.allows(stream, error),
  })
}

const reverse: Step = (process, stream, random) => {
  const last = random.between(1, 30)
  const what = `last ${last} reverse`
  const reading = readingOf(process, stream, what, true)
  const options: ReadOptions = { last, reverse: true }
  process.begin(`${what} of ${stream.model.name}`, readAll(process, stream, options, reading), {
    onDone: () => (reading.count > last ? `${what} gave ${reading.count} records` : undefined),
    isAllowed: (error) => process.allows(stream, error),
  })
}

const recordOf = (cursor: Cursor): ReadRecord => ({
  recordId: cursor.recordId,
  recordNumber: cursor.recordNumber,
  extId: BigInt(cursor.extId),
  bytes: cursor.buffer.subarray(cursor.payloadStart, cursor.payloadEnd),
})

/** Moves a cursor until it can go no farther, waiting where it has to. */
const walk = (process: SimProcess, cursor: Cursor, reading: Reading): Effect.Effect<void, AofError> =>
  Effect.gen(function* () {
    for (let count = 0; count < 400; ) {
      const moved = yield* Effect.result(attempt(() => cursor.next()))
      if (moved._tag === "Success" && !moved.success) return
      if (moved._tag === "Success") {
        count++
        process.violate(reading.take(recordOf(cursor)))
      } else if (moved.failure._tag === "WouldBlock") yield* cursor.ready()
      else return yield* Effect.fail(moved.failure)
    }
  }).pipe(Effect.ensuring(Effect.sync(() => cursor.close())))

const cursor: Step = (process, stream, random) => {
  const level = random.pick(["durable", "written"] as const)
  const reading = readingOf(process, stream, `cursor ${level}`, false, level)
  const opened = attempt(() => stream.aof.cursor({ from: "start", level }))
  const call = Effect.flatMap(opened, (one) => walk(process, one, reading))
  process.begin(`cursor of ${stream.model.name}`, call, { isAllowed: (error) => process.allows(stream, error) })
}

const sealedIndex = (stream: OpenStream, random: SimRandom): number | undefined => {
  if (stream.isClosing) return undefined
  const sealed = stream.aof.info().segments.filter((one) => one.state === "sealed")
  return sealed.length === 0 ? undefined : random.pick(sealed).index
}

const openReader: Step = (process, stream, random) => {
  const index = sealedIndex(stream, random)
  if (index === undefined) return
  const reading = readingOf(process, stream, `reader of segment ${index}`)
  const call = Effect.flatMap(stream.aof.openReader(index), (one) => walk(process, one, reading))
  process.begin(`openReader ${index} of ${stream.model.name}`, call, {
    isAllowed: (error) => process.allows(stream, error),
  })
}

const follow: Step = (process, stream, random) => {
  if (stream.follows.length > 3) return
  const reading = readingOf(process, stream, "follow")
  const options: ReadOptions = random.chance(0.5) ? { from: "start" } : { from: "end" }
  const one = { isEnded: false, lastId: 0, stop: () => fiber.interruptUnsafe() }
  const taking = Stream.runForEach(stream.aof.follow(options), (record) =>
    Effect.sync(() => {
      one.lastId = record.recordId
      process.violate(reading.take(record))
    }),
  )
  const ended = Effect.sync(() => {
    one.isEnded = true
  })
  const fiber = process.world.fork(
    Effect.matchEffect(taking, {
      onFailure: (error) =>
        Effect.sync(() => {
          one.isEnded = true
          if (!process.allows(stream, error)) process.violate(`follow of ${stream.model.name}: ${error.message}`)
        }),
      onSuccess: () => ended,
    }),
  )
  stream.follows.push(one)
}

const unfollow: Step = (_, stream) => stream.follows.pop()?.stop()

const evict: Step = (process, stream, random) => {
  const to = process.world.plan.tier2 !== "none" && random.chance(0.6) ? "tier2" : "tier1"
  process.begin(`evict ${stream.model.name} to ${to}`, stream.aof.evict({ to }), {
    isAllowed: (error) => process.allows(stream, error),
  })
}

const prefetch: Step = (process, stream, random) => {
  const from = sealedIndex(stream, random)
  if (from === undefined) return
  const to = random.pick(["tier0", "tier1"] as const)
  process.begin(`prefetch ${from} of ${stream.model.name} to ${to}`, stream.aof.prefetch({ from, count: 3, to }), {
    isAllowed: (error) => process.allows(stream, error),
  })
}

const settled: Step = (process) => {
  const { manager } = process
  if (manager !== undefined)
    process.begin("settled", manager.settled(), { isAllowed: ({ _tag }) => _tag === "Closed" && process.isClosing })
}

/** Another process that only reads: what it sees is a part of what was written, without a hole. One comes for a look, or has been there before. */
const observe: Step = (process, stream, random) => {
  const { world } = process
  const { name } = stream.model
  const stays = random.chance(0.5)
  const reading = readingOf(process, stream, stays ? "a process that watches" : "another process")
  const readFrom = (manager: AofManager): Effect.Effect<void, AofError> =>
    Effect.flatMap(manager.stream(name, { create: false }), (aof) =>
      Stream.runForEach(aof.read({ from: "start" }), (record) =>
        Effect.sync(() => {
          // Meanwhile it may have been deleted, and another be there under its name.
          if (!stream.model.isDeleteAsked) process.violate(reading.take(record))
        }),
      ),
    )
  const visitor = new SimWatcher(world)
  const call = stays
    ? Effect.flatMap(process.watcher.manager, readFrom)
    : Effect.ensuring(Effect.flatMap(visitor.manager, readFrom), visitor.leave)
  process.begin(`observe ${name}`, call, {
    isAllowed: (error) =>
      process.allows(stream, error, ["NotFound"]) || (error._tag === "Closed" && stream.model.isDeleteAsked),
  })
}

/** By name. */
export const readSteps: Readonly<Record<string, Step>> = {
  get,
  read,
  reverse,
  cursor,
  openReader,
  follow,
  unfollow,
  evict,
  prefetch,
  settled,
  observe,
}
