/**
 * Other machines at the bucket of a store that was closed in order: writers that take its root over one after the other, each on an empty
 * disk, while the one before still runs. What a writer had told to be in the bucket is there for the next; what it
 * does afterwards counts for nothing, and it is told so; nobody gives an id again. A replica follows all of them.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Aof, AofManager } from "../../api/effect.ts"
import type { ColdOptions } from "../../model/cold_config.ts"
import { MemoryDisk } from "../memory_disk.ts"
import { answered, findEntries, firstGap } from "./sim_found.ts"
import { runAs } from "./sim_maintain.ts"
import { type ModelEntry, type ModelStream, payloadBytesMin, payloadOf } from "./sim_model.ts"
import { optionsOf, type SimProcess, SimViolation } from "./sim_process.ts"
import { SimRandom } from "./sim_random.ts"
import { keepsForReplica, SimReplica } from "./sim_replica.ts"
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
    const replicaRandom = new SimRandom(world.plan.seed, 12)
    let writer = yield* openWriter(process, world.services())
    let replica: SimReplica | undefined
    const former: Array<Writer> = []
    for (let count = 0; count < successors; count++) {
      yield* appendSome(process, writer, random)
      yield* toBucket(process, writer)
      const sure = sureOf(process)
      replica ??= yield* SimReplica.open(process, replicaRandom)
      yield* replica.check(sure)
      // Of this the bucket may have a part, or nothing.
      yield* appendSome(process, writer, random)
      if (replicaRandom.chance(0.3)) {
        // HEAD tells of what is sealed in all streams when one of them is in the bucket.
        yield* sealAll(process, writer, replicaRandom)
        yield* Effect.sleep(replicaRandom.pick([1, 1000, 10_000]))
        yield* replica.check(sure)
      }
      // A bucket that says there is no HEAD where there is one makes a new store of an empty root.
      world.hasFaults = random.chance(0.5) && world.plan.storeFaults.notFound === undefined
      const disk = new MemoryDisk({ mapsFiles: world.plan.mapsFiles, nextTurn: (next) => world.loop.schedule(next) })
      const opening = openWriter(process, world.services(disk))
      const next = yield* Effect.raceFirst(opening, replica.watch)
      world.hasFaults = false
      replica.addShownTo(sure)
      yield* checkStreams(process, next, sure)
      yield* replica.check(sure)
      yield* isTold(process, writer)
      former.push(writer)
      writer = next
    }
    yield* appendSome(process, writer, random)
    yield* toBucket(process, writer)
    for (const one of former) yield* closeFormer(process, one)
    const sure = sureOf(process)
    yield* checkStreams(process, writer, sure)
    yield* replica?.check(sure) ?? Effect.void
    yield* keepsForReplica(process, writer.manager, replicaRandom)
    yield* replica?.check(sure) ?? Effect.void
    yield* replica?.close ?? Effect.void
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

/** What is in the bucket once everything is: nobody who comes after may miss it. */
const sureOf = ({ world }: SimProcess): Map<ModelStream, Set<ModelEntry>> =>
  new Map(world.model.present.map((stream) => [stream, new Set(stream.known())]))

/** Seals all streams, and brings one of them into the bucket. */
const sealAll = (process: SimProcess, writer: Writer, random: SimRandom): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const streams = yield* streamsOf(process, writer)
    for (const [stream, aof] of streams) yield* process.within(`sealing ${stream.name}`, limitMs, aof.seal)
    if (streams.length === 0) return
    const [stream, aof] = random.pick(streams)
    yield* process.within(`evicting ${stream.name}`, limitMs, aof.evict({ to: "tier2" }))
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
      const reading = answered(findEntries(process, { stream, aof }))
      const all = yield* process.within(`reading ${stream.name} beside other writers`, limitMs, reading)
      const { found } = all
      const missing = [...(sure.get(stream) ?? [])].find((one) => !found.has(one) && one.id >= stream.trimAsked)
      if (missing !== undefined) {
        const where = `stream ${stream.name}: entry ${missing.index} was in the bucket`
        return yield* Effect.fail(new SimViolation(`${where}, and another writer has it not`))
      }
      const gap = firstGap(stream, all)
      if (gap !== undefined) return yield* Effect.fail(new SimViolation(`${gap}, as another writer has it`))
      for (const entry of stream.known()) {
        if (found.has(entry)) continue
        stream.idFloor = Math.max(stream.idFloor, entry.id)
        entry.isLost = true
      }
    }
  })

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
