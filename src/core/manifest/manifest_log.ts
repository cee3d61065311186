/**
 * The manifest of a root: a log of what happened to streams and segments, kept in memory as `state`. `append` stages a record and
 * applies it at once; `commit` makes all that was staged durable. All that wait share one write and one sync.
 *
 * A store opens whatever is damaged in here; `replay.damage` says what.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  chunkBytesDefault,
  chunkBytesMax,
  chunkBytesMin,
  manifestFileName,
  manifestKindSnapshot,
} from "../../format/manifest_chunk.ts"
import { customEventBytesMax } from "../../format/manifest_payload.ts"
import type { ManifestEvent } from "../../format/manifest_record.ts"
import { assert } from "../../model/assert.ts"
import { type AofError, type InvalidArgument, invalidArgument, type Unavailable } from "../../model/errors.ts"
import type { ManifestReplayMetrics } from "../../model/manifest_metrics.ts"
import { Directory } from "../../port/directory.ts"
import type { ManifestState } from "../../state/manifest_state.ts"
import { ManifestCommitter } from "./manifest_committer.ts"
import { type ManifestHooks, tell } from "./manifest_hooks.ts"
import { type LoadedManifest, loadManifest } from "./manifest_load.ts"
import { replayMetrics } from "./manifest_metrics.ts"
import { makeRefresh } from "./manifest_read_only.ts"
import { settleChunks } from "./manifest_settle.ts"
import { removeManifestFiles } from "./manifest_snapshot.ts"
import { ManifestWriter } from "./manifest_writer.ts"

/** Age in milliseconds at which a chunk is sealed unless told otherwise. */
export const chunkAgeMsDefault = 600_000

export interface ManifestLogOptions {
  readonly root: string
  /** 16 bytes, as in the root file. */
  readonly rootId: Uint8Array
  readonly readOnly: boolean
  /** Size at which a chunk is full: 16 KiB to 1 MiB, 256 KiB by default. */
  readonly chunkBytes?: number | undefined
  /**
   * Age in milliseconds at which a chunk with records is sealed, from 1; 10 minutes by default. It is looked at with each commit. When it is
   * given, or `hooks.onChunkSealed` is, a chunk is also sealed when nothing is committed any more: one timer for one open chunk.
   */
  readonly chunkAgeMs?: number | undefined
  readonly hooks?: ManifestHooks | undefined
  /** Called when the disk is full; after true a commit is tried once more. */
  readonly makeRoom?: Effect.Effect<boolean> | undefined
}

export interface ManifestLog {
  /** Live; staged records are in it. Changed by `append` and, in place, by `refresh`. */
  readonly state: ManifestState
  readonly replay: ManifestReplayMetrics
  /**
   * Stages a record and applies it to `state`; returns its sequence. Throws `Closed` after close; a defect when read-only, or when a text or
   * a payload is out of its bounds. Hints (10 to 13) need no `commit` of their own: the next one takes them along, so does the close,
   * and many of them are written by themselves; a crash before that loses them.
   */
  readonly append: (event: ManifestEvent) => number
  /**
   * Stages a `CustomEvent` of a stream, or of the root with `streamId` 0, which is no part of the state; returns its sequence. `kind` is
   * 0 to 2^32 - 1, the payload has at most `customEventBytesMax` bytes and is copied. Durable after `commit`. Throws `InvalidArgument`, and
   * `Closed` after close; a defect when read-only.
   */
  readonly customEvent: (streamId: number, kind: number, payload: Uint8Array) => number
  /**
   * Returns when all records appended before the call are durable. Fails `Unavailable` when they could not be written to a fresh chunk
   * either; they stay staged for the next commit. Interrupting it changes nothing: the records are committed all the same.
   */
  readonly commit: Effect.Effect<void, AofError>
  /**
   * Commits what was staged and seals the open chunk, so that hooks are told of it; the next commit makes another. Does nothing when no
   * chunk has records, and for a read-only manifest. Fails as `commit` does; interrupting it leaves the chunk open or sealed.
   */
  readonly sealChunk: Effect.Effect<void, AofError>
  /**
   * Commits what was staged and puts a snapshot of the state in the place of all files of the manifest. Does nothing for a read-only one.
   * Fails as `commit` does; interrupting it leaves the old files, the new ones, or both.
   */
  readonly renew: Effect.Effect<void, AofError>
  /** All records up to this sequence are durable; 0 for a read-only one. */
  readonly committedSequence: () => number
  /** Read-only: applies what the writer has committed since; true when there was something. Does nothing for a writer. */
  readonly refresh: Effect.Effect<boolean, AofError>
  /** The state holds all records up to this sequence, and for a writer what was staged since. */
  readonly readSequence: () => number
  /** Closing has taken all the time it may: who waits for a commit fails `Closed` now, also when the disk does not answer. */
  readonly end: () => void
}

/** Where the manifest of a root lies. */
export const manifestPath = (root: string): string => `${root}/manifest`

/** Opens the manifest of a root. What was staged is committed when the scope closes. */
export const open: (options: ManifestLogOptions) => Effect.Effect<ManifestLog, AofError, Directory | Scope.Scope> =
  Effect.fnUntraced(function* (
    options: ManifestLogOptions,
  ): Effect.fn.Return<ManifestLog, AofError, Directory | Scope.Scope> {
    const chunkBytes = yield* checkChunkBytes(options.chunkBytes ?? chunkBytesDefault)
    const chunkAgeMs = yield* checkChunkAge(options.chunkAgeMs ?? chunkAgeMsDefault)
    const hooks = options.hooks ?? {}
    const directory = yield* Directory
    const clock = yield* Clock.Clock
    const startMs = clock.currentTimeMillisUnsafe()
    const path = manifestPath(options.root)
    const { rootId } = options
    if (!options.readOnly) yield* directory.makeDirectory(path)
    const isTelling = hooks.onRecord !== undefined
    const loaded = yield* loadManifest(directory, { path, rootId, isTelling })
    const replay = replayMetrics(loaded, { startMs, nowMs: clock.currentTimeMillisUnsafe() })
    if (options.readOnly) {
      yield* Effect.forEach(loaded.told, (record) => tell(hooks.onRecord, record), { discard: true })
      const { refresh, readSequence } = makeRefresh(directory, { path, rootId, loaded, hooks })
      return { ...refusing, state: loaded.state, replay, refresh, readSequence }
    }
    const nowMs = () => clock.currentTimeMillisUnsafe()
    const settings = { directory, path, rootId, chunkBytes, chunkAgeMs, nowMs, hooks }
    const writer = new ManifestWriter(settings, loaded)
    yield* Effect.acquireRelease(takeOver(writer, { directory, path, loaded, hooks }), () => writer.close)
    const sealsIdle = options.chunkAgeMs !== undefined || hooks.onChunkSealed !== undefined
    const committer = new ManifestCommitter(writer, { ...settings, sealsIdle, loaded, makeRoom: options.makeRoom })
    yield* committer.start
    const { append, commit, sealChunk, renew, committedSequence, end } = committer
    const { state } = loaded
    const customEvent = makeCustomEvent(state, append)
    const refresh = Effect.succeed(false)
    const readSequence = committedSequence
    const told = { refresh, readSequence, end }
    return { state, replay, append, customEvent, commit, sealChunk, renew, committedSequence, ...told }
  })

const refuse = (): number => {
  assert(false, "a read-only manifest takes no records")
  return 0
}

/** What writes, where nothing is written. */
const refusing = {
  append: refuse,
  customEvent: refuse,
  commit: Effect.void,
  sealChunk: Effect.void,
  renew: Effect.void,
  committedSequence: (): number => 0,
  end: (): void => {},
}

const checkChunkBytes = (chunkBytes: number): Effect.Effect<number, InvalidArgument> =>
  Number.isInteger(chunkBytes) && chunkBytes >= chunkBytesMin && chunkBytes <= chunkBytesMax
    ? Effect.succeed(chunkBytes)
    : Effect.fail(invalidArgument("manifest chunkBytes", chunkBytes, `${chunkBytesMin} to ${chunkBytesMax}`))

const checkChunkAge = (chunkAgeMs: number): Effect.Effect<number, InvalidArgument> =>
  Number.isSafeInteger(chunkAgeMs) && chunkAgeMs > 0
    ? Effect.succeed(chunkAgeMs)
    : Effect.fail(invalidArgument("manifest chunkAgeMs", chunkAgeMs, "a safe integer of at least 1"))

const makeCustomEvent =
  (state: ManifestState, append: ManifestLog["append"]): ManifestLog["customEvent"] =>
  (streamId, kind, payload) => {
    if (streamId !== 0 && !state.streams.has(streamId)) {
      throw invalidArgument("streamId of a custom event", streamId, "0 or the id of a stream that is there")
    }
    if (!Number.isInteger(kind) || kind < 0 || kind > 0xffffffff) {
      throw invalidArgument("kind of a custom event", kind, "an integer from 0 to 4294967295")
    }
    if (!(payload instanceof Uint8Array) || payload.length > customEventBytesMax) {
      const value = payload instanceof Uint8Array ? `${payload.length} bytes` : typeof payload
      throw invalidArgument("payload of a custom event", value, `a Uint8Array of at most ${customEventBytesMax} bytes`)
    }
    return append({ type: "CustomEvent", streamId, kind, payload: new Uint8Array(payload) })
  }

/**
 * Before it answers, a writer makes durable what it has accepted, completes chunks that ended without order, removes what a snapshot has
 * replaced, and tells hooks what is there.
 */
const takeOver = Effect.fnUntraced(function* (
  writer: ManifestWriter,
  options: {
    readonly directory: Directory
    readonly path: string
    readonly loaded: LoadedManifest
    readonly hooks: ManifestHooks
  },
): Effect.fn.Return<void, Unavailable> {
  const { directory, path, loaded, hooks } = options
  if (loaded.open !== undefined) yield* writer.resume(loaded.open)
  else for (const record of loaded.unconfirmed) writer.stage(record, true)
  yield* Effect.onError(writer.flush, () => writer.close)
  const completed = yield* settleChunks(directory, { path, chunks: loaded.unsettled })
  const { chunkSequence, fileBytes: bytes, coversSequence } = loaded.snapshot
  if (chunkSequence > 0 && loaded.isSnapshotComplete) {
    const name = manifestFileName(manifestKindSnapshot, chunkSequence)
    yield* tell(hooks.onSnapshot, { name, path: `${path}/${name}`, chunkSequence, bytes, coversSequence })
  }
  yield* writer.tellOfChunks(loaded.chunks, completed)
  yield* Effect.forEach(loaded.told, (record) => tell(hooks.onRecord, record), { discard: true })
  const removed = yield* Effect.result(removeManifestFiles(directory, path, loaded.stale))
  if (Result.isSuccess(removed) && loaded.stale.length > 0) yield* tell(hooks.onPruned, loaded.stale)
})
