/** What several writers of one root have in common: they are opened, append to all streams, bring them into the bucket, and are checked. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { type Aof, type AofError, AofManager } from "../../api/effect.ts"
import type { ColdOptions } from "../../model/cold_config.ts"
import type { ObjectStore } from "../../port/object_store.ts"
import { answered, findEntries, firstGap } from "./sim_found.ts"
import { type ModelEntry, type ModelStream, payloadBytesMin, payloadOf } from "./sim_model.ts"
import { optionsOf } from "./sim_options.ts"
import { type SimProcess, SimViolation } from "./sim_process.ts"
import type { SimRandom } from "./sim_random.ts"
import type { SimServices } from "./sim_world.ts"

/** Longest that anything may take. */
export const limitMs: number = 24 * 3_600_000
/** Tries of what the bucket may refuse. */
export const triesMax = 200
/** Tries after which the bucket misbehaves no more. */
export const faultyTries = 20

/** A writer of the root. */
export interface Writer {
  readonly manager: AofManager
  readonly scope: Scope.Closeable
}

/** Opens the root on a disk. With faults it may have to be tried again, as whoever starts a service would. */
export const openWriter = (
  process: SimProcess,
  context: Context.Context<SimServices>,
  store: ObjectStore = process.world.store,
): Effect.Effect<Writer, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    for (let tries = 0; tries < triesMax; tries++) {
      const opened = yield* tryWriter(process, context, store)
      if (opened._tag === "Success") return opened.success
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

/** Opens the root on a disk, once. */
export const tryWriter = (
  process: SimProcess,
  context: Context.Context<SimServices>,
  store: ObjectStore,
): Effect.Effect<Result.Result<Writer, AofError>, SimViolation> =>
  Effect.gen(function* () {
    const { world } = process
    const scope = Scope.makeUnsafe()
    const options = optionsOf(world.plan, world)
    // A new root while the bucket does not answer would be another store.
    const tier2 = { ...(options.tier2 as ColdOptions), store, requireBucket: true }
    const open = AofManager.open({ ...options, tier2 }).pipe(Scope.provide(scope), Effect.provideContext(context))
    const opened = yield* process.within("opening as another writer", limitMs, Effect.result(open))
    if (opened._tag === "Failure") yield* Scope.close(scope, Exit.void)
    return Result.map(opened, (manager) => ({ manager, scope }))
  })

/** The streams of the model as a writer has them. */
export const streamsOf = (
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

/** Appends a few records to each stream. */
export const appendSome = (process: SimProcess, writer: Writer, random: SimRandom): Effect.Effect<void, SimViolation> =>
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
export const sureOf = ({ world }: SimProcess): Map<ModelStream, Set<ModelEntry>> =>
  new Map(world.model.present.map((stream) => [stream, new Set(stream.known())]))

/** Brings everything that is durable into the bucket. */
export const toBucket = (process: SimProcess, writer: Writer): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    for (const [stream, aof] of yield* streamsOf(process, writer)) {
      yield* process.within(`sealing ${stream.name}`, limitMs, aof.seal())
      yield* process.within(`evicting ${stream.name}`, limitMs, aof.evict({ to: "tier2" }))
    }
    yield* process.within("settling", limitMs, writer.manager.settled())
  })

/** Streams as another writer has them: all that is sure is there, and of the rest nothing is missing that no error names. */
export const checkStreams = (
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
