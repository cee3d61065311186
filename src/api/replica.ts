/** A replica: reads what a writer on another machine has put into its bucket, with nothing but the bucket. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { closed } from "../model/errors.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import type { ReplicaInfo, ReplicaOptions } from "../model/replica.ts"
import type { Aof } from "./aof.ts"
import { type AofManager, dressManager, runtimeLayer } from "./manager.ts"
import { runPromise, runWith, type WaitOptions } from "./promise.ts"
import { type CoreReplica, openCoreReplica } from "./replica_open.ts"
import type { CodecStreamOptions, JsonStreamOptions, StreamOptions } from "./stream_options.ts"

let makeReplica: (core: CoreReplica, scope: Scope.Closeable) => Replica

/**
 * Reads streams out of a bucket, as their writer has put them there. Nothing is written to a disk, and to the bucket only the registration
 * that `leaseMs` asks for: what was read is kept in memory. Any number of replicas may follow one bucket.
 */
export class Replica {
  static {
    makeReplica = (core, scope) => new Replica(core, scope)
  }

  readonly #core: CoreReplica
  readonly #manager: AofManager
  #closing: Promise<void> | undefined = undefined

  private constructor(core: CoreReplica, scope: Scope.Closeable) {
    this.#core = core
    this.#manager = dressManager(core.manager, scope)
  }

  /** Opens a stream of JSON values to read. Rejects with `NotFound`, `Closed`. */
  stream<V = any>(name: string, options: JsonStreamOptions): Promise<Aof<V, V>>
  /** Opens a stream of the codec's values to read. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Promise<Aof<V, V>>
  /** Opens a stream to read. What would change it is `InvalidArgument`. */
  stream(name: string, options?: StreamOptions): Promise<Aof>
  stream(name: string, options: StreamOptions & { readonly codec?: unknown } = {}): Promise<Aof<any, any>> {
    return this.#manager.stream(name, options as StreamOptions)
  }

  /** The names of all streams that the bucket has, in order. Throws `Closed`. */
  streams(): Array<string> {
    return this.#manager.streams()
  }

  /** Asks the bucket now; true when there was something new. Rejects with `Unavailable`, `Closed`. */
  async poll(options: WaitOptions = {}): Promise<boolean> {
    if (this.#closing !== undefined) throw closed("replica")
    return runWith(() => this.#core.poll, options)
  }

  /** What it knows of the bucket. */
  info(): ReplicaInfo {
    return this.#core.info()
  }

  /** Everything that is counted, at this moment. */
  observe(): TieredObservabilitySnapshot {
    return this.#manager.observe()
  }

  /** Ends polling and all reads; a second close does nothing. */
  close(): Promise<void> {
    this.#closing ??= this.#manager.close()
    return this.#closing
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Opens a replica of the root in a bucket. Rejects with `NotFound` when there is none, `InvalidArgument` for an option, `Unavailable` when the bucket does
 * not answer.
 */
export const openReplica = async (options: ReplicaOptions): Promise<Replica> => {
  const layer = await runtimeLayer()
  const scope = Scope.makeUnsafe()
  const opened = Effect.flatMap(Layer.buildWithScope(layer, scope), (context) =>
    openCoreReplica(options).pipe(Effect.provide(context), Scope.provide(scope)),
  )
  try {
    return makeReplica(await runPromise(opened, options?.signal), scope)
  } catch (error) {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    throw error
  }
}
