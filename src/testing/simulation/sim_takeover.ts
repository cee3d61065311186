/**
 * Other machines at the bucket of a store that was closed in order: writers that take its root over one after the other, each on an empty
 * disk, while the one before still runs. What a writer had told to be in the bucket is there for the next; what it
 * does afterwards counts for nothing, and it is told so; nobody gives an id again.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Aof, type AofError, AofManager, type ReadOptions } from "../../api/effect.ts"
import type { ColdOptions } from "../../model/cold_config.ts"
import { MemoryDisk } from "../memory_disk.ts"
import { runAs } from "./sim_maintain.ts"
import { entryOf, type ModelEntry, type ModelStream, payloadBytesMin, payloadOf } from "./sim_model.ts"
import { optionsOf, type SimProcess, SimViolation } from "./sim_process.ts"
import { SimRandom } from "./sim_random.ts"
import { isEqual } from "./sim_reading.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"

const limitMs = 24 * 3_600_000
/** Writers that come after the one of the store. */
const successors = 2
/** What a writer that lost its root appends: of no stream of the model. */
const nobody = { tag: 0 }
const triesMax = 200
/** Tries of an opening after which the bucket misbehaves no more. */
const faultyTries = 20

interface Writer {
  readonly manager: AofManager
  readonly scope: Scope.Closeable
}

/** Lets others take the root over; gives what is wrong. */
export const runTakeovers = (world: SimWorld): string | undefined => runAs(world, takenOver)

const takenOver = (process: SimProcess): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const { world } = process
    const random = new SimRandom(world.plan.seed, 11)
    let writer = yield* openWriter(process, world.services())
    const former: Array<Writer> = []
    for (let count = 0; count < successors; count++) {
      yield* appendSome(process, writer, random)
      yield* toBucket(process, writer)
      const sure = new Map(world.model.present.map((stream) => [stream, new Set(stream.known())]))
      // Of this the bucket may have a part, or nothing.
      yield* appendSome(process, writer, random)
      // A bucket that says there is no HEAD where there is one makes a new store of an empty root.
      world.hasFaults = random.chance(0.5) && world.plan.storeFaults.notFound === undefined
      const disk = new MemoryDisk({ mapsFiles: world.plan.mapsFiles, nextTurn: (next) => world.loop.schedule(next) })
      const next = yield* openWriter(process, world.services(disk))
      world.hasFaults = false
      yield* checkStreams(process, next, sure)
      yield* isTold(process, writer)
      former.push(writer)
      writer = next
    }
    yield* appendSome(process, writer, random)
    yield* toBucket(process, writer)
    for (const one of former) yield* closeFormer(process, one)
    const sure = new Map(world.model.present.map((stream) => [stream, new Set(stream.known())]))
    yield* checkStreams(process, writer, sure)
    yield* process.within("closing the last writer", limitMs, writer.manager.close)
    yield* Scope.close(writer.scope, Exit.void)
  })

/** Opens the root on a disk. With faults it may have to be tried again, as whoever starts a service would. */
const openWriter = (process: SimProcess, context: Context.Context<SimServices>): Effect.Effect<Writer, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    for (let tries = 0; tries < triesMax; tries++) {
      const scope = Scope.makeUnsafe()
      const options = optionsOf(world.plan, world)
      // A new root while the bucket does not answer would be another store.
      const tier2 = { ...(options.tier2 as ColdOptions), requireBucket: true }
      const open = AofManager.open({ ...options, tier2 }).pipe(Scope.provide(scope), Effect.provideContext(context))
      const opened = yield* process.within("opening as another writer", limitMs, Effect.result(open))
      if (opened._tag === "Success") return { manager: opened.success, scope }
      yield* Scope.close(scope, Exit.void)
      const { _tag: kind, message } = opened.failure
      if (!world.hasFaults || (kind !== "Unavailable" && kind !== "Corrupt" && kind !== "NotFound")) {
        return yield* Effect.fail(new SimViolation(`opening as another writer failed with ${kind}: ${message}`))
      }
      yield* Effect.sleep(60_000)
      // An outage may come again sooner than anybody can open a root.
      if (tries === faultyTries) world.hasFaults = false
    }
    return yield* Effect.fail(new SimViolation("opening as another writer never succeeded"))
  })

const streamsOf = (
  process: SimProcess,
  { manager }: { readonly manager: AofManager },
): Effect.Effect<ReadonlyArray<readonly [ModelStream, Aof]>, SimViolation> =>
  Effect.forEach(
    // One in which nothing was durable the bucket need not know of.
    process.world.model.present.filter((stream) => stream.known().length > 0),
    (stream) =>
      Effect.map(
        process.within(`opening ${stream.name}`, limitMs, manager.stream(stream.name, { create: false })),
        (aof) => [stream, aof] as const,
      ),
  )

const appendSome = (process: SimProcess, writer: Writer, random: SimRandom): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model, plan } = process.world
    for (const [stream, aof] of yield* streamsOf(process, writer)) {
      const extId = stream.entries.reduce((most, entry) => Math.max(most, entry.extId), 0)
      for (let count = random.between(1, 8); count > 0; count--) {
        const entry = model.call(
          stream,
          random.between(payloadBytesMin, Math.min(1000, plan.payloadBytesMax)),
          extId,
          0,
        )
        const append = aof.append(payloadOf(stream, entry, plan.isNoise), { extId })
        const ack = yield* process.within(`append to ${stream.name} beside other writers`, limitMs, append)
        process.violate(model.acknowledge(stream, entry, ack))
      }
    }
  })

/** Brings everything that is durable into the bucket. */
const toBucket = (process: SimProcess, writer: Writer): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    for (const [stream, aof] of yield* streamsOf(process, writer)) {
      yield* process.within(`sealing ${stream.name}`, limitMs, aof.seal)
      yield* process.within(`evicting ${stream.name}`, limitMs, aof.evict({ to: "tier2" }))
    }
    yield* process.within("settling", limitMs, writer.manager.settled)
  })

/** Streams as another writer has them: all that is sure is there, and of the rest nothing is missing that no error names. */
const checkStreams = (
  process: SimProcess,
  writer: { readonly manager: AofManager },
  sure: ReadonlyMap<ModelStream, ReadonlySet<ModelEntry>>,
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    for (const [stream, aof] of yield* streamsOf(process, writer)) {
      const { found, holes } = yield* readEntries(process, stream, aof)
      const missing = [...(sure.get(stream) ?? [])].find((one) => !found.has(one) && one.id >= stream.trimAsked)
      if (missing !== undefined) {
        const where = `stream ${stream.name}: entry ${missing.index} was in the bucket`
        return yield* Effect.fail(new SimViolation(`${where}, and another writer has it not`))
      }
      const last = Math.max(-1, ...[...found].map(({ index }) => index))
      for (const entry of stream.known()) {
        if (found.has(entry)) continue
        stream.idFloor = Math.max(stream.idFloor, entry.id)
        const isNamed = holes.some(({ from, to }) => entry.id >= from && entry.id < to)
        if (entry.index < last && entry.id >= stream.trimAsked && !isNamed) {
          const where = `stream ${stream.name}: another writer has entry ${last} and not entry ${entry.index}`
          return yield* Effect.fail(new SimViolation(where))
        }
        entry.isLost = true
      }
    }
  })

interface FoundEntries {
  readonly found: ReadonlySet<ModelEntry>
  /** Ids that are said to be missing: segments that were sealed and had not reached the bucket. */
  readonly holes: ReadonlyArray<{ readonly from: number; readonly to: number }>
}

/** Entries of a stream that are read, in their order and with their ids. One that was lost may be back when its segment arrived late. */
const readEntries = (process: SimProcess, stream: ModelStream, aof: Aof): Effect.Effect<FoundEntries, SimViolation> => {
  const { isNoise } = process.world.plan
  const found = new Set<ModelEntry>()
  const holes: Array<{ readonly from: number; readonly to: number }> = []
  let before = { index: -1, number: -1, id: 0 }
  const take = (record: { readonly recordId: number; readonly recordNumber: number; readonly bytes: Uint8Array }) => {
    const { recordId, recordNumber: number, bytes } = record
    const said = entryOf(bytes)
    const entry = said?.tag === stream.tag ? stream.entries[said.index] : undefined
    const where = `stream ${stream.name}, record ${recordId} number ${number} beside other writers`
    if (entry === undefined || !isEqual(bytes, payloadOf(stream, entry, isNoise))) {
      return process.violate(`${where}: holds bytes that nobody appended here`)
    }
    if (entry.id > 0 && entry.id !== recordId)
      process.violate(`${where}: is entry ${entry.index} with the id ${entry.id}`)
    if (entry.index <= before.index || number <= before.number) {
      process.violate(`${where}: entry ${entry.index} comes after entry ${before.index} number ${before.number}`)
    }
    before = { index: entry.index, number, id: recordId }
    found.add(entry)
  }
  const readFrom = (options: ReadOptions): Effect.Effect<void, AofError> =>
    Effect.catch(
      Stream.runForEach(aof.read(options), (record) => Effect.sync(() => take(record))),
      (error: AofError): Effect.Effect<void, AofError> => {
        if (error._tag === "NotFound" && stream.trimAsked > 0) {
          found.clear()
          before = { index: -1, number: -1, id: 0 }
          return Effect.andThen(Effect.sleep(50), readFrom({ from: "start" }))
        }
        if (error._tag !== "Corrupt" || !error.message.includes("are missing")) return Effect.fail(error)
        holes.push({ from: before.id, to: error.to })
        return readFrom({ from: error.to })
      },
    )
  const whole = readFrom({ from: "start" })
  return Effect.as(process.within(`reading ${stream.name} beside other writers`, limitMs, whole), { found, holes })
}

/** A writer that has lost its root is told so once it does something for the bucket, and from then on each time. */
const isTold = (process: SimProcess, writer: Writer): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const payload = payloadOf(nobody, { index: 0, bytes: 100 }, true)
    const [first] = yield* streamsOf(process, writer)
    if (first === undefined) return
    const [, aof] = first
    for (let tries = 0; tries < triesMax; tries++) {
      const append = Effect.result(Effect.andThen(aof.append(payload), aof.seal))
      const done = yield* process.within("append of a former writer", limitMs, append)
      if (done._tag === "Failure") {
        if (done.failure._tag === "Fenced") return
        const { _tag: kind, message } = done.failure
        // Its disk may have failed meanwhile.
        if (kind !== "Unavailable") {
          return yield* Effect.fail(new SimViolation(`append of a former writer failed with ${kind}: ${message}`))
        }
      }
      yield* process.within("evicting", limitMs, Effect.ignore(aof.evict({ to: "tier2" })))
      yield* Effect.sleep(1000)
    }
    return yield* Effect.fail(new SimViolation("a former writer is never told that it has lost its root"))
  })

const closeFormer = (process: SimProcess, writer: Writer): Effect.Effect<void, SimViolation> =>
  Effect.andThen(
    process.within("closing a former writer", limitMs, Effect.ignore(writer.manager.close)),
    Scope.close(writer.scope, Exit.void),
  )
