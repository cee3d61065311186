/**
 * One process of a simulation: its manager, its streams, and all that it has begun and not ended. What a call may fail with is decided
 * here; everything else that goes wrong is a violation and ends the simulation.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Aof, AofError } from "../../api/effect.ts"
import { AofManager } from "../../api/effect.ts"
import { isAofError } from "../../model/errors.ts"
import type { ModelStream } from "./sim_model.ts"
import { optionsOf } from "./sim_options.ts"
import { SimWatcher } from "./sim_watcher.ts"
import type { SimServices, SimWorld } from "./sim_world.ts"

/** What must not be. */
export class SimViolation extends Error {}

/** A stream as the process has it open. */
export interface OpenStream {
  readonly model: ModelStream
  aof: Aof
  /** True from the moment at which it is asked to close: calls may fail `Closed` from then on. */
  isClosing: boolean
  /** The highest watermarks seen, which never fall. */
  durable: number
  written: number
  readonly follows: Array<{ isEnded: boolean; lastId: number; readonly stop: () => void }>
  extId: number
}

/** What is done with the end of a call. */
export interface CallEnds<A = unknown> {
  /** Says what is wrong with the value, if anything. */
  readonly onDone?: (value: A) => string | undefined
  readonly isAllowed: (error: AofError) => boolean
  readonly onFail?: (error: AofError) => void
}

export class SimProcess {
  readonly world: SimWorld
  readonly streams: Array<OpenStream> = []
  /** Calls that were begun and have not ended, by what they are. */
  readonly pending: Map<number, string> = new Map()
  /** The first thing that was wrong. */
  violation: string | undefined
  /** True when faults may have happened since the process began. */
  hadFaults = false
  /** The same of the disk alone, for the whole life of the process. */
  hadDiskFaults = false
  /** True from the moment at which the store is asked to close while calls are under way. */
  isClosing = false
  manager: AofManager | undefined
  readonly watcher: SimWatcher
  #scope: Scope.Closeable | undefined
  #calls = 0

  constructor(world: SimWorld) {
    this.world = world
    this.watcher = new SimWatcher(world)
  }

  /** Notes what is wrong, unless nobody is there any more to see it. */
  violate(what: string | undefined): void {
    if (what === undefined || this.violation !== undefined || !this.world.isAlive) return
    this.violation = what
    this.world.trace.note(this.world.loop.nowMs, "violation", what)
  }

  /** Opens the root. */
  readonly open: Effect.Effect<AofManager, AofError, SimServices> = Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    this.#scope = scope
    const opened = AofManager.open(optionsOf(this.world.plan, this.world)).pipe(Scope.provide(scope))
    return Effect.tapError(
      Effect.tap(opened, (manager) =>
        Effect.sync(() => {
          this.manager = manager
        }),
      ),
      () => Scope.close(scope, Exit.void),
    )
  })

  /** Ends the scope of the manager, which gives the lock back. */
  readonly leave: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(this.watcher.leave, this.#scope === undefined ? Effect.void : Scope.close(this.#scope, Exit.void)),
  )

  /**
   * Begins a call and looks at its end; it is not waited for. A failure goes to `onFail`, which says whether the call may fail so.
   */
  begin<A>(what: string, call: Effect.Effect<A, AofError>, ends: CallEnds<A>): ReturnType<SimWorld["fork"]> {
    const { world } = this
    const id = this.#calls++
    this.pending.set(id, what)
    const fiber = world.fork(call)
    const observe = (exit: Exit.Exit<A, AofError>): void => {
      if (!world.isAlive) return
      this.pending.delete(id)
      if (Exit.isSuccess(exit)) {
        world.trace.note(world.loop.nowMs, "done", what)
        return this.violate(ends.onDone?.(exit.value))
      }
      if (Cause.hasInterruptsOnly(exit.cause)) return
      const error: unknown = Cause.squash(exit.cause)
      if (!isAofError(error)) return this.violate(`${what} died: ${(error as Error).stack ?? String(error)}`)
      world.trace.note(world.loop.nowMs, "failed", what, error._tag)
      if (!ends.isAllowed(error)) return this.violate(`${what} failed with ${error._tag}: ${error.message}`)
      ends.onFail?.(error)
    }
    fiber.addObserver(observe)
    return fiber
  }

  /** Waits for something at most so long; a violation and undefined when it does not come. */
  within<A, R = never>(
    what: string,
    limitMs: number,
    effect: Effect.Effect<A, AofError, R>,
  ): Effect.Effect<A, SimViolation, R> {
    return Effect.timeoutOption(effect, limitMs).pipe(
      Effect.mapError((error) => new SimViolation(`${what} failed with ${error._tag}: ${error.message}`)),
      Effect.flatMap((found) =>
        found._tag === "Some"
          ? Effect.succeed(found.value)
          : Effect.fail(new SimViolation(`${what} has not ended within ${limitMs} ms`)),
      ),
    )
  }

  /** Waits until nothing that was begun, and has `part` in its name, is left; a violation when that takes longer. */
  drain(limitMs: number, part = ""): Effect.Effect<void, SimViolation> {
    const { world } = this
    const waiting = (): ReadonlyArray<string> => [...this.pending.values()].filter((what) => what.includes(part))
    return Effect.gen({ self: this }, function* () {
      const until = world.loop.nowMs + limitMs
      for (let pauseMs = 1; waiting().length > 0; pauseMs = Math.min(1000, pauseMs * 2)) {
        if (world.loop.nowMs > until) {
          const left = waiting().slice(0, 5).join(", ")
          return yield* Effect.fail(new SimViolation(`never answered within ${limitMs} ms: ${left}; ${this.#state()}`))
        }
        yield* Effect.sleep(pauseMs)
      }
    })
  }

  /** Numbers that say why somebody waits. */
  #state(): string {
    if (this.manager === undefined) return "no manager"
    const { tier0, tier1, backlog, flush } = this.manager.observe()
    const streams = this.streams.filter((stream) => !stream.isClosing)
    const segments = streams.map(({ aof, model }) => {
      const each = aof.info().segments.map(({ index, state, bytes, tier }) => `${index} ${state} ${tier} ${bytes}`)
      return `${model.name}: ${each.join(", ")}`
    })
    return JSON.stringify({ tier0, warmBytes: tier1.usedBytes, backlog, flush, segments })
  }

  /** True for what making or deleting a stream may fail with. */
  allowsMaking(error: AofError): boolean {
    return (error._tag === "Unavailable" && this.hadFaults) || (error._tag === "Closed" && this.isClosing)
  }

  /** What a call on a stream may fail with. */
  allows(stream: OpenStream, error: AofError, extra: ReadonlyArray<AofError["_tag"]> = []): boolean {
    if (extra.includes(error._tag)) return true
    switch (error._tag) {
      case "Closed":
        return stream.isClosing
      case "NotFound":
        if (stream.model.trimAsked > 0 || stream.isClosing) return true
        return this.hadFaults && this.world.plan.storeFaults.notFound !== undefined
      case "Unavailable":
        return this.hadFaults
      case "Corrupt": {
        const { damagedBody, partialBody, notFound } = this.world.plan.storeFaults
        return this.hadFaults && (damagedBody ?? partialBody ?? notFound) !== undefined
      }
      default:
        return false
    }
  }
}
