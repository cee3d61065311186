/**
 * The manifest of a root: a log of what happened to streams and segments, kept in memory as `state`. `append` stages a record and
 * applies it at once; `commit` makes all that was staged durable. All that wait share one write and one sync.
 *
 * A store opens whatever is damaged in here; `replay.damage` says what.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { loadCrc64 } from "../format/checksum.ts"
import {
  chunkBytesDefault,
  chunkBytesMax,
  chunkBytesMin,
  manifestFileName,
  manifestHeaderBytes,
  manifestKindLog,
} from "../format/manifest_chunk.ts"
import type { ManifestEvent } from "../format/manifest_record.ts"
import { assert } from "../model/assert.ts"
import { type AofError, type InvalidArgument, invalidArgument, type Unavailable } from "../model/errors.ts"
import { Directory } from "../port/directory.ts"
import { type ManifestState, replaceManifestState } from "../state/manifest_state.ts"
import { ManifestCommitter } from "./manifest_committer.ts"
import {
  type LoadedManifest,
  loadManifest,
  type ManifestDamage,
  type ManifestPosition,
  readManifestFile,
} from "./manifest_load.ts"
import { removeManifestFiles } from "./manifest_snapshot.ts"
import { ManifestWriter } from "./manifest_writer.ts"

export interface ManifestLogOptions {
  readonly root: string
  /** 16 bytes, as in the root file. */
  readonly rootId: Uint8Array
  readonly readOnly: boolean
  /** Size at which a chunk is full: 16 KiB to 1 MiB, 256 KiB by default. */
  readonly chunkBytes?: number | undefined
}

/** What opening had to read, and what was wrong with it. */
export interface ManifestReplay {
  readonly durationMs: number
  /** Chunks that the newest snapshot does not cover. */
  readonly chunkCount: number
  /** Records applied, those of the snapshot included. */
  readonly recordCount: number
  /** Bytes of commits that were torn, never acknowledged and cut off. */
  readonly trimmedBytes: number
  readonly damage: ReadonlyArray<ManifestDamage>
  /** Seconds from the newest record to the replay. */
  readonly chunkLagSeconds: number
  /** Bytes of log behind the newest snapshot. */
  readonly journalLagBytes: number
}

export interface ManifestLog {
  /** Live; staged records are in it. Changed by `append` and, in place, by `refresh`. */
  readonly state: ManifestState
  readonly replay: ManifestReplay
  /** Stages a record and applies it to `state`; returns its sequence. Throws `Closed` after close; a defect when read-only. */
  readonly append: (event: ManifestEvent) => number
  /**
   * Returns when all records appended before the call are durable. Fails `Unavailable` when they could not be written to a fresh chunk
   * either; they stay staged for the next commit. Interrupting it changes nothing: the records are committed all the same.
   */
  readonly commit: Effect.Effect<void, AofError>
  /** Read-only: applies what the writer has committed since; true when there was something. Does nothing for a writer. */
  readonly refresh: Effect.Effect<boolean, AofError>
}

/** Where the manifest of a root lies. */
export const manifestPath = (root: string): string => `${root}/manifest`

/** Opens the manifest of a root. What was staged is committed when the scope closes. */
export const open: (options: ManifestLogOptions) => Effect.Effect<ManifestLog, AofError, Directory | Scope.Scope> =
  Effect.fnUntraced(function* (
    options: ManifestLogOptions,
  ): Effect.fn.Return<ManifestLog, AofError, Directory | Scope.Scope> {
    const chunkBytes = yield* checkChunkBytes(options.chunkBytes ?? chunkBytesDefault)
    const directory = yield* Directory
    const clock = yield* Clock.Clock
    const startMs = clock.currentTimeMillisUnsafe()
    yield* Effect.promise(loadCrc64)
    const path = manifestPath(options.root)
    if (!options.readOnly) yield* directory.makeDirectory(path)
    const loaded = yield* loadManifest(directory, { path, rootId: options.rootId })
    const nowMs = clock.currentTimeMillisUnsafe()
    const replay = replayOf(loaded, { startMs, nowMs })
    if (options.readOnly) return openReadOnly(directory, { path, rootId: options.rootId, loaded, replay })
    const settings = {
      directory,
      path,
      rootId: options.rootId,
      chunkBytes,
      nowMs: () => clock.currentTimeMillisUnsafe(),
    }
    const writer = new ManifestWriter(settings, loaded)
    yield* Effect.acquireRelease(takeOver(writer, { directory, path, loaded }), () => writer.close)
    const committer = new ManifestCommitter(writer, { ...settings, loaded })
    yield* committer.start
    const { append, commit } = committer
    return { state: loaded.state, replay, append, commit, refresh: Effect.succeed(false) }
  })

const checkChunkBytes = (chunkBytes: number): Effect.Effect<number, InvalidArgument> =>
  Number.isInteger(chunkBytes) && chunkBytes >= chunkBytesMin && chunkBytes <= chunkBytesMax
    ? Effect.succeed(chunkBytes)
    : Effect.fail(invalidArgument("manifest chunkBytes", chunkBytes, `${chunkBytesMin} to ${chunkBytesMax}`))

const replayOf = (
  loaded: LoadedManifest,
  time: { readonly startMs: number; readonly nowMs: number },
): ManifestReplay => ({
  durationMs: time.nowMs - time.startMs,
  chunkCount: loaded.chunks.length,
  recordCount: loaded.recordCount,
  trimmedBytes: loaded.trimmedBytes,
  damage: loaded.damage,
  chunkLagSeconds: loaded.newestTimestampMs === 0 ? 0 : Math.max(0, time.nowMs - loaded.newestTimestampMs) / 1000,
  journalLagBytes: loaded.chunks.reduce((sum, chunk) => sum + chunk.fileBytes, 0),
})

/** Before it answers, a writer makes durable what it has accepted, and removes what a snapshot has replaced. */
const takeOver = Effect.fnUntraced(function* (
  writer: ManifestWriter,
  options: { readonly directory: Directory; readonly path: string; readonly loaded: LoadedManifest },
): Effect.fn.Return<void, Unavailable> {
  const { loaded } = options
  if (loaded.open !== undefined) yield* writer.resume(loaded.open)
  else for (const record of loaded.unconfirmed) writer.stage(record)
  yield* Effect.onError(writer.flush, () => writer.close)
  yield* Effect.ignore(removeManifestFiles(options.directory, options.path, loaded.stale))
})

interface ReadOnlyOptions {
  readonly path: string
  readonly rootId: Uint8Array
  readonly loaded: LoadedManifest
  readonly replay: ManifestReplay
}

/** What tells whether there is more. */
interface Seen {
  readonly names: string
  readonly header: Uint8Array | undefined
}

const openReadOnly = (directory: Directory, options: ReadOnlyOptions): ManifestLog => {
  const { path, rootId, loaded, replay } = options
  const state = loaded.state
  let position: ManifestPosition = positionOf(loaded)
  let seen: Seen | undefined

  /** The names of the files and the header block of the newest chunk tell whether there is more. */
  const look = Effect.fnUntraced(function* (): Effect.fn.Return<Seen, Unavailable> {
    const file = `${path}/${manifestFileName(manifestKindLog, position.chunkSequence)}`
    const header =
      position.chunkSequence === 0 ? undefined : yield* readManifestFile(directory, file, manifestHeaderBytes)
    const names = (yield* directory.list(path)).map((entry) => entry.name).join("/")
    return { names, header }
  })

  const readOn = Effect.gen(function* () {
    const found = yield* look()
    if (seen?.names === found.names && isSameBytes(seen.header, found.header)) return false
    const before = position.lastSequence
    const from = position.chunkSequence === 0 ? undefined : { ...position, state }
    const next = yield* loadManifest(directory, { path, rootId, from })
    position = positionOf(next.isConnected ? next : yield* loadManifest(directory, { path, rootId }))
    if (position.state !== state) replaceManifestState(state, position.state)
    // Only now: a look that failed or was interrupted before has shown nothing.
    seen = found
    return position.lastSequence !== before
  })
  // One at a time: who asks while another one looks must not be told that there is nothing new before it has been read.
  const refresh = Semaphore.makeUnsafe(1).withPermit(readOn)
  const append = (): number => {
    assert(false, "a read-only manifest takes no records")
    return 0
  }
  return { state, replay, append, commit: Effect.void, refresh }
}

const isSameBytes = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean => {
  if (one === undefined || other === undefined || one.length !== other.length) return one === other
  return one.every((byte, index) => byte === other[index])
}

/** Only the position, so that the loaded files can be collected. */
const positionOf = ({ state, lastSequence, chunkSequence }: ManifestPosition): ManifestPosition => ({
  state,
  lastSequence,
  chunkSequence,
})
