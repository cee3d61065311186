/**
 * Opens a root: lock, root file, manifest, then every stream. Owns what its streams share, and closes in order: streams drain, the
 * manifest commits, the lock is given back. Works in a scope; closing the scope closes everything.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type AofManagerConfig, checkBound, checkNames, checkRetention, type Retention } from "../model/config.ts"
import { type AofError, closed, invalidArgument, notFound, unavailable } from "../model/errors.ts"
import { checkStreamName } from "../model/stream_name.ts"
import { Directory } from "../port/directory.ts"
import { EventLoop } from "../port/event_loop.ts"
import { RootLock } from "../port/root_lock.ts"
import type { ManifestStream } from "../state/manifest_state.ts"
import { BufferPool } from "../state/staging_tail.ts"
import { attempt } from "./attempt.ts"
import { makeBackground } from "./background.ts"
import { bounded } from "./bounded.ts"
import { abandonStream, drainStream } from "./close_stream.ts"
import * as ManifestLog from "./manifest_log.ts"
import { OpenFiles } from "./open_files.ts"
import { deletedPath, segmentsPath, streamPath, streamsPath } from "./paths.ts"
import { refreshStream } from "./read_only.ts"
import { recoverStream } from "./recovery.ts"
import { type Recovery, RecoveryReport } from "./recovery_report.ts"
import { releaseStream } from "./release_stream.ts"
import { removeDeleted } from "./removed_streams.ts"
import { createRoot, missingRoot, readRoot, syncNewRoot } from "./root.ts"
import { makeStreamState, type StreamServices, type StreamState, setSegmentBytes } from "./stream_state.ts"
import { applyRetention, watchAge } from "./trim.ts"

/** Options of a stream that the core looks at. */
export interface StreamOptions {
  /** Makes the stream when it is not there; default true. */
  readonly create?: boolean | undefined
  readonly retention?: Retention | undefined
  readonly segmentBytes?: number | undefined
}

const streamOptionNames = ["create", "retention", "segmentBytes", "codec"]

/** Streams recovered side by side: most of it is waiting for syncs. */
const recoveriesAtOnce = 8
/** Descriptors kept for reading sealed segments. */
const openFilesMax = 128

export interface CoreManager {
  readonly config: AofManagerConfig
  readonly recovery: Recovery
  readonly manifest: ManifestLog.ManifestLog
  readonly services: StreamServices
  /** Names of all streams, in order. */
  readonly names: () => ReadonlyArray<string>
  /** Opens or makes a stream; the same name gives the same state. */
  readonly stream: (name: string, options: StreamOptions) => Effect.Effect<StreamState, AofError>
  readonly deleteStream: (name: string) => Effect.Effect<void, AofError>
  readonly closeStream: (stream: StreamState) => Effect.Effect<void, AofError>
  /** Drains and closes everything, within `closeTimeoutMs`. */
  readonly close: Effect.Effect<void, AofError>
}

/** Opens the root of `config`. */
export const open: (
  config: AofManagerConfig,
) => Effect.Effect<CoreManager, AofError, Directory | RootLock | EventLoop | Scope.Scope> = Effect.fnUntraced(
  function* (config) {
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
    const manifestOptions = { root: config.root, rootId: root.rootId, readOnly: config.readOnly }
    const manifest = yield* ManifestLog.open(manifestOptions).pipe(Scope.provide(scope))
    const background = yield* makeBackground
    const services: StreamServices = {
      config,
      rootId: root.rootId,
      directory,
      eventLoop: yield* EventLoop,
      clock,
      random32,
      manifest,
      openFiles: new OpenFiles(openFilesMax),
      pool: makePool(config),
      run: background.run,
    }
    yield* Scope.addFinalizer(scope, Effect.sync(background.stop))
    if (!config.readOnly && manifest.state.nextStreamId === 1) yield* syncNewRoot(directory, config.root)
    const manager = yield* makeManager(services, scope, startMs)
    yield* Scope.addFinalizer(yield* Scope.Scope, Effect.ignore(manager.close))
    return manager
  },
)

const makePool = (config: AofManagerConfig): BufferPool => {
  const bufferBytes = Math.min(config.stagingBytes, config.unflushedBytesMax)
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
  const recovered = yield* Effect.forEach(named, (known) => recoverKnown(services, known, { retention: {} }, report), {
    concurrency: recoveriesAtOnce,
  })
  for (const stream of recovered) streams.set(stream.name, stream)
  const damage = manifest.replay.damage.map((one) => `${one.file}, bytes ${one.from} to ${one.to}: ${one.why}`)
  const recovery = report.finish(clock.currentTimeMillisUnsafe() - startMs, damage)
  return new Manager({ services, scope, streams, recovery })
})

const recoverKnown = Effect.fnUntraced(function* (
  services: StreamServices,
  known: ManifestStream,
  options: StreamOptions,
  report: RecoveryReport,
) {
  const stream = makeStream(services, known, options)
  yield* recoverStream(stream, known, report)
  return stream
})

const makeStream = (services: StreamServices, known: ManifestStream, options: StreamOptions): StreamState => {
  const { config } = services
  const stream = makeStreamState({
    name: known.name,
    streamId: known.streamId,
    path: segmentsPath(config.root, known.name),
    services,
    segmentBytes: options.segmentBytes ?? config.segmentBytes,
    retention: options.retention ?? config.retention,
  })
  if (!config.readOnly) {
    stream.onSealed = () => services.run(Effect.ignore(applyRetention(stream)))
    services.run(watchAge(stream))
  }
  return stream
}

interface ManagerParts {
  readonly services: StreamServices
  readonly scope: Scope.Closeable
  readonly streams: Map<string, StreamState>
  readonly recovery: Recovery
}

class Manager implements CoreManager {
  readonly services: StreamServices
  readonly recovery: Recovery
  readonly #scope: Scope.Closeable
  readonly #streams: Map<string, StreamState>
  /** One at a time makes or deletes a stream, so that a name means one stream. */
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  /** Streams that are being closed; closing one again joins. */
  readonly #draining: Map<StreamState, Deferred.Deferred<void, AofError>> = new Map()
  /** Streams that somebody asked for by name: what their options say holds. */
  readonly #asked: WeakSet<StreamState> = new WeakSet()
  #isClosed = false
  #closing: Deferred.Deferred<void, AofError> | undefined = undefined

  constructor(parts: ManagerParts) {
    this.services = parts.services
    this.recovery = parts.recovery
    this.#scope = parts.scope
    this.#streams = parts.streams
  }

  get config(): AofManagerConfig {
    return this.services.config
  }

  get manifest(): ManifestLog.ManifestLog {
    return this.services.manifest
  }

  names(): ReadonlyArray<string> {
    this.#checkOpen()
    return [...this.manifest.state.streamsByName.keys()].sort()
  }

  stream(name: string, options: StreamOptions): Effect.Effect<StreamState, AofError> {
    return Effect.suspend(() => {
      const open = this.#streams.get(name)
      const isSame = open !== undefined && this.#asked.has(open) && this.#isOpen(open)
      return isSame && !this.#isClosed && !this.config.readOnly && Object.keys(options).length === 0
        ? Effect.succeed(open)
        : this.#gate.withPermit(this.#open(name, options))
    })
  }

  readonly #open: (name: string, options: StreamOptions) => Effect.Effect<StreamState, AofError> = (name, options) =>
    Effect.gen({ self: this }, function* () {
      yield* attempt(() => {
        this.#checkOpen()
        checkStreamName(name)
        checkStreamOptions(options)
      })
      if (this.config.readOnly) yield* this.manifest.refresh
      const open = yield* this.#known(name)
      if (open !== undefined) {
        if (this.config.readOnly) yield* refreshStream(open)
        const isFirst = !this.#asked.has(open)
        this.#asked.add(open)
        return applyOptions(open, isFirst ? { retention: this.config.retention, ...options } : options)
      }
      const known = this.manifest.state.streamsByName.get(name) ?? (yield* this.#create(name, options))
      const stream = yield* recoverKnown(this.services, known, options, new RecoveryReport())
      this.#asked.add(stream)
      this.#streams.set(name, stream)
      return stream
    })

  /** The open stream of this name. Waits for one that is being closed, and lets go of one that its writer has deleted. */
  #known(name: string): Effect.Effect<StreamState | undefined> {
    return Effect.gen({ self: this }, function* () {
      const open = this.#streams.get(name)
      if (open === undefined) return undefined
      const closing = this.#draining.get(open)
      if (closing !== undefined) {
        yield* Effect.exit(Deferred.await(closing))
        releaseStream(open, `stream ${name}`)
      }
      if (this.manifest.state.streamsByName.get(name)?.streamId !== open.streamId) releaseStream(open, `stream ${name}`)
      return open.closedAs === undefined ? open : undefined
    })
  }

  #isOpen(stream: StreamState): boolean {
    return stream.closedAs === undefined && !this.#draining.has(stream)
  }

  /** Drains a stream; a second call joins the first. */
  #drain(stream: StreamState): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      const before = this.#draining.get(stream)
      if (before !== undefined) return Deferred.await(before)
      const draining = Deferred.makeUnsafe<void, AofError>()
      this.#draining.set(stream, draining)
      return Effect.onExit(drainStream(stream), (exit) => {
        this.#draining.delete(stream)
        return Deferred.done(draining, exit)
      })
    })
  }

  #create(name: string, options: StreamOptions): Effect.Effect<ManifestStream, AofError> {
    const { directory } = this.services
    return Effect.gen({ self: this }, function* () {
      if (options.create === false || this.config.readOnly) return yield* Effect.fail(missingStream(name, this.names()))
      yield* directory.makeDirectory(segmentsPath(this.config.root, name))
      const streamId = this.manifest.state.nextStreamId
      this.manifest.append({ type: "StreamCreated", streamId, name })
      yield* this.manifest.commit
      return this.manifest.state.streams.get(streamId)!
    })
  }

  deleteStream(name: string): Effect.Effect<void, AofError> {
    const { directory } = this.services
    return this.#gate.withPermit(
      Effect.gen({ self: this }, function* () {
        yield* attempt(() => {
          this.#checkOpen()
          checkStreamName(name)
          if (this.config.readOnly) throw invalidArgument("deleteStream", "a read-only store", "a writable one")
        })
        const known = this.manifest.state.streamsByName.get(name)
        if (known === undefined) return yield* Effect.fail(missingStream(name, this.names()))
        const stream = this.#streams.get(name)
        const closing = stream === undefined ? undefined : this.#draining.get(stream)
        if (closing !== undefined) yield* Effect.exit(Deferred.await(closing))
        if (stream !== undefined) yield* bounded(abandonStream(stream, `stream ${name}`), this.config.closeTimeoutMs)
        this.#streams.delete(name)
        this.manifest.append({ type: "StreamDeleted", streamId: known.streamId })
        yield* this.manifest.commit
        const { root } = this.config
        const target = deletedPath(root, known.streamId)
        yield* directory.rename(streamPath(root, name), target)
        yield* directory.sync(streamsPath(root))
        yield* directory.removeDirectory(target)
        yield* directory.sync(streamsPath(root))
      }),
    )
  }

  closeStream(stream: StreamState): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      if (stream.closedAs !== undefined) return Effect.void
      return Effect.uninterruptible(
        Effect.ensuring(
          bounded(this.#drain(stream), this.config.closeTimeoutMs),
          Effect.sync(() => releaseStream(stream, `stream ${stream.name}`)),
        ),
      )
    })
  }

  get close(): Effect.Effect<void, AofError> {
    return Effect.suspend(() => {
      if (this.#closing !== undefined) return Deferred.await(this.#closing)
      const closing = (this.#closing = Deferred.makeUnsafe<void, AofError>())
      return Effect.uninterruptible(Effect.onExit(this.#closeAll(), (exit) => Deferred.done(closing, exit)))
    })
  }

  #closeAll(): Effect.Effect<void, AofError> {
    this.#isClosed = true
    const streams = (): ReadonlyArray<StreamState> =>
      [...this.#streams.values()].filter((stream) => stream.closedAs === undefined)
    // Behind the gate: a stream that is being made or deleted just now is part of it.
    const drained = this.#gate.withPermit(
      Effect.suspend(() =>
        Effect.forEach(streams(), (stream) => Effect.result(this.#drain(stream)), { concurrency: 16 }),
      ),
    )
    const allDrained = Effect.flatMap(drained, (results) => {
      const failed = results.find((one) => one._tag === "Failure")
      return failed === undefined ? Effect.void : Effect.fail(failed.failure)
    })
    return Effect.gen({ self: this }, function* () {
      const result = yield* Effect.result(bounded(allDrained, this.config.closeTimeoutMs))
      for (const stream of streams()) releaseStream(stream, "manager")
      const closed = yield* Effect.result(bounded(Scope.close(this.#scope, Exit.void), this.config.closeTimeoutMs))
      this.services.openFiles.releaseAll()
      if (result._tag === "Failure") return yield* Effect.fail(result.failure)
      if (closed._tag === "Failure") return yield* Effect.fail(closed.failure)
    })
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed("manager")
  }
}

const checkStreamOptions = (options: StreamOptions): void => {
  checkNames("stream option", options, streamOptionNames)
  checkBound("segmentBytes", options.segmentBytes)
  checkRetention(options.retention)
  if (options.create !== undefined && typeof options.create !== "boolean") {
    throw invalidArgument("create", options.create, "true or false")
  }
}

/** Options given for a stream that is open already: the retention changes, the rest holds from the first open. */
const applyOptions = (stream: StreamState, options: StreamOptions): StreamState => {
  if (options.retention !== undefined) {
    const isWatched = stream.retention.ageMs !== undefined
    stream.retention = options.retention
    if (!stream.services.config.readOnly) {
      stream.services.run(
        Effect.andThen(Effect.ignore(applyRetention(stream)), isWatched ? Effect.void : watchAge(stream)),
      )
    }
  }
  if (options.segmentBytes !== undefined) setSegmentBytes(stream, options.segmentBytes)
  return stream
}

const missingStream = (name: string, names: ReadonlyArray<string>): AofError =>
  notFound("stream", name, names.length === 0 ? "no stream" : names.slice(0, 10).join(", "))
