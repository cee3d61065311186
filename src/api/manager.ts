/** The manager, for everybody: opens a root and hands out its streams. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { withCompressor } from "../compressor/compressor.ts"
import { attempt } from "../core/flow/attempt.ts"
import type * as CoreManager from "../core/manager.ts"
import { observe } from "../core/observability.ts"
import { openManager } from "../core/open_manager.ts"
import type { Recovery } from "../core/recovery/recovery_report.ts"
import type { StreamState } from "../core/stream/stream_state.ts"
import { type Codec, checkCodec, checkSameCodec } from "../model/codec.ts"
import { type AofManagerOptions, makeConfig } from "../model/config.ts"
import { checkNames } from "../model/config_check.ts"
import { type MoveBucketOptions, type MoveBucketReport, moveBucketOptionNames } from "../model/move_bucket.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import { type ReconcileOptions, type ReconcileReport, reconcileOptionNames } from "../model/reconcile.ts"
import type { RepairOptions, RepairReport } from "../model/repair.ts"
import { makeScrubPlan, type ScrubOptions, type ScrubReport, scrubOptionNames } from "../model/scrub.ts"
import type { Compressor } from "../port/compressor.ts"
import type { Directory } from "../port/directory.ts"
import type { EventLoop } from "../port/event_loop.ts"
import type { RootLock } from "../port/root_lock.ts"
import { type Aof, makeAof } from "./aof.ts"
import { moveBucketWith } from "./move_bucket.ts"
import { openAbsolute } from "./open_absolute.ts"
import { closeWith, runPromise, runWith, type WaitOptions } from "./promise.ts"
import { quietEvents, quietPlan } from "./quiet_events.ts"
import { reconcileHere } from "./reconcile.ts"
import { repairWith } from "./repair.ts"
import {
  type CodecStreamOptions,
  type JsonStreamOptions,
  type StreamOptions,
  streamOptionNames,
} from "./stream_options.ts"

/** The services that an adapter gives. */
export type RuntimeServices = Directory | RootLock | EventLoop | Compressor
/** The layer of an adapter. */
export type RuntimeLayer = Layer.Layer<RuntimeServices>

/** The manager of promises around an open one; `scope` is closed with it. */
export const dressManager = (core: CoreManager.CoreManager, scope: Scope.Closeable): AofManager =>
  makeManager(core, scope)

/** Opens the root of `options` with the services of `layer`. */
export const openWith = (layer: RuntimeLayer, options: AofManagerOptions): Promise<AofManager> =>
  openAs(dressManager, layer, options)

/** Opens the same as what `dress` makes: a manager of a class that fixes an adapter. */
export const openAs = async <M extends AofManager>(
  dress: (core: CoreManager.CoreManager, scope: Scope.Closeable) => M,
  layer: RuntimeLayer,
  options: AofManagerOptions,
): Promise<M> => {
  const scope = Scope.makeUnsafe()
  const opened = Effect.flatMap(
    attempt(() => quietEvents(makeConfig(options))),
    (config) =>
      Effect.flatMap(Layer.buildWithScope(layer, scope), (context) =>
        openAbsolute(config, openManager).pipe(Effect.provide(context), Scope.provide(scope)),
      ),
  )
  try {
    return dress(await runPromise(opened, options?.signal), scope)
  } catch (error) {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    throw error
  }
}

/** Repairs the root of `options` with the services of `layer`. */
export const repairPromise = (layer: RuntimeLayer, options: RepairOptions): Promise<RepairReport> =>
  runPromise(repairWith(layer, options), options?.signal)

/** Set by the class, so that nobody outside sees of what a manager is made. */
let makeManager: (core: CoreManager.CoreManager, scope: Scope.Closeable) => AofManager

/** Owns a root: its lock, its manifest and its streams. Made by `AofManager.open`. */
export class AofManager {
  static {
    makeManager = (core, scope) => new AofManager(core as never, scope as never)
  }

  readonly #core: CoreManager.CoreManager
  readonly #scope: Scope.Closeable
  /** What a directory to move to is opened with. */
  #places: Promise<Context.Context<RuntimeServices>> | undefined = undefined
  readonly #streams: WeakMap<StreamState, { readonly aof: unknown; readonly codec: Codec<unknown> | undefined }> =
    new WeakMap()

  /** For `open` of this class and of those that fix an adapter: what it takes only they have. */
  protected constructor(core: never, scope: never) {
    this.#core = core
    this.#scope = scope
  }

  /**
   * Opens a root with the adapter of the runtime that this is. Rejects with `InvalidArgument` for an option or a format that is not
   * known, `Unavailable` when the root is held (`holder`), is a file, or the disk or its permissions do not allow it, and `NotFound`
   * when a read-only root is not there.
   */
  static async open(options: AofManagerOptions): Promise<AofManager> {
    return openWith(await runtimeLayer(), options)
  }

  /**
   * Repairs a store that nobody has open, or, with `plan`, tells what a repair would do. Rejects with `InvalidArgument`, `NotFound` when there
   * is no store, `Corrupt` when nothing says whose the files are, and `Unavailable` when the root is held or the disk fails.
   */
  static async repair(options: RepairOptions): Promise<RepairReport> {
    return repairPromise(await runtimeLayer(), options)
  }

  /** What opening found out of order. */
  get recovery(): Recovery {
    return this.#core.recovery
  }

  /** The root, as it was given. */
  get root(): string {
    return this.#core.config.rootGiven
  }

  /** Opens or makes a stream of JSON values; the same name gives the same object. Rejects with `InvalidArgument`, `NotFound`, `Unavailable`, `Closed`. */
  stream<V = any>(name: string, options: JsonStreamOptions): Promise<Aof<V, V>>
  /** Opens or makes a stream of the codec's values. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Promise<Aof<V, V>>
  /** Opens or makes a stream of bytes or text. */
  stream(name: string, options?: StreamOptions): Promise<Aof>
  async stream(name: string, options: StreamOptions & { readonly codec?: unknown } = {}): Promise<Aof<any, any>> {
    checkNames("stream option", options, streamOptionNames)
    const codec = checkCodec(options.codec)
    const { codec: _, signal, ...rest } = options
    const state = await runPromise(this.#core.stream(name, rest), signal)
    const known = this.#streams.get(state)
    if (known === undefined) {
      const aof = makeAof<any, any>(state, this.#core, codec)
      this.#streams.set(state, { aof, codec })
      return aof
    }
    checkSameCodec(name, codec, known.codec)
    return known.aof as Aof<any, any>
  }

  /** The names of all streams, in order. Throws `Closed`. */
  streams(): Array<string> {
    return [...this.#core.names()]
  }

  /** Deletes a stream with all its records, durably. Rejects with `NotFound`. Its name may be used again, its id never is. */
  deleteStream(name: string, options: WaitOptions = {}): Promise<void> {
    return closeWith(() => runPromise(this.#core.deleteStream(name)), options)
  }

  /** Everything that the manager counts, at this moment: for metrics and dashboards. */
  observe(): TieredObservabilitySnapshot {
    return observe(this.#core.services, this.#core.openStreams())
  }

  /**
   * Resolves when the tiers have nothing left to do now: no compression, upload, hydration or deletion runs or is due. What waits for its next try
   * is not due: while the bucket does not answer it resolves with a backlog (`observe().backlog`). Whether all is in the bucket says `stream.evict({ to: "tier2" })`.
   * Rejects with `Closed`, also when the manager is closed meanwhile.
   */
  settled(options: WaitOptions = {}): Promise<void> {
    return runWith(() => this.#core.settled, options)
  }

  /**
   * Writes a record of your own into the manifest, durably: `kind` is an unsigned 32-bit number, the payload at most 4 096 bytes. The
   * inspector shows it. Rejects with `InvalidArgument`, `Closed`, `Unavailable`.
   */
  customEvent(kind: number, payload: Uint8Array, options: WaitOptions = {}): Promise<void> {
    return runWith(() => this.#core.customEvent(kind, payload), options)
  }

  /**
   * Reads everything that the root holds and checks it, in all tiers and at a bounded rate; what another copy can make good is made good.
   * Rejects with `InvalidArgument`, `NotFound` for a stream that is not there, and `Closed`. Damage is in the report, and never rejects.
   */
  async scrub(options: ScrubOptions & WaitOptions = {}): Promise<ScrubReport> {
    checkNames("scrub option", options, [...scrubOptionNames, "signal"])
    const { signal, ...rest } = options
    return runPromise(this.#core.scrub(quietPlan(makeScrubPlan(rest))), signal)
  }

  /**
   * Lists Tier 2 and compares it with the manifest. Objects of this root that nothing names are queued for removal, after `tier2.deleteGraceMs`; segments
   * whose object is missing, or has another length, are uploaded again where there is a local copy, or copied from the store `from`. With `plan` it only tells. Rejects with
   * `InvalidArgument` when there is no Tier 2, `Fenced`, `Unavailable`, `Closed`.
   */
  async reconcile(options: ReconcileOptions & WaitOptions = {}): Promise<ReconcileReport> {
    checkNames("reconcile option", options, [...reconcileOptionNames, "signal"])
    const { signal, ...rest } = options
    return runPromise(Effect.provide(reconcileHere(this.#core, rest), await runtimeLayer()), signal)
  }

  /**
   * Moves the root to the bucket `to` while it is open: copies its objects, puts a HEAD there, and goes on there; appends and reads go on meanwhile. HEAD of the old
   * bucket says then that the root has moved, so that nobody takes it over. The next `open` has to name the new bucket. Rejects with `InvalidArgument` when there is no
   * bucket or `to` is the present one, `Fenced` when `to` holds another root or the root is lost, `Unavailable`; the root is where it was then. `Closed` when the manager is closed meanwhile: the root is where it was, or in `to`.
   */
  async moveBucket(options: MoveBucketOptions & WaitOptions): Promise<MoveBucketReport> {
    checkNames("moveBucket option", options, [...moveBucketOptionNames, "signal"])
    const { signal, ...rest } = options
    this.#places ??= Effect.runPromise(Layer.buildWithScope(await runtimeLayer(), this.#scope))
    return runPromise(moveBucketWith(this.#core, rest, await this.#places), signal)
  }

  /** Drains all streams, closes them in order and gives the lock back, within `closeTimeoutMs`; a second close does nothing. */
  close(options: WaitOptions = {}): Promise<void> {
    return closeWith(() => this.#close(), options)
  }

  async #close(): Promise<void> {
    try {
      await runPromise(this.#core.close)
    } finally {
      await Effect.runPromise(Scope.close(this.#scope, Exit.void))
    }
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The adapter of this runtime, loaded when it is needed. */
export const runtimeLayer = async (): Promise<RuntimeLayer> => {
  if ("Bun" in globalThis) return withCompressor((await import("../runtime/bun.ts")).layer)
  if ("Deno" in globalThis) return withCompressor((await import("../runtime/deno.ts")).layer)
  return withCompressor((await import("../runtime/node.ts")).layer)
}
