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
import { StagingBudget } from "../state/staging_budget.ts"
import { requestFlush } from "./append/flusher.ts"
import { PoolTrim } from "./append/pool_trim.ts"
import { SyncGauge } from "./append/sync_gauge.ts"
import { type BucketOpening, type OpenedBucket, openBucket } from "./bucket/bucket_open.ts"
import { watchSealAge } from "./bucket/bucket_seal_age.ts"
import { Fence } from "./bucket/head_fence.ts"
import { fenceStream } from "./bucket/head_fence_stream.ts"
import { leaveGaps, noteNothingLocal } from "./bucket/restore_gaps.ts"
import { readMarker, removeMarker } from "./bucket/restore_marker.ts"
import { compressorWithRoom, directoryWithRoom } from "./files/descriptor_room.ts"
import { OpenFiles } from "./files/open_files.ts"
import { streamsPath } from "./files/paths.ts"
import { refuseRootLinks } from "./files/refuse_links.ts"
import { Reserve } from "./files/reserve.ts"
import { createRoot, makeRootDirectory, mendRoot, missingRoot, readRoot, syncNewRoot } from "./files/root.ts"
import { guardedCompressor, guardedDirectory, RootGuard } from "./files/root_guard.ts"
import { SharedFolder } from "./files/shared_folder.ts"
import { SyncsTogether } from "./files/syncs_together.ts"
import { makeBackground } from "./flow/background.ts"
import { steadyClock } from "./flow/steady_clock.ts"
import { type OpenedJournal, openJournal } from "./journal/journal_open.ts"
import { type CoreManager, Manager } from "./manager.ts"
import * as ManifestLog from "./manifest/manifest_log.ts"
import { ReadingTurns } from "./read/reading_turns.ts"
import { RecoveryReport } from "./recovery/recovery_report.ts"
import { adoptLost, renewManifest } from "./recovery/recovery_restore.ts"
import { openKnownStream } from "./stream/open_stream.ts"
import { removeDeleted, reportUnknown } from "./stream/removed_streams.ts"
import { type StreamServices, type StreamState, unflushedBytes, wakeReady } from "./stream/stream_state.ts"
import { StoreSwitch } from "./tier2/store_switch.ts"
import { makeTier2, type Tier2 } from "./tier2/tier2.ts"
import { Tiers } from "./tiers/tiers.ts"

/** Streams recovered side by side, by syncs of their own and by those of many: most of it is waiting for them. */
const [recoveriesAtOnce, recoveriesTogether] = [8, 16]
/** Descriptors kept for reading sealed segments: 20 GiB of the usual size. */
const openFilesMax = 320
/** Mappings that readers hold: 64 GiB of segments of the usual size. */
const mappedFilesMax = 1024

/** The services that a manager works with. */
export type ManagerServices = Directory | RootLock | EventLoop | Compressor

/** Opens the root of `config`; `store` is its Tier 2. */
export const openManager: (
  config: AofManagerConfig,
  store: ObjectStore | undefined,
) => Effect.Effect<CoreManager, AofError, ManagerServices | Scope.Scope> = Effect.fnUntraced(function* (config, given) {
  const openFiles = new OpenFiles(openFilesMax, mappedFilesMax)
  const guard = new RootGuard()
  const directory = directoryWithRoom(guardedDirectory(yield* Directory, guard), openFiles)
  const clock = yield* Clock.Clock
  const steady = steadyClock(clock)
  const startMs = clock.currentTimeMillisUnsafe()
  const random = yield* Random.Random
  const random32 = (): number => Math.floor(random.nextDoubleUnsafe() * 4294967296)
  const emit = (event: TierEventInput): void =>
    config.onEvent?.({ ...event, timestampMs: clock.currentTimeMillisUnsafe() })
  const store = given && new StoreSwitch(given)
  const tier2 = store && makeTier2({ store, config: config.tier2.client, emit, clock: steady, random32 })
  const fence = new Fence()
  endBehind(guard, fence, emit)
  yield* refuseRootLinks(directory, config.root)
  const { currentTimeMillisUnsafe: nowMs, wallMsUnsafe: wallMs } = steady
  const found = config.readOnly
    ? { root: yield* readRoot(directory, config.root), opened: undefined }
    : yield* openRoot({ config, directory, guard, store, tier2, fence, nowMs, wallMs, random32, emit })
  const { root, opened } = found
  if (root === undefined) return yield* Effect.fail(missingRoot(config.root))
  const isRootDamaged = yield* mendRoot(directory, config.root, { file: root, isReadOnly: config.readOnly })
  const scope = yield* Scope.fork(yield* Scope.Scope)
  const reserve = new Reserve(directory, config.root)
  const manifest = yield* ManifestLog.open({
    root: config.root,
    rootId: root.rootId,
    readOnly: config.readOnly,
    makeRoom: reserve.give,
    ...config.manifest,
    hooks: opened?.bucket.hooks,
  }).pipe(Scope.provide(scope), Effect.provideService(Directory, directory))
  const background = yield* makeBackground
  const eventLoop = yield* EventLoop
  const compressor = compressorWithRoom(guardedCompressor(yield* Compressor, guard), openFiles)
  const common = { config, rootId: root.rootId, directory, eventLoop, clock, manifest, openFiles }
  const bucket = opened?.bucket
  if (bucket !== undefined) yield* bucket.attach(manifest)
  const readingTurns = new ReadingTurns({ eventLoop, nowMs, run: background.run })
  const gauge = new SyncGauge(config.inlineSyncMsMax, clock)
  const forTiers = { ...common, readingTurns, isDiskWanted: () => gauge.isInUse, compressor, tier2, bucket }
  const tiers = new Tiers({ ...forTiers, fork: background.fork, clock: steady, emit, reserve })
  yield* Scope.addFinalizer(scope, tiers.abandon)
  const forJournal = { config, directory, clock: steady, random32, eventLoop, gauge, run: background.run }
  const journal = yield* openJournal(forJournal, root)
  yield* Scope.addFinalizer(scope, journal.close)
  readingTurns.isUrgent = () => journal.shared.isSyncing
  const together = new SyncsTogether(directory, config, eventLoop)
  yield* Scope.addFinalizer(scope, together.close)
  const services: StreamServices = {
    ...common,
    directory: together.directory,
    nowMs: () => clock.currentTimeMillisUnsafe(),
    readingTurns,
    random32,
    tiers,
    fence,
    shared: journal.shared,
    gauge,
    streamsFolder: new SharedFolder(together.directory, streamsPath(config.root)),
    ...makeStaging(config, eventLoop, background.run),
    run: background.run,
  }
  yield* Scope.addFinalizer(scope, Effect.sync(background.stop))
  if (!config.readOnly && manifest.state.nextStreamId === 1) yield* syncNewRoot(directory, config.root)
  const parts = { startMs, journal, isRootDamaged, isRestored: opened?.isRestored === true, store, together }
  return yield* makeManager(services, scope, parts)
})

/** The writer has lost its root when that is not where it was opened. */
const endBehind = (guard: RootGuard, fence: Fence, emit: (event: TierEventInput) => void): void => {
  fence.look = () => guard.checkUnsafe()
  guard.onLost = (error) => {
    fence.raise(error)
    emit({ name: "root_lost", level: "error", reason: error.message })
  }
}

/** Takes the lock, asks the bucket whose root it is, and makes the root where there is none. */
const openRoot = Effect.fnUntraced(function* (
  parts: Omit<BucketOpening, "store" | "tier2"> & {
    readonly guard: RootGuard
    readonly store: ObjectStore | undefined
    readonly tier2: Tier2 | undefined
  },
) {
  const { config, directory, guard, store, tier2, nowMs, random32 } = parts
  yield* refuseNetwork(directory, config.root)
  yield* makeRootDirectory(directory, config.root)
  guard.watch(yield* (yield* RootLock).acquire(config.root))
  // Before the lock: scopes close backwards.
  yield* Scope.addFinalizer(
    yield* Scope.Scope,
    Effect.sync(() => guard.end()),
  )
  let root = yield* readRoot(directory, config.root)
  let opened: OpenedBucket | undefined
  if (config.tier2.isBucket && store !== undefined && tier2 !== undefined) {
    opened = yield* openBucket({ ...parts, store, tier2 }, root)
    root = opened.root
  } else if ((yield* readMarker(directory, config.root)) !== undefined) {
    const what = "opening a root that was being made from its bucket, without that bucket,"
    return yield* Effect.fail(unavailable(what, "ENOENT", config.root))
  }
  const rootId = opened?.bucket.rootId ?? new Uint8Array(16).map(() => random32() & 255)
  // What one that was killed on a full disk has left behind needs it.
  yield* new Reserve(directory, config.root).give
  root ??= yield* createRoot(directory, config.root, { rootId, createdMs: nowMs() })
  yield* directory.makeDirectory(streamsPath(config.root))
  return { root, opened }
})

const makeStaging = (
  config: AofManagerConfig,
  { nextTurn }: EventLoop,
  run: StreamServices["run"],
): Pick<StreamServices, "pool" | "staging" | "poolTrim"> => {
  // A buffer is reserved in Tier 0 before it is filled: several must fit.
  const bufferBytes = Math.min(config.stagingBytes, config.unflushedBytesMax, Math.floor(config.tier0.bytesMax / 8))
  const staging = new StagingBudget<StreamState>(bufferBytes, config.memory.stagingBytes, { wake: wakeReady, nextTurn })
  return { pool: staging.pool, staging, poolTrim: new PoolTrim(staging.pool, run) }
}

/** A network file system keeps neither locks nor syncs as promised. */
const refuseNetwork = Effect.fnUntraced(function* (directory: Directory, root: string) {
  const kind = yield* directory.networkFileSystem(root)
  if (kind !== undefined)
    return yield* Effect.fail(unavailable(`opening a root on a network file system (${kind})`, "ENOTSUP", root))
})

interface OpenedRoot {
  readonly journal: OpenedJournal
  readonly startMs: number
  readonly isRootDamaged: boolean
  readonly isRestored: boolean
  readonly store: StoreSwitch | undefined
  readonly together: SyncsTogether
}

const makeManager = Effect.fnUntraced(function* (
  services: StreamServices,
  scope: Scope.Closeable,
  { startMs, journal, isRootDamaged, isRestored, store, together }: OpenedRoot,
) {
  const { config, manifest, clock, fence, directory } = services
  const report = new RecoveryReport()
  report.isFromBucket = isRestored
  if (isRestored) yield* noteNothingLocal(services)
  const streams = new Map<string, StreamState>()
  if (config.readOnly) yield* reportUnknown(services, report)
  else {
    yield* adoptLost(services, report)
    yield* removeDeleted(services, report)
  }
  const named = [...manifest.state.streams.values()].filter((known) => known.name !== "")
  // No retention before the stream is asked for: its options may keep more than the manager's.
  const recovered = yield* Effect.forEach(
    named,
    (known) => openKnownStream(services, known, { retention: {} }, report),
    { concurrency: together.isPossible ? recoveriesTogether : recoveriesAtOnce },
  )
  yield* together.end
  for (const stream of recovered) streams.set(stream.name, stream)
  services.staging.onShort = () => {
    for (const stream of streams.values())
      if (stream.closedAs === undefined && unflushedBytes(stream) > 0) requestFlush(stream)
    services.shared.hurry()
  }
  const damage = manifest.replay.damage.map((one) => `${one.file}, bytes ${one.from} to ${one.to}: ${one.why}`)
  if (isRootDamaged) damage.unshift("ROOT: a byte of it had changed and was put right")
  if (report.isManifestShort)
    damage.push("manifest: a part of it is missing, as there are streams that it does not name")
  const journalDamage = config.readOnly ? [] : yield* journal.endRecovery(report.isJournalNeeded)
  damage.push(...journalDamage.map(({ detail }) => detail))
  if (!config.readOnly) yield* Effect.ignore(renewManifest(services, report))
  if (isRestored) {
    yield* leaveGaps(services, recovered)
    // Before anything is acknowledged: who takes over next leaves out other indexes.
    yield* services.tiers.services.bucket!.tell
    yield* removeMarker(directory, config.root)
  }
  fence.onRaise = (error) => {
    for (const stream of streams.values()) fenceStream(stream, error)
  }
  services.tiers.start()
  if (!config.readOnly && config.sealAfterMs !== undefined) {
    services.run(
      watchSealAge({ clock: services.tiers.services.clock, fence }, { sealAfterMs: config.sealAfterMs, streams }),
    )
  }
  const recovery = report.finish(Math.max(0, clock.currentTimeMillisUnsafe() - startMs), damage)
  const { rootFile } = journal
  const manager = new Manager({ services, scope, streams, recovery, journalDamage, rootFile, store })
  yield* Scope.addFinalizer(yield* Scope.Scope, Effect.ignore(manager.close))
  return manager
})
