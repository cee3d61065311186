/** A replica as Effects: reads what a writer on another machine has put into its bucket, with nothing but the bucket. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { attempt } from "../core/flow/attempt.ts"
import { checkNames } from "../model/config_check.ts"
import type { AofError } from "../model/errors.ts"
import type { TieredObservabilitySnapshot } from "../model/observability.ts"
import { type ReplicaInfo, replicaOptionNames } from "../model/replica.ts"
import type { Directory } from "../port/directory.ts"
import type { RootLock } from "../port/root_lock.ts"
import type { Aof } from "./effect_aof.ts"
import { type AofManager, dressManager } from "./effect_manager.ts"
import {
  type CodecStreamOptions,
  type JsonStreamOptions,
  type ReplicaOptions,
  type StreamOptions,
  withoutSignal,
} from "./effect_options.ts"
import { type CoreReplica, openCoreReplica } from "./replica_open.ts"

let makeReplica: (core: CoreReplica, scope: Scope.Closeable) => Replica

/** Reads from a bucket what a writer has put there. Made by `openReplica`. */
export class Replica {
  static {
    makeReplica = (core, scope) => new Replica(core, scope)
  }

  /** A read-only manager of the streams that the bucket has. */
  readonly manager: AofManager
  /** Asks the bucket now; true when there was something new. Fails with `Unavailable`, `Closed`. */
  readonly poll: () => Effect.Effect<boolean, AofError>
  /** What it knows of the bucket. */
  readonly info: () => ReplicaInfo
  readonly #scope: Scope.Closeable

  private constructor({ manager, poll, info }: CoreReplica, scope: Scope.Closeable) {
    this.manager = dressManager(manager)
    this.poll = () => poll
    this.info = info
    this.#scope = scope
  }

  /** Opens a stream of JSON values to read. Fails with `NotFound`, `Closed`. */
  stream<V = any>(name: string, options: JsonStreamOptions): Effect.Effect<Aof<V, V>, AofError>
  /** Opens a stream of the codec's values to read. */
  stream<V>(name: string, options: CodecStreamOptions<V>): Effect.Effect<Aof<V, V>, AofError>
  /** Opens a stream to read. What would change it is `InvalidArgument`. */
  stream(name: string, options?: StreamOptions): Effect.Effect<Aof, AofError>
  stream(
    name: string,
    options: StreamOptions & { readonly codec?: unknown } = {},
  ): Effect.Effect<Aof<any, any>, AofError> {
    return this.manager.stream(name, options as StreamOptions)
  }

  /** The names of all streams that the bucket has, in order. Throws `Closed`. */
  streams(): Array<string> {
    return this.manager.streams()
  }

  /** Everything that is counted, at this moment. */
  observe(): TieredObservabilitySnapshot {
    return this.manager.observe()
  }

  /** Ends polling and all reads before the scope ends; a second close does nothing. */
  close(): Effect.Effect<void, AofError> {
    return Effect.ensuring(this.manager.close(), Scope.close(this.#scope, Exit.void))
  }
}

/** Opens a replica of the root in a bucket; the end of the scope closes it. Fails like the main module's. */
export const openReplica: (
  options: ReplicaOptions,
) => Effect.Effect<Replica, AofError, Directory | RootLock | Scope.Scope> = Effect.fnUntraced(function* (
  options: ReplicaOptions,
): Effect.fn.Return<Replica, AofError, Directory | RootLock | Scope.Scope> {
  yield* attempt(() => checkNames("replica option", options, withoutSignal(replicaOptionNames)))
  const scope = yield* Scope.fork(yield* Scope.Scope)
  return makeReplica(yield* Scope.provide(openCoreReplica(options), scope), scope)
})
