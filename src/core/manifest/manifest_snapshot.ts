/** Writes a snapshot of the manifest: a temporary file, synced and renamed, so that it is there whole or not at all. */
import * as Effect from "effect/Effect"
import { crc64Start } from "../../format/checksum.ts"
import {
  commitSlotOffsets,
  encodeCommitSlot,
  encodeManifestHeader,
  manifestFileName,
  manifestHeaderBytes,
  manifestKindSnapshot,
  parseManifestFileName,
} from "../../format/manifest_chunk.ts"
import { encodeManifestRecord, type ManifestRecord } from "../../format/manifest_record.ts"
import { assert } from "../../model/assert.ts"
import type { Unavailable } from "../../model/errors.ts"
import type { Directory } from "../../port/directory.ts"
import type { WrittenSnapshot } from "./manifest_hooks.ts"

/** Records encoded between two turns of the event loop. */
const sliceRecords = 512

export interface SnapshotOptions {
  readonly path: string
  readonly rootId: Uint8Array
  /** What `snapshotRecords` gave, the marker last. */
  readonly records: ReadonlyArray<ManifestRecord>
  /** The newest chunk that it covers. */
  readonly chunkSequence: number
}

/** A snapshot that was written. */
export interface SnapshotResult {
  readonly written: WrittenSnapshot
  /** Names of older snapshots, which it replaces. */
  readonly older: ReadonlyArray<string>
}

/**
 * Writes a snapshot and returns what it is and which older ones it replaces; removing these is the caller's. After interruption or failure a temporary file may be
 * left, which the next open removes.
 */
export const writeManifestSnapshot: (
  directory: Directory,
  options: SnapshotOptions,
) => Effect.Effect<SnapshotResult, Unavailable> = Effect.fnUntraced(function* (
  directory: Directory,
  options: SnapshotOptions,
): Effect.fn.Return<SnapshotResult, Unavailable> {
  const bytes = yield* encodeSnapshot(options)
  const name = manifestFileName(manifestKindSnapshot, options.chunkSequence)
  const target = `${options.path}/${name}`
  const temporary = `${target}.tmp`
  yield* directory.remove(temporary)
  const create = Effect.try({
    try: () => directory.openUnsafe(temporary, "create"),
    catch: (error) => error as Unavailable,
  })
  yield* Effect.acquireUseRelease(
    create,
    (file) =>
      Effect.try({
        try: () => file.writeUnsafe(bytes, 0, bytes.length, 0),
        catch: (error) => error as Unavailable,
      }).pipe(Effect.andThen(file.syncData)),
    (file) => Effect.sync(() => file.closeUnsafe()),
  )
  yield* directory.rename(temporary, target)
  yield* directory.sync(options.path)
  const entries = yield* directory.list(options.path)
  const older = entries.map((entry) => entry.name).filter((other) => isOlder(other, options.chunkSequence))
  const marker = options.records.at(-1)
  const coversSequence = marker?.type === "SnapshotMarker" ? marker.coversSequence : 0
  const { chunkSequence } = options
  return { written: { name, path: target, chunkSequence, bytes: bytes.length, coversSequence }, older }
})

const isOlder = (name: string, chunkSequence: number): boolean => {
  const parsed = parseManifestFileName(name)
  return parsed !== undefined && parsed.kind === manifestKindSnapshot && parsed.chunkSequence < chunkSequence
}

const encodeSnapshot = Effect.fnUntraced(function* (options: SnapshotOptions): Effect.fn.Return<Uint8Array> {
  const { rootId, chunkSequence, records } = options
  const parts: Array<Uint8Array> = []
  const checksum = crc64Start()
  let committedBytes = 0
  for (const record of records) {
    const part = encodeManifestRecord(record)
    checksum.update(part)
    committedBytes += part.length
    if (parts.push(part) % sliceRecords === 0) yield* Effect.yieldNow
  }
  const marker = records.at(-1)
  assert(marker?.type === "SnapshotMarker", "a snapshot ends in its marker")
  const { coversSequence, timestampMs: createdMs } = marker
  const header = {
    kind: manifestKindSnapshot,
    rootId,
    chunkSequence,
    firstRecordSequence: coversSequence + 1,
    createdMs,
  }
  const bytes = new Uint8Array(manifestHeaderBytes + committedBytes)
  bytes.set(encodeManifestHeader(header))
  const slot = { committedBytes, recordCount: records.length, checksum64: checksum.digest() }
  encodeCommitSlot(bytes, commitSlotOffsets[0], { sequence: 1, ...slot })
  encodeCommitSlot(bytes, commitSlotOffsets[1], { sequence: 2, ...slot })
  let at = manifestHeaderBytes
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
})

/** Removes files of the manifest's directory and syncs it. */
export const removeManifestFiles: (
  directory: Directory,
  path: string,
  names: ReadonlyArray<string>,
) => Effect.Effect<void, Unavailable> = Effect.fnUntraced(function* (
  directory: Directory,
  path: string,
  names: ReadonlyArray<string>,
): Effect.fn.Return<void, Unavailable> {
  if (names.length === 0) return
  for (const name of names) yield* directory.remove(`${path}/${name}`)
  yield* directory.sync(path)
})
