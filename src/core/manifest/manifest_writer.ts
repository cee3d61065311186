/**
 * The writing half of the manifest: staged records, the chunk that takes them, rotation, snapshots. One fiber owns it (the
 * committer of `manifest_log.ts`); `stage` alone is called from elsewhere, synchronously.
 *
 * - A record is written to exactly one place until a sync covers it; bytes stay staged until then.
 * - A sync or write that failed is never tried again on the same file: all that is not durable goes into a fresh chunk, with the
 *   same sequences.
 * - A chunk's header is synced, and its directory entry too, before the first commit in it.
 * - A chunk that is full, too old or covered by a snapshot is sealed: its last slot is durable before anybody is told of it, and nobody writes
 *   into it again, in this process or a later one.
 */
import * as Effect from "effect/Effect"
import { type Crc64, crc64Start } from "../../format/checksum.ts"
import {
  commitSlotOffset,
  encodeCommitSlot,
  encodeManifestHeader,
  manifestFileName,
  manifestHeaderBytes,
  manifestKindLog,
  sealingSequence,
} from "../../format/manifest_chunk.ts"
import { encodeManifestRecord, type ManifestRecord } from "../../format/manifest_record.ts"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { type ManifestHooks, type SealedChunk, tell } from "./manifest_hooks.ts"
import type { LoadedManifest, ManifestChunkInfo } from "./manifest_load.ts"

const slotBytes = 40

interface StagedRecord {
  readonly sequence: number
  readonly bytes: Uint8Array
  /** Undefined when nobody is to be told, or was told before. */
  readonly record: ManifestRecord | undefined
}

interface OpenChunk {
  readonly file: SegmentFile
  readonly path: string
  readonly chunkSequence: number
  readonly firstRecordSequence: number
  readonly createdMs: number
  readonly checksum: Crc64
  bytes: number
  recordCount: number
  slotSequence: number
  /** True when a commit in it has succeeded. */
  isDurable: boolean
  /** True when the last commit has no slot behind it that confirms it. */
  isUnconfirmed: boolean
}

/** What a writer is made of. */
export interface ManifestWriterOptions {
  readonly directory: Directory
  readonly path: string
  readonly rootId: Uint8Array
  readonly chunkBytes: number
  /** Age at which a chunk with records is sealed with the next commit. */
  readonly chunkAgeMs: number
  readonly nowMs: () => number
  readonly hooks: ManifestHooks
}

const attempt = (run: () => void): Effect.Effect<void, Unavailable> =>
  Effect.try({ try: run, catch: (error) => error as Unavailable })

/** Owns the chunk files of an open manifest. */
export class ManifestWriter {
  readonly #options: ManifestWriterOptions
  #staged: Array<StagedRecord> = []
  #stagedBytes = 0
  #chunk: OpenChunk | undefined
  #chunks: Array<ManifestChunkInfo>
  #nextChunkSequence: number

  constructor(options: ManifestWriterOptions, loaded: LoadedManifest) {
    this.#options = options
    this.#chunks = [...loaded.chunks]
    this.#nextChunkSequence = loaded.fileSequenceMax + 1
  }

  /** True when every staged record is durable. */
  get isIdle(): boolean {
    return this.#staged.length === 0
  }

  /** Bytes of records that are not durable yet. */
  get stagedBytes(): number {
    return this.#stagedBytes
  }

  /** Milliseconds until the open chunk is too old, at least 0; undefined when there is none with records. */
  get remainingMs(): number | undefined {
    const chunk = this.#chunk
    if (chunk === undefined || chunk.recordCount === 0) return undefined
    // A clock that was set back makes no chunk wait longer than a new one.
    const ageMs = Math.max(0, this.#options.nowMs() - chunk.createdMs)
    return Math.max(0, this.#options.chunkAgeMs - ageMs)
  }

  /** Bytes of log that no snapshot covers. */
  get logBytes(): number {
    let sum = 0
    for (const chunk of this.#chunks) sum += chunk.fileBytes
    return sum
  }

  /** Chunks that no snapshot covers. */
  get chunkCount(): number {
    return this.#chunks.length
  }

  /** Encodes a record for the next commit; throws and stages nothing when it cannot be. `isTold` when hooks know it already. */
  stage(record: ManifestRecord, isTold = false): void {
    const bytes = encodeManifestRecord(record)
    const kept = isTold || this.#options.hooks.onRecord === undefined ? undefined : record
    this.#staged.push({ sequence: record.sequence, bytes, record: kept })
    this.#stagedBytes += bytes.length
  }

  /** Goes on in a chunk that was closed in order. */
  readonly resume = (open: NonNullable<LoadedManifest["open"]>): Effect.Effect<void, Unavailable> =>
    attempt(() => {
      const { scanned, chunkSequence } = open
      const path = `${this.#options.path}/${manifestFileName(manifestKindLog, chunkSequence)}`
      const checksum = crc64Start()
      checksum.update(open.bytes.subarray(manifestHeaderBytes, manifestHeaderBytes + scanned.committedBytes))
      this.#chunk = {
        file: this.#options.directory.openUnsafe(path, "write"),
        path,
        chunkSequence,
        firstRecordSequence: scanned.header?.firstRecordSequence ?? 0,
        createdMs: scanned.header?.createdMs ?? 0,
        checksum,
        bytes: scanned.committedBytes,
        recordCount: scanned.committedCount,
        slotSequence: scanned.slotSequence,
        isDurable: true,
        isUnconfirmed: false,
      }
    })

  /**
   * Makes all records durable that were staged before the call. Must not run twice at a time. After a failure the records stay
   * staged, and the next call writes them into a fresh chunk.
   */
  readonly flush: Effect.Effect<void, Unavailable> = Effect.suspend(() => {
    const last = this.#staged.at(-1)?.sequence ?? 0
    return Effect.catch(this.#flushTo(last), () => this.#flushTo(last))
  })

  readonly #flushTo = Effect.fnUntraced({ self: this }, function* (last: number): Effect.fn.Return<void, Unavailable> {
    while (this.#staged.length > 0 && this.#staged[0]!.sequence <= last) {
      if (this.remainingMs === 0) yield* this.seal
      const chunk: OpenChunk = this.#chunk ?? (yield* this.#create(this.#staged[0]!.sequence))
      const count = this.#fitting(chunk, last)
      if (count === 0) {
        yield* this.seal
        continue
      }
      const bytes = this.#take(count)
      yield* Effect.onError(this.#write(chunk, bytes, count), () => this.#abandon(chunk))
      chunk.isDurable = true
      this.#stagedBytes -= bytes.length
      for (const { record } of this.#staged.splice(0, count)) {
        if (record !== undefined) yield* tell(this.#options.hooks.onRecord, record)
      }
    }
  })

  /** How many staged records the chunk still takes. */
  #fitting(chunk: OpenChunk, last: number): number {
    let free = this.#options.chunkBytes - manifestHeaderBytes - chunk.bytes
    let count = 0
    for (const one of this.#staged) {
      free -= one.bytes.length
      if (free < 0 || one.sequence > last) break
      count++
    }
    return count
  }

  #take(count: number): Uint8Array {
    if (count === 1) return this.#staged[0]!.bytes
    let length = 0
    for (let i = 0; i < count; i++) length += this.#staged[i]!.bytes.length
    const bytes = new Uint8Array(length)
    let at = 0
    for (let i = 0; i < count; i++) {
      bytes.set(this.#staged[i]!.bytes, at)
      at += this.#staged[i]!.bytes.length
    }
    return bytes
  }

  /** Records, slot, one sync. */
  #write(chunk: OpenChunk, bytes: Uint8Array, count: number): Effect.Effect<void, Unavailable> {
    const write = attempt(() => {
      chunk.file.writeUnsafe(bytes, 0, bytes.length, manifestHeaderBytes + chunk.bytes)
      chunk.checksum.update(bytes)
      chunk.bytes += bytes.length
      chunk.recordCount += count
      chunk.isUnconfirmed = true
      this.#writeSlot(chunk, chunk.slotSequence + 1)
    })
    return Effect.andThen(write, chunk.file.syncData)
  }

  #writeSlot(chunk: OpenChunk, sequence: number): void {
    chunk.slotSequence = sequence
    const slot = new Uint8Array(slotBytes)
    encodeCommitSlot(slot, 0, {
      sequence,
      committedBytes: chunk.bytes,
      recordCount: chunk.recordCount,
      checksum64: chunk.checksum.digest(),
    })
    chunk.file.writeUnsafe(slot, 0, slotBytes, commitSlotOffset(sequence))
    this.#note(chunk, false)
  }

  /** Keeps what is known of a chunk, which is always the newest. */
  #note(chunk: OpenChunk, isSealed: boolean): void {
    const { chunkSequence, firstRecordSequence, recordCount } = chunk
    if (this.#chunks.at(-1)?.chunkSequence === chunkSequence) this.#chunks.pop()
    const fileBytes = manifestHeaderBytes + chunk.bytes
    this.#chunks.push({ chunkSequence, fileBytes, firstRecordSequence, recordCount, isSealed })
  }

  readonly #create = Effect.fnUntraced({ self: this }, function* (firstRecordSequence: number): Effect.fn.Return<
    OpenChunk,
    Unavailable
  > {
    const { directory, rootId, nowMs } = this.#options
    const chunkSequence = this.#nextChunkSequence++
    const path = `${this.#options.path}/${manifestFileName(manifestKindLog, chunkSequence)}`
    const createdMs = nowMs()
    const kind = manifestKindLog
    const header = encodeManifestHeader({ kind, rootId, chunkSequence, firstRecordSequence, createdMs })
    const file = yield* Effect.try({
      try: () => directory.openUnsafe(path, "create"),
      catch: (error) => error as Unavailable,
    })
    const checksum = crc64Start()
    const chunk: OpenChunk = {
      file,
      path,
      chunkSequence,
      firstRecordSequence,
      createdMs,
      checksum,
      bytes: 0,
      recordCount: 0,
      slotSequence: 1,
      isDurable: false,
      isUnconfirmed: false,
    }
    this.#chunk = chunk
    const prepare = attempt(() => file.writeUnsafe(header, 0, header.length, 0)).pipe(
      Effect.andThen(file.syncData),
      Effect.andThen(directory.sync(this.#options.path)),
    )
    yield* Effect.onError(prepare, () => this.#abandon(chunk))
    this.#note(chunk, false)
    return chunk
  })

  /** Gives a chunk up after a failure; it is removed when nothing durable is in it. */
  #abandon(chunk: OpenChunk): Effect.Effect<void> {
    return Effect.suspend(() => {
      chunk.file.closeUnsafe()
      if (this.#chunk === chunk) this.#chunk = undefined
      if (chunk.isDurable) return this.#tellSealed(chunk, false)
      this.#chunks = this.#chunks.filter((info) => info.chunkSequence !== chunk.chunkSequence)
      return Effect.ignore(this.#options.directory.remove(chunk.path))
    })
  }

  /** Number of the newest chunk file. */
  get chunkSequence(): number {
    return this.#nextChunkSequence - 1
  }

  /**
   * Seals the open chunk, if there is one with records; the next commit makes another. When the disk fails the chunk is left as it is: its
   * records are durable, and the next open completes it. Cannot be interrupted.
   */
  readonly seal: Effect.Effect<void> = Effect.uninterruptible(
    Effect.suspend(() => {
      const chunk = this.#chunk
      if (chunk === undefined || chunk.recordCount === 0) return Effect.void
      this.#chunk = undefined
      // Without a confirming slot the other one commits fewer bytes; with one there are two of the same, next to each other.
      const write = attempt(() => this.#writeSlot(chunk, sealingSequence(chunk.slotSequence, chunk.slotSequence)))
      return Effect.matchEffect(Effect.andThen(write, chunk.file.syncData), {
        onFailure: () => this.#tellSealed(chunk, false),
        onSuccess: () => this.#tellSealed(chunk, true),
      }).pipe(Effect.ensuring(Effect.sync(() => chunk.file.closeUnsafe())))
    }),
  )

  #tellSealed(chunk: OpenChunk, isComplete: boolean): Effect.Effect<void> {
    if (isComplete) this.#note(chunk, true)
    const { path, chunkSequence, firstRecordSequence } = chunk
    const name = manifestFileName(manifestKindLog, chunkSequence)
    const bytes = manifestHeaderBytes + chunk.bytes
    const sealed: SealedChunk = { name, path, chunkSequence, bytes, firstRecordSequence, isComplete }
    return tell(this.#options.hooks.onChunkSealed, sealed)
  }

  /** Tells of chunks that were there before opening, but for the open one. `completed` has the lengths of those that were just sealed. */
  tellOfChunks(chunks: LoadedManifest["chunks"], completed: ReadonlyMap<number, number>): Effect.Effect<void> {
    const there = chunks.filter((info) => info.recordCount > 0 && info.chunkSequence !== this.#chunk?.chunkSequence)
    const tellOne = ({ chunkSequence, fileBytes, firstRecordSequence, isSealed }: ManifestChunkInfo) => {
      const name = manifestFileName(manifestKindLog, chunkSequence)
      const path = `${this.#options.path}/${name}`
      const bytes = completed.get(chunkSequence) ?? fileBytes
      const isComplete = isSealed || completed.has(chunkSequence)
      const sealed: SealedChunk = { name, path, chunkSequence, bytes, firstRecordSequence, isComplete }
      return tell(this.#options.hooks.onChunkSealed, sealed)
    }
    return Effect.forEach(there, tellOne, { discard: true })
  }

  /** Names of the chunks up to `chunkSequence`, which a snapshot has replaced; they no longer count. */
  takeCovered(chunkSequence: number): ReadonlyArray<string> {
    const covered = this.#chunks.filter((info) => info.chunkSequence <= chunkSequence)
    this.#chunks = this.#chunks.filter((info) => info.chunkSequence > chunkSequence)
    return covered.map((info) => manifestFileName(manifestKindLog, info.chunkSequence))
  }

  /** Confirms the last commit with a second slot, so that the chunk counts as closed in order, and releases it. Failures are ignored. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const chunk = this.#chunk
    this.#chunk = undefined
    if (chunk === undefined) return Effect.void
    const confirm = chunk.isUnconfirmed
      ? Effect.andThen(
          attempt(() => this.#writeSlot(chunk, chunk.slotSequence + 1)),
          chunk.file.syncData,
        )
      : Effect.void
    return Effect.ensuring(
      Effect.ignore(confirm),
      Effect.sync(() => chunk.file.closeUnsafe()),
    )
  })
}
