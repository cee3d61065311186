/** A replica as both dresses have it: a read-only manager over a root in memory, which follows the bucket until its scope ends. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { rootIdText } from "../core/bucket/head_fence.ts"
import { HeadStore } from "../core/bucket/head_store.ts"
import { attempt } from "../core/flow/attempt.ts"
import { LongCalls } from "../core/flow/long_calls.ts"
import { keepNoContext } from "../core/flow/plain_fiber.ts"
import type { CoreManager } from "../core/manager.ts"
import { openManager } from "../core/open_manager.ts"
import { ReplicaRegistration } from "../core/replica/replica_registration.ts"
import { ReplicaSource } from "../core/replica/replica_source.ts"
import { type AofManagerOptions, makeConfig } from "../model/config.ts"
import type { AofError } from "../model/errors.ts"
import { makeReplicaConfig, type ReplicaConfig, type ReplicaInfo, type ReplicaOptions } from "../model/replica.ts"
import type { TierEventInput } from "../model/tier_event.ts"
import { makeTier2Config } from "../model/tier2_config.ts"
import type { Compressor } from "../port/compressor.ts"
import { Directory } from "../port/directory.ts"
import type { EventLoop } from "../port/event_loop.ts"
import type { ObjectStore } from "../port/object_store.ts"
import type { RootLock } from "../port/root_lock.ts"
import { openStore } from "./object_store.ts"
import { quietEvents } from "./quiet_events.ts"

/** Where the root is in the memory of a replica. */
const root = "/replica"

/** Makes the disk that a replica keeps its root on: one in memory, which only those pay for who have a replica. The simulator puts its own here. */
export const ReplicaDisk: Context.Reference<
  Effect.Effect<Context.Context<Directory | RootLock | EventLoop | Compressor>>
> = Context.Reference("bop-aof/api/ReplicaDisk", {
  defaultValue: () =>
    Effect.map(
      Effect.promise(() => import("../testing/memory_disk.ts")),
      ({ MemoryDisk }) => new MemoryDisk({ modelsCrashes: false }).services(),
    ),
})

/** What both dresses of a replica show. */
export interface CoreReplica {
  readonly manager: CoreManager
  /** Asks the bucket now; true when there was something new. */
  readonly poll: Effect.Effect<boolean, AofError>
  readonly info: () => ReplicaInfo
}

/** Opens a replica with the directory of this machine for a bucket that is one. The end of the scope closes it. */
export const openCoreReplica: (
  options: ReplicaOptions,
) => Effect.Effect<CoreReplica, AofError, Directory | RootLock | Scope.Scope> = Effect.fnUntraced(function* (
  options: ReplicaOptions,
): Effect.fn.Return<CoreReplica, AofError, Directory | RootLock | Scope.Scope> {
  const config = yield* attempt(() => makeReplicaConfig(options))
  const { store: place, client, pollMs, cacheBytes, onEvent } = config
  const store = (yield* openStore(
    yield* attempt(() => makeConfig({ root, readOnly: true, tier2: { ...client, store: place } })),
  ))!
  const disk = yield* yield* ReplicaDisk
  const source = yield* Effect.provideContext(openSource(store, config), disk)
  const managed: AofManagerOptions = {
    root,
    readOnly: true,
    onEvent,
    tier0: { frameCacheBytes: cacheBytes },
    tier2: { ...client, store: place },
  }
  const managerConfig = yield* attempt(() => quietEvents(makeConfig(managed)))
  const manager = yield* Effect.provideContext(openManager(managerConfig, store), disk)
  const { refresh } = manager.manifest
  // It has just been opened with what was taken in.
  yield* source.show(Effect.void)
  keepNoContext(yield* Effect.forkScoped(source.follow(pollMs, refresh)))
  const calls = new LongCalls("replica")
  // Polls can be interrupted at once.
  yield* Effect.addFinalizer(() => calls.end(managerConfig.closeTimeoutMs, () => 0))
  const poll = calls.run(Effect.tap(source.poll, () => source.show(refresh)))
  return { manager, poll, info: () => source.info }
})

/** The follower of a bucket, registered there when it is to be. */
const openSource = Effect.fnUntraced(function* (
  store: ObjectStore,
  { client, leaseMs, onEvent }: ReplicaConfig,
): Effect.fn.Return<ReplicaSource, AofError, Directory | Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const random32 = (): number => random.nextIntUnsafe() >>> 0
  const emit = (event: TierEventInput): void => onEvent?.({ ...event, timestampMs: clock.currentTimeMillisUnsafe() })
  const headStore = new HeadStore({
    store,
    config: makeTier2Config(client),
    random32,
    send: (_, __, request) => request,
  })
  const source = new ReplicaSource({ headStore, directory: yield* Directory, root, emit })
  yield* source.open
  if (leaseMs === 0) return source
  const registration = new ReplicaRegistration({
    headStore,
    rootId: rootIdText(source.rootId!),
    id: [random32(), random32()].map((word) => word.toString(16).padStart(8, "0")).join(""),
    leaseMs,
    lastSequence: () => source.shownSequence,
    emit,
  })
  // First: it can be interrupted, and may have arrived then.
  yield* Effect.addFinalizer(() => registration.end)
  yield* registration.renew
  keepNoContext(yield* Effect.forkScoped(registration.keep))
  // What went before it was registered, a HEAD that is newer does not name.
  yield* source.poll
  return source
})
