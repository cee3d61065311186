/** The manager as Effects: opens a root and hands out its streams. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { attempt } from "../core/flow/attempt.ts"
import type * as CoreManager from "../core/manager.ts"
import { observe } from "../core/observability.ts"
import { openManager } from "../core/open_manager.ts"
import type { Recovery } from "../core/recovery/recovery_report.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { type Codec, checkCodec, checkSameCodec } from "../model/codec.ts"
import { makeConfig, managerOptionNames } from "../model/config.ts"
import { checkNames } from "../model/config_check.ts"
import type { AofError } from "../model/errors.ts"
import type { MoveBucketOptions, MoveBucketReport } from "../model/move_bucket.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import type { ReconcileOptions, ReconcileReport } from "../model/reconcile.ts"
import type { RepairReport } from "../model/repair.ts"
import { makeScrubPlan, type ScrubOptions, type ScrubReport } from "../model/scrub.ts"
import type { Compressor } from "../port/compressor.ts"
import type { Directory } from "../port/directory.ts"
import type { EventLoop } from "../port/event_loop.ts"
import type { RootLock } from "../port/root_lock.ts"
import { type Aof, makeAof } from "./effect_aof.ts"
import {
  type AofManagerOptions,
  type CodecStreamOptions,
  type JsonStreamOptions,
  type RepairOptions,
  type StreamOptions,
  withoutSignal,
} from "./effect_options.ts"
import { moveBucketWith } from "./move_bucket.ts"
import { openAbsolute } from "./open_absolute.ts"
import { quietEvents, quietPlan } from "./quiet_events.ts"
import { reconcileHere } from "./reconcile.ts"
import { repairHere, repairOptionNames } from "./repair.ts"
import { streamOptionNames } from "./stream_options.ts"

interface KnownStream {
  readonly aof: Aof<any, any>
  readonly codec: Codec<unknown> | undefined
}

/** Makes a manager's dress. Set by the class, so that nobody outside sees of what it is made. */
export let dressManager: (core: CoreManager.CoreManager) => AofManager

/** Owns a root: its lock, its manifest and its streams. Made by `AofManager.open`. */
export class AofManager {
  static {
    dressManager = (core) => new AofManager(core)
  }

  readonly #core: CoreManager.CoreManager
  readonly #streams: WeakMap<StreamState, KnownStream> = new WeakMap()

  private constructor(core: CoreManager.CoreManager) {
    this.#core = core
  }

  /** Opens a root with the services of the context; the end of the scope closes it. Fails like the main module's. */
  static open(
    options: AofManagerOptions,
  ): Effect.Effect<AofManager, AofError, Directory | RootLock | EventLoop | Compressor | Scope.Scope> {
    return Effect.flatMap(
      attempt(() => {
        checkNames("manager option", options, withoutSignal(managerOptionNames))
        return quietEvents(makeConfig(options))
      }),
      (config) => Effect.map(openAbsolute(config, openManager), (core) => new AofManager(core)),
    )
  }

  /** Repairs a store that nobody has open, or tells what a repair would do. Fails like the main module's. */
  static repair(
    options: RepairOptions,
  ): Effect.Effect<RepairReport, AofError, Directory | RootLock | EventLoop | Compressor> {
    const checked = attempt(() => checkNames("repair option", options, withoutSignal(repairOptionNames)))
    return Effect.andThen(checked, repairHere(options))
  }

  /** The root, as it was given. */
  get root(): string {
    return this.#core.config.rootGiven
  }

  /** What opening found out of order. */
  get recovery(): Recovery {
    return this.#core.recovery
  }

  /** Opens or makes a stream of JSON values; the same name gives the same object. */
  stream<V = any>(name: string, options: JsonStreamOptions): Effect.Effect<Aof<V, V>, AofError>
  /** Opens or makes a stream of the codec's values. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Effect.Effect<Aof<V, V>, AofError>
  /** Opens or makes a stream of bytes or text. */
  stream(name: string, options?: StreamOptions): Effect.Effect<Aof, AofError>
  stream(
    name: string,
    options: StreamOptions & { readonly codec?: unknown } = {},
  ): Effect.Effect<Aof<any, any>, AofError> {
    return Effect.gen({ self: this }, function* () {
      const codec = yield* attempt(() => {
        checkNames("stream option", options, withoutSignal(streamOptionNames))
        return checkCodec(options.codec)
      })
      const { codec: _, ...rest } = options
      const state = yield* this.#core.stream(name, rest)
      const known = this.#streams.get(state)
      if (known !== undefined) {
        yield* attempt(() => checkSameCodec(name, codec, known.codec))
        return known.aof
      }
      const aof = makeAof<any, any>(state, this.#core, codec)
      this.#streams.set(state, { aof, codec })
      return aof
    })
  }

  /** The names of all streams, in order. Throws `Closed`. */
  streams(): Array<string> {
    return [...this.#core.names()]
  }

  /** Deletes a stream with all its records, durably. */
  deleteStream(name: string): Effect.Effect<void, AofError> {
    return this.#core.deleteStream(name)
  }

  /** Everything that the manager counts, at this moment. */
  observe(): TieredObservabilitySnapshot {
    return observe(this.#core.services, this.#core.openStreams())
  }

  /**
   * Returns when the tiers have nothing left to do now; while the bucket does not answer that is so with a backlog (`observe().backlog`). Fails with
   * `Closed`, also when the manager is closed meanwhile.
   */
  settled(): Effect.Effect<void, AofError> {
    return this.#core.settled
  }

  /** Writes a record of the application into the manifest, durably. */
  customEvent(kind: number, payload: Uint8Array): Effect.Effect<void, AofError> {
    return this.#core.customEvent(kind, payload)
  }

  /** Reads everything that the root holds and checks it; interruption takes the place of a signal. */
  scrub(options: ScrubOptions = {}): Effect.Effect<ScrubReport, AofError> {
    return Effect.flatMap(
      attempt(() => quietPlan(makeScrubPlan(options))),
      (plan) => this.#core.scrub(plan),
    )
  }

  /** Compares Tier 2 with the manifest, and repairs what it can. Fails like the main module's. */
  reconcile(options: ReconcileOptions = {}): Effect.Effect<ReconcileReport, AofError, Directory | RootLock> {
    return reconcileHere(this.#core, options)
  }

  /** Moves the root to another bucket while it is open. The services have to last as long as the manager. Fails like the main module's. */
  moveBucket(options: MoveBucketOptions): Effect.Effect<MoveBucketReport, AofError, Directory | RootLock> {
    return Effect.flatMap(Effect.context<Directory | RootLock>(), (context) =>
      moveBucketWith(this.#core, options, context),
    )
  }

  /** Drains and closes everything, within `closeTimeoutMs`; a second close does nothing. */
  close(): Effect.Effect<void, AofError> {
    return this.#core.close
  }
}
