/**
 * A writer moves its root to another bucket while it appends, and the stores misbehave. Whatever a try comes to, the root goes on; in the end the new bucket
 * is enough, and the old one is refused.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { AofManager } from "../../api/effect.ts"
import type { ColdOptions } from "../../model/cold_config.ts"
import type { ReconcileOptions, ReconcileReport } from "../../model/reconcile.ts"
import { makeMemoryStore } from "../../object_store/memory.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import { MemoryDisk } from "../memory_disk.ts"
import { optionsOf } from "./sim_options.ts"
import { type SimProcess, SimViolation } from "./sim_process.ts"
import type { SimRandom } from "./sim_random.ts"
import {
  appendSome,
  checkStreams,
  faultyTries,
  limitMs,
  openWriter,
  sureOf,
  toBucket,
  triesMax,
  type Writer,
} from "./sim_writers.ts"

/** Moves the root of `writer`, and checks what the two buckets say. */
export const movedAway = (process: SimProcess, writer: Writer, random: SimRandom): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    const to = world.faultyStore(makeMemoryStore())
    world.hasFaults = random.chance(0.5) && world.plan.storeFaults.notFound === undefined
    const appending = Effect.andThen(Effect.sleep(random.pick([1, 100, 5000])), appendSome(process, writer, random))
    yield* Effect.all([moved(process, writer, to), appending], { concurrency: 2 })
    world.hasFaults = false
    yield* reconciled(process, writer, { from: world.store })
    yield* toBucket(process, writer)
    const { missing } = yield* reconciled(process, writer, { plan: true })
    const [lost] = missing
    if (lost !== undefined)
      return yield* Effect.fail(new SimViolation(`the new bucket lacks ${lost.key}: ${lost.action}`))
    const sure = sureOf(process)
    yield* isLeft(process)
    const disk = new MemoryDisk({ mapsFiles: world.plan.mapsFiles, nextTurn: (next) => world.loop.schedule(next) })
    const next = yield* openWriter(process, world.services(disk), to)
    yield* checkStreams(process, next, sure)
    yield* process.within("closing the writer of the new bucket", limitMs, next.manager.close())
    yield* Scope.close(next.scope, Exit.void)
  })

/** Reconciles. A breaker may be open for a while yet when the faults have ended. */
const reconciled = (
  process: SimProcess,
  { manager }: Writer,
  options: ReconcileOptions,
): Effect.Effect<ReconcileReport, SimViolation> =>
  Effect.gen(function* () {
    for (let tries = 0; tries < triesMax; tries++) {
      const reconcile = Effect.provideContext(Effect.result(manager.reconcile(options)), process.world.services())
      const done = yield* process.within("reconciling with the new bucket", limitMs, reconcile)
      if (done._tag === "Success") return done.success
      const { _tag: kind, message } = done.failure
      if (kind !== "Unavailable")
        return yield* Effect.fail(new SimViolation(`reconciling with the new bucket failed with ${kind}: ${message}`))
      yield* Effect.sleep(60_000)
    }
    return yield* Effect.fail(new SimViolation("reconciling with the new bucket never succeeded"))
  })

/** Tries until it has moved. A try that fails has not. */
const moved = (process: SimProcess, { manager }: Writer, to: ObjectStore): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    for (let tries = 0; tries < triesMax; tries++) {
      const move = Effect.provideContext(Effect.result(manager.moveBucket({ to })), world.services())
      const done = yield* process.within("moving to another bucket", limitMs, move)
      if (done._tag === "Success") return
      const { _tag: kind, message } = done.failure
      // A breaker may be open for a while yet when the faults have ended.
      const isFault = kind === "Unavailable" || (world.hasFaults && (kind === "Corrupt" || kind === "NotFound"))
      if (!isFault) {
        return yield* Effect.fail(new SimViolation(`moving to another bucket failed with ${kind}: ${message}`))
      }
      yield* Effect.sleep(60_000)
      if (tries === faultyTries) world.hasFaults = false
    }
    return yield* Effect.fail(new SimViolation("moving to another bucket never succeeded"))
  })

/** Nobody opens the old bucket by mistake. */
const isLeft = (process: SimProcess): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    const disk = new MemoryDisk({ mapsFiles: world.plan.mapsFiles, nextTurn: (next) => world.loop.schedule(next) })
    const options = optionsOf(world.plan, world)
    const tier2 = { ...(options.tier2 as ColdOptions), requireBucket: true }
    const open = Effect.scoped(AofManager.open({ ...options, tier2 }))
    const opened = yield* process.within(
      "opening the old bucket",
      limitMs,
      Effect.provideContext(Effect.result(open), world.services(disk)),
    )
    const end = opened._tag === "Success" ? "Success" : opened.failure._tag
    if (end !== "Fenced")
      return yield* Effect.fail(new SimViolation(`opening a bucket that was left ended with ${end}`))
  })
