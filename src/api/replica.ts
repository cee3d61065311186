/** A replica: reads what a writer on another machine has put into its bucket, with nothing but the bucket. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { attempt } from "../core/attempt.ts"
import { HeadStore } from "../core/head_store.ts"
import type { CoreManager } from "../core/manager.ts"
import { ReplicaSource } from "../core/replica_source.ts"
import { makeConfig } from "../model/config.ts"
import { closed } from "../model/errors.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import { makeReplicaConfig, type ReplicaConfig, type ReplicaInfo, type ReplicaOptions } from "../model/replica.ts"
import { makeTier2Config } from "../model/tier2_config.ts"
import { Directory } from "../port/directory.ts"
import type { ObjectStore } from "../port/object_store.ts"
import type { Aof, WaitOptions } from "./aof.ts"
import { type AofManager, openWith, runtimeLayer } from "./manager.ts"
import { openStore } from "./object_store.ts"
import { runPromise } from "./promise.ts"
import type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./stream_options.ts"

/** Where the root is in the memory of a replica. */
const root = "/replica"

interface ReplicaParts {
  readonly source: ReplicaSource
  readonly manager: AofManager
  readonly core: CoreManager
  readonly pollMs: number
  readonly release: () => Promise<void>
}

let makeReplica: (parts: ReplicaParts) => Replica

/**
 * Reads streams out of a bucket, as their writer has put them there. Nothing is written, neither to the bucket nor to a disk: what was read is kept in
 * memory. Any number of replicas may follow one bucket.
 */
export class Replica {
  static {
    makeReplica = (parts) => new Replica(parts)
  }

  readonly #parts: ReplicaParts
  readonly #following: Fiber.Fiber<never>
  #closing: Promise<void> | undefined = undefined

  private constructor(parts: ReplicaParts) {
    this.#parts = parts
    const { source, pollMs, core } = parts
    this.#following = Effect.runFork(source.follow(pollMs, Effect.ignore(core.manifest.refresh)))
  }

  /** Opens a stream of JSON values to read. Rejects with `NotFound`, `Closed`. */
  stream<V = any>(name: string, options: JsonStreamOptions): Promise<Aof<V, V>>
  /** Opens a stream of the codec's values to read. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Promise<Aof<V, V>>
  /** Opens a stream to read. What would change it is `InvalidArgument`. */
  stream(name: string, options?: StreamOptions): Promise<Aof>
  stream(name: string, options: StreamOptions & { readonly codec?: unknown } = {}): Promise<Aof<any, any>> {
    return this.#parts.manager.stream(name, options as StreamOptions)
  }

  /** The names of all streams that the bucket has, in order. Throws `Closed`. */
  streams(): Array<string> {
    return this.#parts.manager.streams()
  }

  /** Asks the bucket now; true when there was something new. Rejects with `Unavailable`, `Closed`. */
  async poll(options: WaitOptions = {}): Promise<boolean> {
    if (this.#closing !== undefined) throw closed("replica")
    const { source, core } = this.#parts
    const isNew = await runPromise(source.poll, options.signal)
    if (isNew) await runPromise(core.manifest.refresh, options.signal)
    return isNew
  }

  /** What it knows of the bucket. */
  info(): ReplicaInfo {
    return this.#parts.source.info
  }

  /** Everything that is counted, at this moment. */
  observe(): TieredObservabilitySnapshot {
    return this.#parts.manager.observe()
  }

  /** Ends polling and all reads; a second close does nothing. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    await Effect.runPromise(Fiber.interrupt(this.#following))
    try {
      await this.#parts.manager.close()
    } finally {
      await this.#parts.release()
    }
  }
}

/**
 * Opens a replica of the root in a bucket. Rejects with `NotFound` when there is none, `InvalidArgument` for an option, `Unavailable` when the bucket does
 * not answer.
 */
export const openReplica = async (options: ReplicaOptions): Promise<Replica> => {
  const scope = Scope.makeUnsafe()
  const release = (): Promise<void> => Effect.runPromise(Scope.close(scope, Exit.void))
  try {
    const config = await runPromise(attempt(() => makeReplicaConfig(options)))
    const store = await storeOf(config, scope, options.signal)
    return await openOver(store, { config, release, signal: options.signal })
  } catch (error) {
    await release()
    throw error
  }
}

const openOver = async (
  store: ObjectStore,
  given: {
    readonly config: ReplicaConfig
    readonly release: () => Promise<void>
    readonly signal: AbortSignal | undefined
  },
): Promise<Replica> => {
  const { config, release, signal } = given
  const { pollMs, cacheBytes, client, onEvent } = config
  // Only who has a replica pays for its disk in memory.
  const { MemoryDisk } = await import("../testing/memory_disk.ts")
  const disk = new MemoryDisk({ modelsCrashes: false })
  const clock = await Effect.runPromise(Clock.Clock)
  const directory = await Effect.runPromise(Effect.provide(Directory, disk.services()))
  const source = new ReplicaSource({
    headStore: new HeadStore({
      store,
      config: makeTier2Config(client),
      random32: () => Math.floor(Math.random() * 2 ** 32),
      send: (_, __, request) => request,
    }),
    directory,
    root,
    emit: (event) => onEvent?.({ ...event, timestampMs: clock.currentTimeMillisUnsafe() }),
  })
  await runPromise(source.open, signal)
  let core: CoreManager | undefined
  const manager = await openWith(
    disk.layer,
    { root, readOnly: true, onEvent, signal, tier0: { frameCacheBytes: cacheBytes }, tier2: { ...client, store } },
    (opened) => {
      core = opened
    },
  )
  return makeReplica({ source, manager, core: core!, pollMs, release })
}

/** A directory is one of this machine, not of the replica's memory. */
const storeOf = async (
  { store, client }: ReplicaConfig,
  scope: Scope.Closeable,
  signal: AbortSignal | undefined,
): Promise<ObjectStore> => {
  const layer = await runtimeLayer()
  const opened = Effect.flatMap(
    attempt(() => makeConfig({ root, readOnly: true, tier2: { ...client, store } })),
    (config) =>
      Effect.flatMap(Layer.buildWithScope(layer, scope), (context) =>
        Effect.provide(openStore(config), context).pipe(Scope.provide(scope)),
      ),
  )
  return (await runPromise(opened, signal))!
}
