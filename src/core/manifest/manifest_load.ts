/**
 * Reads the manifest's directory: the newest complete snapshot, then the chunks behind it. Never refuses because of damage: what
 * checks counts, the rest is reported. Reads while a writer appends, rotates and prunes: the header block of a file is read before
 * its records, which were written before the slots that commit them; a file that is gone means that a snapshot has replaced
 * it, and the directory is read again.
 */
import * as Effect from "effect/Effect"
import { crc64 } from "../../format/checksum.ts"
import {
  type CommitSlot,
  chunkBytesMax,
  decodeCommitSlots,
  decodeManifestHeader,
  manifestHeaderBytes,
  manifestKindLog,
  manifestKindSnapshot,
  parseManifestFileName,
} from "../../format/manifest_chunk.ts"
import type { ManifestRecord, ManifestRecordOf } from "../../format/manifest_record.ts"
import { type Unavailable, unavailable } from "../../model/errors.ts"
import type { ManifestDamage } from "../../model/manifest_metrics.ts"
import type { Directory } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { type ScannedManifestFile, scanManifestFile } from "../../state/manifest_replay.ts"
import { applyManifestRecord, emptyManifestState, type ManifestState } from "../../state/manifest_state.ts"

/** A chunk of the log that the newest snapshot does not cover. */
export interface ManifestChunkInfo {
  readonly chunkSequence: number
  /** Length of the file. */
  readonly fileBytes: number
  /** Sequence of its first record; 0 when its header is damaged. */
  readonly firstRecordSequence: number
  /** Records that count in it. */
  readonly recordCount: number
  /** True when it was sealed for good. */
  readonly isSealed: boolean
}

/** A chunk that ended without order: what makes it a sealed one. */
export interface UnsettledChunk {
  readonly chunkSequence: number
  /** The slot that seals it, and the length up to which it counts. */
  readonly slot: CommitSlot
}

/** Where to read on: a state and what it contains. */
export interface ManifestPosition {
  readonly state: ManifestState
  /** Sequence of the last record that was applied. */
  readonly lastSequence: number
  /** Number of the newest chunk with a valid header; 0 for none. */
  readonly chunkSequence: number
}

export interface LoadedManifest extends ManifestPosition {
  /** Number and length of the snapshot that was used; zeros for none. */
  readonly snapshot: { readonly chunkSequence: number; readonly fileBytes: number; readonly coversSequence: number }
  /** False when only parts of it checked. */
  readonly isSnapshotComplete: boolean
  readonly chunks: ReadonlyArray<ManifestChunkInfo>
  /** Chunks without damage that are not sealed, but for `open`. */
  readonly unsettled: ReadonlyArray<UnsettledChunk>
  /** Records of chunks, in order, when `isTelling` was asked for. */
  readonly told: ReadonlyArray<ManifestRecord>
  /** Records that count but are not known to have reached the disk: a writer writes them again. */
  readonly unconfirmed: ReadonlyArray<ManifestRecord>
  /** The newest chunk with its bytes, when a writer may go on in it. */
  readonly open:
    | { readonly scanned: ScannedManifestFile; readonly bytes: Uint8Array; readonly chunkSequence: number }
    | undefined
  /** The highest number of any file. */
  readonly fileSequenceMax: number
  /** Names of files that the snapshot has replaced. */
  readonly stale: ReadonlyArray<string>
  readonly recordCount: number
  readonly trimmedBytes: number
  readonly newestTimestampMs: number
  readonly damage: ReadonlyArray<ManifestDamage>
  /** False when reading on was not possible, because files in between are gone: load without `from`. */
  readonly isConnected: boolean
}

/** What to load. */
export interface LoadOptions {
  readonly path: string
  readonly rootId: Uint8Array
  readonly from?: ManifestPosition | undefined
  /** True to keep the records of chunks for `told`. */
  readonly isTelling?: boolean | undefined
}

/** A file of the manifest as it was read. */
export interface FoundFile {
  readonly name: string
  readonly chunkSequence: number
  readonly bytes: Uint8Array
}

/** The names in the manifest's directory, and those files of it that were wanted. */
export interface FoundFiles {
  readonly names: ReadonlyArray<string>
  readonly files: ReadonlyArray<FoundFile>
}

interface SnapshotScan {
  readonly file: FoundFile
  readonly scanned: ScannedManifestFile
  readonly isOurs: boolean
  readonly marker: ManifestRecordOf<"SnapshotMarker"> | undefined
  readonly isComplete: boolean
}

const attemptsMax = 16
/** Bytes that are looked at of a snapshot both of whose slots are damaged. */
const snapshotBytesMax = 67_108_864

/** Loads everything, or what came after `from` into its state. Fails `Unavailable` when the disk does; never because of damage. */
export const loadManifest = (directory: Directory, options: LoadOptions): Effect.Effect<LoadedManifest, Unavailable> =>
  Effect.map(readManifest(directory, options.path, options.from), (found) => replayManifest(found, options))

/** What the files add up to. */
export const replayManifest = (found: FoundFiles, options: Omit<LoadOptions, "path">): LoadedManifest => {
  const load = new Load(options, found.names)
  load.files(found.files)
  return load.result()
}

/** Reads all files of the manifest, or only the chunks from where to read on. Fails `Unavailable` when the disk does. */
export const readManifest: (
  directory: Directory,
  path: string,
  from?: ManifestPosition,
) => Effect.Effect<FoundFiles, Unavailable> = Effect.fnUntraced(function* (
  directory: Directory,
  path: string,
  from?: ManifestPosition,
): Effect.fn.Return<FoundFiles, Unavailable> {
  for (let attempt = 1; ; attempt++) {
    const entries = yield* directory.list(path)
    const names = entries.filter((entry) => !entry.isDirectory).map((entry) => entry.name)
    const files = yield* readFiles(directory, path, wantedNames(names, from))
    if (files !== undefined) return { names, files }
    if (attempt === attemptsMax) return yield* unavailable("reading a manifest that changes", "EAGAIN", path)
  }
})

/** The file's bytes up to `bytesMax`, its header block read first; undefined when it is not there (any more). */
export const readManifestFile = (
  directory: Directory,
  path: string,
  bytesMax: number = Number.MAX_SAFE_INTEGER,
): Effect.Effect<Uint8Array | undefined, Unavailable> => {
  const attempt = <A>(run: () => A): Effect.Effect<A, Unavailable> =>
    Effect.try({ try: run, catch: (error) => error as Unavailable })
  const read = Effect.acquireUseRelease(
    attempt(() => directory.openUnsafe(path, "read")),
    (file) => attempt(() => readWhole(file, bytesMax)),
    (file) => Effect.sync(() => file.closeUnsafe()),
  )
  return Effect.catch(read, (error) => (error.code === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(error)))
}

const readWhole = (file: SegmentFile, bytesMax: number): Uint8Array => {
  const head = new Uint8Array(manifestHeaderBytes)
  const headBytes = file.readUnsafe(head, 0, manifestHeaderBytes, 0)
  const sizeBytes = Math.min(file.sizeUnsafe(), bytesMax, bytesMaxOf(head))
  if (headBytes < manifestHeaderBytes || sizeBytes <= manifestHeaderBytes) return head.subarray(0, headBytes)
  const bytes = new Uint8Array(sizeBytes)
  bytes.set(head)
  const read = file.readUnsafe(bytes, manifestHeaderBytes, sizeBytes, manifestHeaderBytes)
  return bytes.subarray(0, manifestHeaderBytes + read)
}

/** No file counts beyond what its slots or its kind allow: a file of a hostile size does not fill the memory. */
const bytesMaxOf = (head: Uint8Array): number => {
  const claimed = decodeCommitSlots(head).map((slot) => manifestHeaderBytes + slot.committedBytes)
  return decodeManifestHeader(head)?.kind === manifestKindSnapshot
    ? Math.max(0, ...claimed) || snapshotBytesMax
    : Math.max(chunkBytesMax, ...claimed)
}

/** Snapshots and chunks, or only the chunks from where to read on. */
const wantedNames = (names: ReadonlyArray<string>, from: ManifestPosition | undefined): ReadonlyArray<string> =>
  names.filter((name) => {
    const parsed = parseManifestFileName(name)
    if (parsed === undefined) return false
    return from === undefined || (parsed.kind === manifestKindLog && parsed.chunkSequence >= from.chunkSequence)
  })

const readFiles = Effect.fnUntraced(function* (
  directory: Directory,
  path: string,
  names: ReadonlyArray<string>,
): Effect.fn.Return<ReadonlyArray<FoundFile> | undefined, Unavailable> {
  const found: Array<FoundFile> = []
  for (const name of names) {
    const bytes = yield* readManifestFile(directory, `${path}/${name}`)
    if (bytes === undefined) return undefined
    found.push({ name, bytes, chunkSequence: parseManifestFileName(name)?.chunkSequence ?? 0 })
  }
  return found
})

/** One pass over the files of a directory. */
class Load {
  readonly #rootId: Uint8Array
  readonly #names: ReadonlyArray<string>
  readonly #from: ManifestPosition | undefined
  readonly #state: ManifestState
  readonly #damage: Array<ManifestDamage> = []
  readonly #chunks: Array<ManifestChunkInfo> = []
  readonly #stale: Array<string> = []
  readonly #unsettled: Array<UnsettledChunk> = []
  readonly #told: Array<ManifestRecord> = []
  readonly #isTelling: boolean
  #unconfirmed: Array<ManifestRecord> = []
  #open: LoadedManifest["open"]
  #snapshot = { chunkSequence: 0, fileBytes: 0, coversSequence: 0 }
  #isSnapshotComplete = false
  #lastSequence: number
  #chunkSequence: number
  #recordCount = 0
  #trimmedBytes = 0
  #newestTimestampMs = 0
  #isConnected = true

  constructor({ rootId, from, isTelling }: Omit<LoadOptions, "path">, names: ReadonlyArray<string>) {
    this.#rootId = rootId
    this.#names = names
    this.#isTelling = isTelling === true
    this.#from = from
    this.#state = from?.state ?? emptyManifestState()
    this.#lastSequence = from?.lastSequence ?? 0
    this.#chunkSequence = from?.chunkSequence ?? 0
  }

  files(found: ReadonlyArray<FoundFile>): void {
    const isSnapshot = (file: FoundFile): boolean => parseManifestFileName(file.name)?.kind === manifestKindSnapshot
    const snapshots = found.filter(isSnapshot).sort((one, other) => other.chunkSequence - one.chunkSequence)
    const all = found.filter((file) => !isSnapshot(file)).sort((one, other) => one.chunkSequence - other.chunkSequence)
    if (this.#from !== undefined && this.#chunkSequence > 0)
      this.#isConnected = all[0]?.chunkSequence === this.#chunkSequence
    if (this.#isConnected) this.#useSnapshot(snapshots)
    const chunks: Array<FoundFile> = []
    for (const file of all) {
      if (file.chunkSequence > this.#snapshot.chunkSequence) chunks.push(file)
      else if (this.#damage.length === 0) this.#stale.push(file.name)
    }
    const starts = chunks.map((file) => decodeManifestHeader(file.bytes)?.firstRecordSequence)
    chunks.forEach((file, index) => {
      if (this.#isConnected)
        this.#chunk(
          file,
          starts[index]!,
          starts.slice(index + 1).find((start) => start !== undefined),
        )
    })
  }

  /** The newest complete one; when there is none, what still checks in the newest. */
  #useSnapshot(snapshots: ReadonlyArray<FoundFile>): void {
    const scans = snapshots.map((file) => this.#scanSnapshot(file))
    const best = scans.find((scan) => scan.isComplete) ?? scans.find((scan) => scan.isOurs)
    for (const { file, isOurs, isComplete, scanned } of scans) {
      if (file.chunkSequence < (best?.file.chunkSequence ?? 0) && best?.isComplete) this.#stale.push(file.name)
      else if (isOurs && !isComplete) {
        const whole = { from: 0, to: file.bytes.length, why: "the snapshot is not complete" }
        this.#report(file.name, scanned.damage.length > 0 ? scanned.damage : [whole])
      }
    }
    if (best === undefined) return
    const { file, scanned, marker } = best
    this.#applyAll(scanned.records)
    this.#lastSequence = marker?.coversSequence ?? Math.max(0, (scanned.header?.firstRecordSequence ?? 0) - 1)
    const coversSequence = this.#lastSequence
    const { chunkSequence, bytes } = file
    this.#isSnapshotComplete = best.isComplete
    if (coversSequence > 0) this.#snapshot = { chunkSequence, fileBytes: bytes.length, coversSequence }
    if (marker === undefined) this.#skipStreamIds()
  }

  #scanSnapshot(file: FoundFile): SnapshotScan {
    const scanned = scanManifestFile(file.bytes, { lastSequence: 0, durableBefore: undefined })
    const isOurs = this.#isOurs(file, scanned, manifestKindSnapshot)
    const last = scanned.records.at(-1)
    const marker = last?.type === "SnapshotMarker" ? last : undefined
    const isWhole = marker?.recordCount === scanned.records.length - 1 && scanned.damage.length === 0
    return { file, scanned, isOurs, marker, isComplete: isOurs && isWhole && scanned.header !== undefined }
  }

  /** The marker that told the next stream id is lost: leaves a gap, so that the id of a deleted stream is not used again. */
  #skipStreamIds(): void {
    const nextStreamId = this.#state.nextStreamId + 65536
    const counts = { coversSequence: 0, nextStreamId, streamCount: 0, recordCount: 0 }
    const head = { streamId: 0, reasonCode: 0, sequence: 0, timestampMs: 0, rest: undefined }
    applyManifestRecord(this.#state, { type: "SnapshotMarker", ...head, ...counts })
  }

  #chunk(file: FoundFile, start: number | undefined, durableBefore: number | undefined): void {
    if (start !== undefined && start > this.#lastSequence + 1) this.#gap(file, start)
    if (!this.#isConnected) return
    const scanned = scanManifestFile(file.bytes, { lastSequence: this.#lastSequence, durableBefore })
    if (!this.#isOurs(file, scanned, manifestKindLog)) return
    const confirmed = Math.max((start ?? 1) - 1, scanned.confirmedSequence)
    this.#unconfirmed = this.#unconfirmed.concat(scanned.records).filter((record) => record.sequence > confirmed)
    this.#applyAll(scanned.records)
    this.#lastSequence = Math.max(this.#lastSequence, scanned.records.at(-1)?.sequence ?? 0, (start ?? 0) - 1)
    this.#trimmedBytes += scanned.trimmedBytes
    this.#report(file.name, scanned.damage)
    this.#keep(file, scanned)
    this.#open = scanned.isClean ? { scanned, bytes: file.bytes, chunkSequence: file.chunkSequence } : undefined
    if (scanned.header !== undefined) this.#chunkSequence = file.chunkSequence
  }

  /** What a writer has to know of a chunk. */
  #keep(file: FoundFile, scanned: ScannedManifestFile): void {
    const { chunkSequence, bytes } = file
    const { header, committedBytes, committedCount: recordCount, isSealed, sealingSequence: sequence } = scanned
    // Its writer had only begun to make it, and nothing was ever in it.
    const isBegun = header === undefined || scanned.slotSequence === 0
    if (isBegun && bytes.length <= manifestHeaderBytes && scanned.damage.length === 0) {
      this.#stale.push(file.name)
      return
    }
    const firstRecordSequence = header?.firstRecordSequence ?? 0
    this.#chunks.push({ chunkSequence, fileBytes: bytes.length, firstRecordSequence, recordCount, isSealed })
    if (this.#isTelling) for (const record of scanned.records) this.#told.push(record)
    if (isSealed || header === undefined || sequence === 0 || scanned.damage.length > 0) return
    const checksum64 = crc64(bytes.subarray(manifestHeaderBytes, manifestHeaderBytes + committedBytes))
    this.#unsettled.push({ chunkSequence, slot: { sequence, committedBytes, recordCount, checksum64 } })
  }

  /** Sequences between the last record and the start of this chunk are in no file. */
  #gap(file: FoundFile, start: number): void {
    if (this.#from !== undefined) this.#isConnected = false
    else if (this.#damage.length === 0) {
      this.#report(file.name, [
        { from: 0, to: 0, why: `records ${this.#lastSequence + 1} to ${start - 1} before this file are missing` },
      ])
    }
  }

  #isOurs(file: FoundFile, scanned: ScannedManifestFile, kind: number): boolean {
    const header = scanned.header
    if (header === undefined) return true
    const isNamed = header.kind === kind && header.chunkSequence === file.chunkSequence
    const isOurs = isNamed && header.rootId.every((byte, index) => byte === this.#rootId[index])
    if (!isOurs)
      this.#report(file.name, [
        { from: 0, to: file.bytes.length, why: "the file belongs to another root or has another name" },
      ])
    return isOurs
  }

  #applyAll(records: ReadonlyArray<ManifestRecord>): void {
    for (const record of records) {
      applyManifestRecord(this.#state, record)
      if (record.timestampMs > this.#newestTimestampMs) this.#newestTimestampMs = record.timestampMs
    }
    this.#recordCount += records.length
  }

  #report(file: string, damage: ScannedManifestFile["damage"]): void {
    for (const one of damage) this.#damage.push({ file, ...one })
  }

  result(): LoadedManifest {
    const numbers = this.#names.map((name) => parseManifestFileName(name.replace(/\.tmp$/, ""))?.chunkSequence ?? 0)
    return {
      state: this.#state,
      lastSequence: this.#lastSequence,
      chunkSequence: this.#chunkSequence,
      snapshot: this.#snapshot,
      isSnapshotComplete: this.#isSnapshotComplete,
      chunks: this.#chunks,
      unsettled: this.#unsettled.filter((chunk) => chunk.chunkSequence !== this.#open?.chunkSequence),
      told: this.#told,
      unconfirmed: this.#unconfirmed,
      open: this.#open,
      fileSequenceMax: Math.max(0, ...numbers),
      stale: this.#stale.concat(this.#names.filter((name) => name.endsWith(".tmp"))),
      recordCount: this.#recordCount,
      trimmedBytes: this.#trimmedBytes,
      newestTimestampMs: this.#newestTimestampMs,
      damage: this.#damage,
      isConnected: this.#isConnected,
    }
  }
}
