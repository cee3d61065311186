/**
 * Follows a bucket: keeps a directory, in memory as a rule, in which there is always a root whose manifest names what the bucket has. A
 * read-only manager over it reads what is there. Asking whether there is something new costs one request; only what is new is fetched.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { type HeadFile, headKey } from "../../format/head_object.ts"
import { manifestFileName } from "../../format/manifest_chunk.ts"
import { type AofError, corrupt, NotFound } from "../../model/errors.ts"
import type { ReplicaInfo } from "../../model/replica.ts"
import type { TierEventInput } from "../../model/tier_event.ts"
import type { Directory } from "../../port/directory.ts"
import type { ManifestState } from "../../state/manifest_state.ts"
import { fencedByMove } from "../bucket/head_fence.ts"
import type { FoundHead, HeadStore } from "../bucket/head_store.ts"
import { createRoot } from "../files/root.ts"
import { type FoundFile, type LoadedManifest, replayManifest } from "../manifest/manifest_load.ts"
import { manifestPath } from "../manifest/manifest_log.ts"
import { removeManifestFiles, writeManifestSnapshot } from "../manifest/manifest_snapshot.ts"
import { visibleRecords } from "./replica_view.ts"

/** What a source works with. */
export interface ReplicaSourceOptions {
  readonly headStore: HeadStore
  /** Where the root is kept. */
  readonly directory: Directory
  readonly root: string
  readonly emit: (event: TierEventInput) => void
}

/** How often HEAD may change while what it names is fetched. */
const triesMax = 8
const fetchesAtOnce = 4

interface Position {
  readonly state: ManifestState
  readonly lastSequence: number
  readonly epoch: number
  readonly keys: ReadonlySet<string>
}

export class ReplicaSource {
  readonly #options: ReplicaSourceOptions
  /** One poll at a time: an older one must not take back what a newer one has shown. */
  readonly #gate: Semaphore.Semaphore = Semaphore.makeUnsafe(1)
  #found: FoundHead | undefined = undefined
  /** Of the last HEAD that was older than what is held. */
  #refusedEtag = ""
  /** Sequence of the last record that readers see; undefined before there are any. */
  #shown: number | undefined = undefined
  #position: Position | undefined = undefined
  /** Number of the snapshot that is in the directory. */
  #version = 0
  #polledMs = 0
  #polls = 0
  #failures = 0
  #heads = 0

  constructor(options: ReplicaSourceOptions) {
    this.#options = options
  }

  /** Sequence of the last record of the manifest that readers see. Nothing that a later one gave up may go. */
  get shownSequence(): number {
    return this.#shown ?? this.#position?.lastSequence ?? 0
  }

  /** Makes readers see what was taken in, by `refresh`, unless they do. Where that fails they see what they saw. */
  readonly show = (refresh: Effect.Effect<unknown, AofError>): Effect.Effect<void, AofError> =>
    Effect.suspend(() => {
      const lastSequence = this.#position?.lastSequence ?? 0
      if (this.#shown === lastSequence) return Effect.void
      return Effect.map(refresh, () => {
        this.#shown = lastSequence
      })
    })

  /** The root that it is of; undefined before it is open. */
  get rootId(): Uint8Array | undefined {
    return this.#found?.head.rootId
  }

  get info(): ReplicaInfo {
    const { epoch = 0, writtenMs: headMs = 0 } = this.#found?.head ?? {}
    const [polledMs, polls, failures, heads] = [this.#polledMs, this.#polls, this.#failures, this.#heads]
    return { place: this.#options.headStore.place, epoch, headMs, polledMs, polls, failures, heads }
  }

  /** Makes the root. `NotFound` when the bucket holds none. */
  readonly open: Effect.Effect<void, AofError> = Effect.suspend(() => {
    const { headStore, directory, root } = this.#options
    return Effect.gen({ self: this }, function* () {
      const found = yield* headStore.read
      if (found === undefined) return yield* Effect.fail(missingHead(headStore.place))
      const { rootId, rootCreatedMs: createdMs } = found.head
      yield* directory.makeDirectory(manifestPath(root))
      yield* createRoot(directory, root, { rootId, createdMs, isRestored: true })
      yield* this.#takeIn(found)
      yield* this.#note
    })
  })

  /** Looks whether there is something new and takes it in; true when there was. Fails when the bucket does, and changes nothing then. */
  readonly poll: Effect.Effect<boolean, AofError> = Effect.suspend(() => {
    const { headStore } = this.#options
    this.#polls++
    const look = Effect.gen({ self: this }, function* () {
      const etag = yield* headStore.etag
      yield* this.#note
      if (etag === this.#found?.etag) return false
      const found = yield* headStore.read
      if (found === undefined) return yield* Effect.fail(missingHead(headStore.place))
      return yield* this.#takeIn(found)
    })
    return Effect.tapError(this.#gate.withPermit(look), () =>
      Effect.sync(() => {
        this.#failures++
      }),
    )
  })

  /** Polls for ever, and makes readers see what is new by `refresh`. */
  readonly follow = (pollMs: number, refresh: Effect.Effect<unknown, AofError>): Effect.Effect<never> => {
    const { emit } = this.#options
    let isAway = false
    const once = Effect.match(Effect.andThen(this.poll, this.show(refresh)), {
      onFailure: (error) => {
        if (!isAway) emit({ name: "replica_poll_failed", level: "warn", reason: error.message })
        isAway = true
      },
      onSuccess: () => {
        isAway = false
      },
    })
    return Effect.forever(Effect.andThen(Effect.sleep(pollMs), once))
  }

  readonly #note: Effect.Effect<void> = Effect.map(Clock.currentTimeMillis, (nowMs) => {
    this.#polledMs = nowMs
  })

  /**
   * True for a HEAD that was there before the one that is held: of an earlier writer, or of an earlier moment of the same one. A store may show it
   * once more, and who has been shown a record must not be told that it is not there.
   */
  #isOlder({ head, etag }: FoundHead): boolean {
    const held = this.#found?.head
    if (held === undefined || isOtherRoot(held.rootId, head.rootId)) return false
    // One that says where the root went may have been made anew, and counts from the beginning.
    if (head.isMoved === true && head.epoch >= held.epoch) return false
    const isOlder = head.epoch < held.epoch || (head.epoch === held.epoch && head.lastSequence < held.lastSequence)
    if (!isOlder || etag === this.#refusedEtag) return isOlder
    this.#refusedEtag = etag
    const place = ({ epoch, lastSequence }: FoundHead["head"]): string =>
      `epoch ${epoch}, records up to ${lastSequence}`
    const reason = `HEAD of ${place(head)} came behind that of ${place(held)}`
    this.#options.emit({ name: "replica_head_refused", level: "warn", key: "HEAD", reason })
    return true
  }

  /**
   * Brings what a HEAD names; false when it is older than what is held. Files may go while they are fetched, when another HEAD has come: then that
   * one is taken.
   */
  readonly #takeIn = Effect.fnUntraced({ self: this }, function* (first: FoundHead): Effect.fn.Return<
    boolean,
    AofError
  > {
    const { headStore } = this.#options
    let found = first
    for (let tries = 1; ; tries++) {
      const { head } = found
      if (this.#isOlder(found)) return false
      if (head.isMoved === true) return yield* Effect.fail(fencedByMove(headStore.place, head.epoch, found.movedTo))
      if (this.#found !== undefined && isOtherRoot(this.#found.head.rootId, head.rootId))
        return yield* Effect.fail(corrupt(`HEAD in ${headStore.place}`, "it is that of another root now"))
      const read = yield* Effect.result(this.#read(found))
      if (read._tag === "Success") {
        yield* this.#publish(head.rootId, read.success)
        this.#position = read.success
        this.#found = found
        this.#heads++
        return true
      }
      const again = yield* headStore.read
      if (read.failure._tag !== "NotFound" || tries === triesMax || again === undefined || again.etag === found.etag)
        return yield* Effect.fail(read.failure)
      found = again
    }
  })

  /** What the files of a HEAD add up to: the new ones on top of what is known, or all. */
  readonly #read = Effect.fnUntraced({ self: this }, function* ({ head }: FoundHead): Effect.fn.Return<
    Position,
    AofError
  > {
    const { files, rootId, epoch } = head
    const keys = new Set(files.map(({ key }) => key))
    const before = this.#position
    const isGoingOn = before !== undefined && before.epoch === epoch && !isBehind(files, before.lastSequence)
    if (isGoingOn) {
      const fresh = files.filter(({ key, kind }) => kind === 0 && !before.keys.has(key))
      const found = yield* this.#fetch(fresh)
      const { state, lastSequence } = before
      const names = found.map(({ name }) => name)
      const loaded = replayManifest(
        { names, files: found },
        { rootId, from: { state, lastSequence, chunkSequence: 0 } },
      )
      if (loaded.isConnected) return positionOf(loaded, epoch, keys)
    }
    const found = yield* this.#fetch(files)
    const loaded = replayManifest({ names: found.map(({ name }) => name), files: found }, { rootId })
    const damage = loaded.damage[0]
    if (damage !== undefined)
      return yield* Effect.fail(corrupt(`manifest file ${damage.file} in the bucket`, damage.why))
    return positionOf(loaded, epoch, keys)
  })

  #fetch(files: ReadonlyArray<HeadFile>): Effect.Effect<ReadonlyArray<FoundFile>, AofError> {
    const { headStore } = this.#options
    return Effect.forEach(
      files,
      (file) =>
        Effect.map(headStore.getFile(file), (bytes): FoundFile => {
          const { kind, chunkSequence } = file
          return { name: manifestFileName(kind, chunkSequence), chunkSequence, bytes }
        }),
      { concurrency: fetchesAtOnce },
    )
  }

  /** Puts a snapshot of what can be read into the directory. */
  readonly #publish = Effect.fnUntraced(
    { self: this },
    function* (rootId: Uint8Array, { state, lastSequence }: Position): Effect.fn.Return<void, AofError> {
      const { directory, root } = this.#options
      const path = manifestPath(root)
      const timestampMs = yield* Clock.currentTimeMillis
      const records = visibleRecords(state, { coversSequence: lastSequence, timestampMs })
      const chunkSequence = ++this.#version
      const { older } = yield* writeManifestSnapshot(directory, { path, rootId, records, chunkSequence })
      yield* removeManifestFiles(directory, path, older)
    },
  )
}

const isOtherRoot = (one: Uint8Array, other: Uint8Array): boolean => one.some((byte, at) => byte !== other[at])

const positionOf = ({ state, lastSequence }: LoadedManifest, epoch: number, keys: ReadonlySet<string>): Position => ({
  state,
  lastSequence,
  epoch,
  keys,
})

const missingHead = (place: string): AofError => {
  const looked = `it has no object ${JSON.stringify(headKey)}, which the writer puts there that has it as tier2.store`
  const message = `there is no root in ${JSON.stringify(place)}: ${looked}`
  return new NotFound({ message, what: headKey, value: place, limit: "no root in this bucket" })
}

/** True when what was read ends before what the snapshot covers: the chunks between are gone. */
const isBehind = (files: ReadonlyArray<HeadFile>, lastSequence: number): boolean => {
  const [first] = files
  return first !== undefined && first.kind !== 0 && first.firstRecordSequence - 1 > lastSequence
}
