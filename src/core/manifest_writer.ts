/**
 * The writing half of the manifest: staged records, the chunk that takes them, rotation, snapshots. One fiber owns it (the
 * committer of `manifest_log.ts`); `stage` alone is called from elsewhere, synchronously.
 *
 * - A record is written to exactly one place until a sync covers it; bytes stay staged until then.
 * - A sync or write that failed is never tried again on the same file: all that is not durable goes into a fresh chunk, with the
 *   same sequences.
 * - A chunk's header is synced, and its directory entry too, before the first commit in it.
 */
import * as Effect from "effect/Effect"
import { type Crc64, crc64Start } from "../format/checksum.ts"
import {
  commitSlotOffset,
  encodeCommitSlot,
  encodeManifestHeader,
  manifestFileName,
  manifestHeaderBytes,
  manifestKindLog,
} from "../format/manifest_chunk.ts"
import { encodeManifestRecord, type ManifestRecord } from "../format/manifest_record.ts"
import type { Unavailable } from "../model/errors.ts"
import type { Directory } from "../port/directory.ts"
import type { SegmentFile } from "../port/segment_file.ts"
import type { LoadedManifest, ManifestChunkInfo } from "./manifest_load.ts"

const slotBytes = 40

interface StagedRecord {
  readonly sequence: number
  readonly bytes: Uint8Array
}

interface OpenChunk {
  readonly file: SegmentFile
  readonly path: string
  readonly chunkSequence: number
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
  readonly nowMs: () => number
}

const attempt = (run: () => void): Effect.Effect<void, Unavailable> =>
  Effect.try({ try: run, catch: (error) => error as Unavailable })

/** Owns the chunk files of an open manifest. */
export class ManifestWriter {
  readonly #options: ManifestWriterOptions
  #staged: Array<StagedRecord> = []
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

  /** Encodes a record for the next commit. */
  stage(record: ManifestRecord): void {
    this.#staged.push({ sequence: record.sequence, bytes: encodeManifestRecord(record) })
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
      const chunk: OpenChunk = this.#chunk ?? (yield* this.#create(this.#staged[0]!.sequence))
      const count = this.#fitting(chunk, last)
      if (count === 0) {
        this.rotate()
        continue
      }
      const bytes = this.#take(count)
      yield* Effect.onError(this.#write(chunk, bytes, count), () => this.#abandon(chunk))
      chunk.isDurable = true
      this.#staged.splice(0, count)
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
      this.#writeSlot(chunk)
    })
    return Effect.andThen(write, chunk.file.syncData)
  }

  #writeSlot(chunk: OpenChunk): void {
    const sequence = ++chunk.slotSequence
    const slot = new Uint8Array(slotBytes)
    encodeCommitSlot(slot, 0, {
      sequence,
      committedBytes: chunk.bytes,
      recordCount: chunk.recordCount,
      checksum64: chunk.checksum.digest(),
    })
    chunk.file.writeUnsafe(slot, 0, slotBytes, commitSlotOffset(sequence))
    const info = this.#chunks.at(-1)
    if (info?.chunkSequence === chunk.chunkSequence) this.#chunks.pop()
    this.#chunks.push({ chunkSequence: chunk.chunkSequence, fileBytes: manifestHeaderBytes + chunk.bytes })
  }

  readonly #create = Effect.fnUntraced({ self: this }, function* (firstRecordSequence: number): Effect.fn.Return<
    OpenChunk,
    Unavailable
  > {
    const { directory, rootId, nowMs } = this.#options
    const chunkSequence = this.#nextChunkSequence++
    const path = `${this.#options.path}/${manifestFileName(manifestKindLog, chunkSequence)}`
    const header = encodeManifestHeader({
      kind: manifestKindLog,
      rootId,
      chunkSequence,
      firstRecordSequence,
      createdMs: nowMs(),
    })
    const file = yield* Effect.try({
      try: () => directory.openUnsafe(path, "create"),
      catch: (error) => error as Unavailable,
    })
    const checksum = crc64Start()
    const chunk: OpenChunk = {
      file,
      path,
      chunkSequence,
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
    this.#chunks.push({ chunkSequence, fileBytes: header.length })
    return chunk
  })

  /** Gives a chunk up after a failure; it is removed when nothing durable is in it. */
  #abandon(chunk: OpenChunk): Effect.Effect<void> {
    return Effect.suspend(() => {
      chunk.file.closeUnsafe()
      if (this.#chunk === chunk) this.#chunk = undefined
      if (chunk.isDurable) return Effect.void
      this.#chunks = this.#chunks.filter((info) => info.chunkSequence !== chunk.chunkSequence)
      return Effect.ignore(this.#options.directory.remove(chunk.path))
    })
  }

  /** Closes the chunk; the next commit makes another. Returns the number of the newest chunk file. */
  rotate(): number {
    this.#chunk?.file.closeUnsafe()
    this.#chunk = undefined
    return this.#nextChunkSequence - 1
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
          attempt(() => this.#writeSlot(chunk)),
          chunk.file.syncData,
        )
      : Effect.void
    return Effect.ensuring(
      Effect.ignore(confirm),
      Effect.sync(() => chunk.file.closeUnsafe()),
    )
  })
}
