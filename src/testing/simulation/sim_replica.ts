/**
 * Replicas of a store, on machines of their own: all that was in the bucket is there after a poll; what one has shown no writer loses, and it
 * shows it again until it is trimmed; and what one with a lease may read stays readable, though the writer has trimmed it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Aof, type AofError, type AofManager, openReplica, type Replica } from "../../api/effect.ts"
import { ReplicaDisk } from "../../api/replica_open.ts"
import { MemoryDisk } from "../memory_disk.ts"
import { answered, type FoundEntries, findEntries, firstGap, firstInHole } from "./sim_found.ts"
import type { ModelEntry, ModelStream } from "./sim_model.ts"
import { type SimProcess, SimViolation } from "./sim_process.ts"
import type { SimRandom } from "./sim_random.ts"

const limitMs = 24 * 3_600_000
const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** Entries by the stream that they are of. */
type Entries = ReadonlyMap<ModelStream, ReadonlySet<ModelEntry>>

interface ReplicaSettings {
  readonly pollMs: number
  readonly leaseMs: number
}

export class SimReplica {
  readonly #process: SimProcess
  readonly #replica: Replica
  readonly #scope: Scope.Closeable
  readonly #shown: Map<ModelStream, Set<ModelEntry>> = new Map()

  /** Opens one that polls as chance will have it. */
  static open(process: SimProcess, random: SimRandom): Effect.Effect<SimReplica, SimViolation> {
    const settings = { pollMs: random.pick([10, 1000, hourMs]), leaseMs: random.pick([0, 3000, dayMs]) }
    return Effect.map(openOne(process, settings), ({ replica, scope }) => new SimReplica(process, replica, scope))
  }

  private constructor(process: SimProcess, replica: Replica, scope: Scope.Closeable) {
    this.#process = process
    this.#replica = replica
    this.#scope = scope
  }

  /** Polls and reads all: what is sure is there, and so is what it has shown before. */
  check(sure: Entries): Effect.Effect<void, SimViolation> {
    const process = this.#process
    return Effect.gen({ self: this }, function* () {
      yield* process.within("a poll", limitMs, this.#polled)
      for (const stream of process.world.model.present) {
        // One in which nothing was sure the bucket need not know of.
        if ((sure.get(stream)?.size ?? 0) === 0) continue
        const all = yield* process.within(`reading ${stream.name} of a replica`, limitMs, this.#found(stream))
        const due = [...(sure.get(stream) ?? []), ...(this.#shown.get(stream) ?? [])]
        const missing = due.find((one) => !all.found.has(one) && one.id >= stream.trimAsked)
        const gap = firstGap(stream, all) ?? firstInHole(stream, all)
        if (missing !== undefined) {
          const where = `stream ${stream.name}: entry ${missing.index} was in the bucket`
          return yield* Effect.fail(new SimViolation(`${where}, and a replica has it not`))
        }
        if (gap !== undefined) return yield* Effect.fail(new SimViolation(`${gap}, as a replica has it`))
        this.#show(stream, all.found)
      }
    })
  }

  /** Polls and reads without end while the bucket may misbehave: it may fail with anything, and what is read is right. */
  get watch(): Effect.Effect<never> {
    const process = this.#process
    const once = Effect.gen({ self: this }, function* () {
      yield* Effect.ignore(this.#replica.poll())
      for (const stream of process.world.model.present) {
        const found = Effect.flatMap(this.#open(stream), (aof) =>
          findEntries(process, { stream, aof, onTrimmed: this.#replica.poll() }),
        )
        const read = yield* Effect.result(found)
        if (read._tag === "Success") this.#show(stream, read.success.found)
      }
      yield* Effect.sleep(5000)
    })
    return Effect.forever(once)
  }

  /** Adds what it has shown: it is in the bucket. */
  addShownTo(sure: Map<ModelStream, Set<ModelEntry>>): void {
    for (const [stream, entries] of this.#shown) {
      const known = sure.get(stream)
      for (const entry of entries) known?.add(entry)
    }
  }

  /** Closes it. */
  get close(): Effect.Effect<void> {
    return Scope.close(this.#scope, Exit.void)
  }

  #open(stream: ModelStream): Effect.Effect<Aof, AofError> {
    return this.#replica.manager.stream(stream.name, { create: false })
  }

  #show(stream: ModelStream, found: ReadonlySet<ModelEntry>): void {
    this.#shown.set(stream, new Set([...(this.#shown.get(stream) ?? []), ...found]))
  }

  #found(stream: ModelStream): Effect.Effect<FoundEntries, AofError> {
    const process = this.#process
    return answered(
      Effect.flatMap(this.#open(stream), (aof) => findEntries(process, { stream, aof, onTrimmed: this.#polled })),
    )
  }

  get #polled(): Effect.Effect<boolean, AofError> {
    return answered(this.#replica.poll())
  }
}

/** Trims half of what a replica with a lease may read and has not read yet: it can read it still. */
export const keepsForReplica = (
  process: SimProcess,
  writer: AofManager,
  random: SimRandom,
): Effect.Effect<void, SimViolation> =>
  Effect.gen(function* () {
    const { model, plan } = process.world
    const { replica, scope } = yield* openOne(process, { pollMs: hourMs, leaseMs: dayMs })
    const before = new Map(
      model.present.map((stream) => [stream, stream.known().filter(({ id }) => id >= stream.trimAsked)] as const),
    )
    const { heads } = replica.info()
    for (const [stream, entries] of before) {
      if (entries.length === 0) continue
      const { id } = random.pick(entries)
      const aof = yield* process.within(`opening ${stream.name}`, limitMs, writer.stream(stream.name))
      stream.trimAsked = Math.max(stream.trimAsked, id)
      yield* process.within(`trimming ${stream.name}`, limitMs, aof.trim({ before: id }))
    }
    yield* Effect.sleep(plan.deleteGraceMs + 60_000)
    yield* process.within("settling", limitMs, writer.settled())
    for (const [stream, entries] of before) {
      if (entries.length === 0) continue
      const opening = replica.manager.stream(stream.name, { create: false })
      const aof = yield* process.within(`opening ${stream.name} of a replica`, limitMs, opening)
      const reading = yield* Effect.result(findEntries(process, { stream, aof, onTrimmed: Effect.sleep(1) }))
      // It has polled meanwhile, and knows of the trim.
      if (replica.info().heads !== heads) break
      if (reading._tag === "Failure") {
        return yield* Effect.fail(
          new SimViolation(`what a replica has a lease for is not kept: ${reading.failure.message}`),
        )
      }
      const missing = entries.find((one) => !reading.success.found.has(one))
      if (missing !== undefined) {
        const where = `stream ${stream.name}: entry ${missing.index}`
        return yield* Effect.fail(new SimViolation(`${where} is not there for a replica that has a lease`))
      }
    }
    yield* Scope.close(scope, Exit.void)
  })

const openOne = (
  process: SimProcess,
  settings: ReplicaSettings,
): Effect.Effect<{ readonly replica: Replica; readonly scope: Scope.Closeable }, SimViolation> =>
  Effect.suspend(() => {
    const { world } = process
    const scope = Scope.makeUnsafe()
    const options = {
      ...settings,
      store: world.store,
      cacheBytes: 1024 * 1024,
      requestTimeoutMs: 3000,
      retry: { maxAttempts: 3, baseDelayMs: 5 },
    }
    const disk = new MemoryDisk({ modelsCrashes: false, nextTurn: (next) => world.loop.schedule(next) })
    const context = world.services(disk)
    const opening = openReplica(options).pipe(
      Effect.provideService(ReplicaDisk, Effect.succeed(context)),
      Scope.provide(scope),
      Effect.provideContext(context),
    )
    return Effect.map(process.within("opening a replica", limitMs, opening), (replica) => ({ replica, scope }))
  })
