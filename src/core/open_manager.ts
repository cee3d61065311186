/**
 * Opens a root: lock, root file, manifest, then every stream. Works in a scope; closing the scope closes everything that was opened.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type { AofManagerConfig } from "../model/config.ts"
import { type AofError, unavailable } from "../model/errors.ts"
import type { TierEventInput } from "../model/tier_event.ts"
import { Compressor } from "../port/compressor.ts"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import type { ObjectStore } from "../port/object_store.ts"
import { RootLock } from "../port/root_lock.ts"
import { BufferPool } from "../state/staging_tail.ts"
import { makeBackground } from "./background.ts"
import { type CoreManager, Manager } from "./manager.ts"
import * as ManifestLog from "./manifest_log.ts"
import { OpenFiles } from "./open_files.ts"
import { openKnownStream } from "./open_stream.ts"
import { streamsPath } from "./paths.ts"
import { RecoveryReport } from "./recovery_report.ts"
import { removeDeleted } from "./removed_streams.ts"
import { createRoot, missingRoot, readRoot, syncNewRoot } from "./root.ts"
import type { StreamServices, StreamState } from "./stream_state.ts"
import { makeTier2 } from "./tier2.ts"
import { Tiers } from "./tiers.ts"

/** Streams recovered side by side: most of it is waiting for syncs. */
const recoveriesAtOnce = 8
/** Descriptors kept for reading sealed segments. */
const openFilesMax = 128

/** The services that a manager works with. */
export type ManagerServices = Directory | RootLock | EventLoop | Compressor

/** Opens the root of `config`; `store` is its Tier 2. */
export const openManager: (
  config: AofManagerConfig,
  store: ObjectStore | undefined,
) => Effect.Effect<CoreManager, AofError, ManagerServices | Scope.Scope> = Effect.fnUntraced(function* (config, store) {
  const directory = yield* Directory
  const clock = yield* Clock.Clock
  const startMs = clock.currentTimeMillisUnsafe()
  const random = yield* Random.Random
  const random32 = (): number => Math.floor(random.nextDoubleUnsafe() * 4294967296)
  let root = yield* readRoot(directory, config.root)
  if (config.readOnly) {
    if (root === undefined) return yield* Effect.fail(missingRoot(config.root))
  } else {
    yield* refuseNetwork(directory, config.root)
    yield* directory.makeDirectory(config.root)
    yield* (yield* RootLock).acquire(config.root)
    const rootId = new Uint8Array(16).map(() => random32() & 255)
    root =
      (yield* readRoot(directory, config.root)) ??
      (yield* createRoot(directory, config.root, { rootId, createdMs: startMs }))
    yield* directory.makeDirectory(streamsPath(config.root))
  }
  const scope = yield* Scope.fork(yield* Scope.Scope)
  const manifestOptions = { root: config.root, rootId: root.rootId, readOnly: config.readOnly, ...config.manifest }
  const manifest = yield* ManifestLog.open(manifestOptions).pipe(Scope.provide(scope))
  const background = yield* makeBackground
  const openFiles = new OpenFiles(openFilesMax)
  const eventLoop = yield* EventLoop
  const emit = (event: TierEventInput): void =>
    config.onEvent?.({ ...event, timestampMs: clock.currentTimeMillisUnsafe() })
  const tier2Config = config.tier2.client
  const tier2 = store && makeTier2({ store, config: tier2Config, emit, clock, random32 })
  const compressor = yield* Compressor
  const { fork } = background
  const common = { config, rootId: root.rootId, directory, eventLoop, clock, manifest, openFiles }
  const tiers = new Tiers({ ...common, compressor, fork, tier2, emit })
  yield* Scope.addFinalizer(scope, tiers.close(0))
  const services: StreamServices = {
    ...common,
    random32,
    tiers,
    pool: makePool(config),
    run: background.run,
  }
  yield* Scope.addFinalizer(scope, Effect.sync(background.stop))
  if (!config.readOnly && manifest.state.nextStreamId === 1) yield* syncNewRoot(directory, config.root)
  const manager = yield* makeManager(services, scope, startMs)
  yield* Scope.addFinalizer(yield* Scope.Scope, Effect.ignore(manager.close))
  return manager
})

const makePool = (config: AofManagerConfig): BufferPool => {
  // A buffer is reserved in Tier 0 before it is filled: several must fit.
  const bufferBytes = Math.min(config.stagingBytes, config.unflushedBytesMax, Math.floor(config.tier0.bytesMax / 8))
  // All that a busy stream fills between two syncs: fresh memory costs more than what is copied into it.
  return new BufferPool(bufferBytes, Math.ceil(config.unflushedBytesMax / bufferBytes) + 1)
}

/** A network file system keeps neither locks nor syncs as promised. */
const refuseNetwork = Effect.fnUntraced(function* (directory: Directory, root: string) {
  const kind = yield* directory.networkFileSystem(root)
  if (kind !== undefined)
    return yield* Effect.fail(unavailable(`opening a root on a network file system (${kind})`, "ENOTSUP", root))
})

const makeManager = Effect.fnUntraced(function* (services: StreamServices, scope: Scope.Closeable, startMs: number) {
  const { config, manifest, clock } = services
  const report = new RecoveryReport()
  const streams = new Map<string, StreamState>()
  if (!config.readOnly) yield* removeDeleted(services, report)
  const named = [...manifest.state.streams.values()].filter((known) => known.name !== "")
  // No retention before the stream is asked for: its options may keep more than the manager's.
  const recovered = yield* Effect.forEach(
    named,
    (known) => openKnownStream(services, known, { retention: {} }, report),
    {
      concurrency: recoveriesAtOnce,
    },
  )
  for (const stream of recovered) streams.set(stream.name, stream)
  const damage = manifest.replay.damage.map((one) => `${one.file}, bytes ${one.from} to ${one.to}: ${one.why}`)
  services.tiers.start()
  const recovery = report.finish(clock.currentTimeMillisUnsafe() - startMs, damage)
  return new Manager({ services, scope, streams, recovery })
})
