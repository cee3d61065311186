/**
 * Other machines at the bucket of a store that was closed in order: writers that take its root over one after the other, each on an empty
 * disk, while the one before still runs. What a writer had told to be in the bucket is there for the next; what it
 * does afterwards counts for nothing, and it is told so; nobody gives an id again. A replica follows all of them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { FaultyObjectStore, type StoreFault, type StoreRequest } from "../faulty_object_store.ts"
import { MemoryDisk } from "../memory_disk.ts"
import { runAs } from "./sim_maintain.ts"
import { type ModelEntry, type ModelStream, payloadOf } from "./sim_model.ts"
import { movedAway } from "./sim_move.ts"
import { type SimProcess, SimViolation } from "./sim_process.ts"
import { SimRandom } from "./sim_random.ts"
import { keepsForReplica, SimReplica } from "./sim_replica.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"
import {
  appendSome,
  checkStreams,
  limitMs,
  openWriter,
  streamsOf,
  sureOf,
  toBucket,
  triesMax,
  tryWriter,
  type Writer,
} from "./sim_writers.ts"

/** Writers that come after the one of the store. */
const successors = 2
/** What a writer that lost its root appends: of no stream of the model. */
const nobody = { tag: 0 }

/** Lets others take the root over; gives what is wrong. */
export const runTakeovers = (world: SimWorld): string | undefined => runAs(world, takenOver)

const takenOver = (process: SimProcess): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const { world } = process
    const random = new SimRandom(world.plan.seed, 11)
    const replicaRandom = new SimRandom(world.plan.seed, 12)
    const cutRandom = new SimRandom(world.plan.seed, 15)
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
      while (cutRandom.chance(0.3)) yield* cutOff(process, cutRandom, sure)
      replica.addShownTo(sure)
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
    const moveRandom = new SimRandom(world.plan.seed, 13)
    // Somebody takes the new bucket over in the end.
    if (moveRandom.chance(0.5)) {
      yield* movedAway(process, writer, moveRandom)
      return yield* closeFormer(process, writer)
    }
    yield* process.within("closing the last writer", limitMs, writer.manager.close())
    yield* Scope.close(writer.scope, Exit.void)
  })

/** Puts of a writer behind which the bucket may be lost to it: those of its first HEADs are among them. */
const putsMax = 8

/**
 * A writer that takes the root over and is cut off from the bucket for good at one of its first puts. Nobody hears of what it acknowledges
 * behind that, and its ids are given to nothing else.
 */
const cutOff = (
  process: SimProcess,
  random: SimRandom,
  sure: ReadonlyMap<ModelStream, ReadonlySet<ModelEntry>>,
): Effect.Effect<void, SimViolation, SimServices> =>
  Effect.gen(function* () {
    const { world } = process
    let putsLeft = random.between(0, putsMax)
    const script = ({ kind }: StoreRequest): StoreFault | undefined =>
      kind === "put" && putsLeft-- <= 0 ? "timeoutBefore" : undefined
    const store = new FaultyObjectStore(world.store, { script })
    const disk = new MemoryDisk({ mapsFiles: world.plan.mapsFiles, nextTurn: (next) => world.loop.schedule(next) })
    const opened = yield* tryWriter(process, world.services(disk), store)
    if (opened._tag === "Failure") {
      const { _tag: kind, message } = opened.failure
      if (kind === "Unavailable") return
      return yield* Effect.fail(new SimViolation(`opening a writer that is cut off failed with ${kind}: ${message}`))
    }
    yield* checkStreams(process, opened.success, sure)
    yield* appendSome(process, opened.success, random)
    yield* closeFormer(process, opened.success)
  })

/** Seals all streams, and brings one of them into the bucket. */
const sealAll = (process: SimProcess, writer: Writer, random: SimRandom): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const streams = yield* streamsOf(process, writer)
    for (const [stream, aof] of streams) yield* process.within(`sealing ${stream.name}`, limitMs, aof.seal())
    if (streams.length === 0) return
    const [stream, aof] = random.pick(streams)
    yield* process.within(`evicting ${stream.name}`, limitMs, aof.evict({ to: "tier2" }))
  })

/** A writer that has lost its root is told so once it does something for the bucket, and from then on each time. */
const isTold = (process: SimProcess, writer: Writer): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const payload = payloadOf(nobody, { index: 0, bytes: 100 }, true)
    const [first] = yield* streamsOf(process, writer)
    if (first === undefined) return
    const [, aof] = first
    for (let tries = 0; tries < triesMax; tries++) {
      const append = Effect.result(Effect.andThen(aof.append(payload), aof.seal()))
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
    process.within("closing a former writer", limitMs, Effect.ignore(writer.manager.close())),
    Scope.close(writer.scope, Exit.void),
  )
