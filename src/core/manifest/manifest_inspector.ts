/**
 * Takes the manifest of a root apart without changing anything: its files, every record in them, and what they add up to. Works beside a
 * living writer, and on whatever damage: what does not check is said, not thrown.
 */
import * as Effect from "effect/Effect"
import { decodeManifestHeader, parseManifestFileName } from "../../format/manifest_chunk.ts"
import { decodeRootFile } from "../../format/root_file.ts"
import type { AofError } from "../../model/errors.ts"
import type { ManifestDamage } from "../../model/manifest_metrics.ts"
import { Directory } from "../../port/directory.ts"
import type { ManifestState, ManifestStream, SealedSegment, TrimPoint } from "../../state/manifest_state.ts"
import type { QueuedDeletes, SegmentTiers } from "../../state/manifest_tiers.ts"
import { rootFilePath } from "../files/paths.ts"
import { missingRoot } from "../files/root.ts"
import { type InspectedFile, inspectFile, isSnapshotName, unreadFile } from "./manifest_inspection.ts"
import { type FoundFiles, readManifest, replayManifest } from "./manifest_load.ts"
import { manifestPath } from "./manifest_log.ts"

/** A sealed segment and its copies. */
export interface InspectedSegment extends Omit<SegmentTiers, "compressed" | "uploading" | "uploaded"> {
  /** Index of the segment in its stream. */
  readonly segmentIndex: number
  /** What the manifest knows of the sealed file. */
  readonly sealed: SealedSegment
  /** The tiers in which a copy should be, from what the manifest knows; evictions are hints. */
  readonly tiers: ReadonlyArray<0 | 1 | 2>
  /** Its warm file. */
  readonly compressed: SegmentTiers["compressed"]
  /** An upload that was begun and not finished. */
  readonly uploading: SegmentTiers["uploading"]
  /** Its object in Tier 2. */
  readonly uploaded: SegmentTiers["uploaded"]
}

/** A stream as the manifest knows it. */
export interface InspectedStream {
  /** Id of the stream, never reused. */
  readonly streamId: number
  /** Empty when the record that made it was lost to damage. */
  readonly name: string
  /** Unix time of its creation in milliseconds. */
  readonly createdMs: number
  /** Where it begins after trims. */
  readonly trim: TrimPoint | undefined
  /** Sealed segments in order of index. */
  readonly segments: ReadonlyArray<InspectedSegment>
  /** Indexes of segments that are open. */
  readonly openSegments: ReadonlyArray<number>
  /** Keys of the objects that hold its segments, in order of segment. */
  readonly tier2Keys: ReadonlyArray<string>
  /** Keys of its objects that are queued for deletion. */
  readonly queuedKeys: ReadonlyArray<string>
}

/** A whole manifest. */
export interface ManifestInspection {
  /** The root that was looked at. */
  readonly root: string
  /** From the root file, else from the newest header that checks; undefined when there is neither. */
  readonly rootId: Uint8Array | undefined
  /** False when the root file is not there or does not check. */
  readonly isRootFileIntact: boolean
  /** All files of the directory, in order of name. */
  readonly files: ReadonlyArray<InspectedFile>
  /** What a replay finds out of order. */
  readonly damage: ReadonlyArray<ManifestDamage>
  /** Sequence of the last record. */
  readonly lastSequence: number
  /** Id of the next stream. */
  readonly nextStreamId: number
  /** Every stream, with its segments. */
  readonly streams: ReadonlyArray<InspectedStream>
  /** Objects that are queued for deletion, those of deleted streams too, by key. */
  readonly deletes: QueuedDeletes
  /** The writer of the highest epoch. */
  readonly epoch: ManifestState["epoch"]
}

/**
 * Inspects the manifest of a root. Fails `NotFound` when there is no such directory, and `Unavailable` when the disk fails; never because of
 * what is in the files. Interrupting it changes nothing.
 */
export const inspectManifest: (root: string) => Effect.Effect<ManifestInspection, AofError, Directory> =
  Effect.fnUntraced(function* (root: string): Effect.fn.Return<ManifestInspection, AofError, Directory> {
    const directory = yield* Directory
    if ((yield* directory.kind(root)) !== "directory") return yield* missingRoot(root)
    const rootBytes = yield* directory.readFile(rootFilePath(root))
    const rootFile = rootBytes === undefined ? undefined : decodeRootFile(rootBytes)
    const found = yield* readManifest(directory, manifestPath(root))
    const rootId = rootFile?.rootId ?? newestRootId(found)
    const loaded = replayManifest(found, { rootId: rootId ?? new Uint8Array(16) })
    const { state, damage, lastSequence } = loaded
    return {
      root,
      rootId,
      isRootFileIntact: rootFile !== undefined,
      files: inspectFiles(found, rootId),
      damage,
      lastSequence,
      nextStreamId: state.nextStreamId,
      streams: [...state.streams.values()].map((stream) => inspectStream(stream, state)),
      deletes: new Map(state.deletes),
      epoch: state.epoch,
    }
  })

const newestRootId = (found: FoundFiles): Uint8Array | undefined =>
  found.files
    .map((file) => decodeManifestHeader(file.bytes))
    .filter((header) => header !== undefined)
    .sort((one, other) => other.chunkSequence - one.chunkSequence)[0]?.rootId

/** Chunks say of the ones before them what was durable. */
const inspectFiles = (found: FoundFiles, rootId: Uint8Array | undefined): ReadonlyArray<InspectedFile> => {
  const read = new Map(found.files.map((file) => [file.name, file.bytes]))
  const chunks = found.files.filter((file) => !isSnapshotName(file.name))
  const starts = chunks
    .map((file) => [file.chunkSequence, decodeManifestHeader(file.bytes)?.firstRecordSequence] as const)
    .sort(([one], [other]) => one - other)
  return found.names.map((name) => {
    const bytes = read.get(name)
    const parsed = parseManifestFileName(name)
    if (bytes === undefined || parsed === undefined) return unreadFile(name)
    const later = starts.find(([sequence, start]) => sequence > parsed.chunkSequence && start !== undefined)
    return inspectFile(name, bytes, { rootId, durableBefore: isSnapshotName(name) ? undefined : later?.[1] })
  })
}

const inspectStream = (stream: ManifestStream, state: ManifestState): InspectedStream => {
  const { streamId, name, createdMs, trim } = stream
  const segments = [...stream.sealed.values()].map((sealed) => inspectSegment(sealed, stream))
  return {
    streamId,
    name,
    createdMs,
    trim,
    segments,
    openSegments: [...stream.opened.keys()],
    tier2Keys: segments.flatMap(({ uploaded }) => (uploaded === undefined ? [] : [uploaded.key])),
    queuedKeys: [...state.deletes.values()].filter((one) => one.streamId === streamId).map(({ key }) => key),
  }
}

const inspectSegment = (sealed: SealedSegment, stream: ManifestStream): InspectedSegment => {
  const { segmentIndex } = sealed
  const known = stream.tiers.get(segmentIndex)
  const tiers: Array<0 | 1 | 2> = []
  if (known?.isHotEvicted !== true) tiers.push(0)
  if (known?.compressed !== undefined && !known.isWarmEvicted) tiers.push(1)
  if (known?.uploaded !== undefined) tiers.push(2)
  return {
    segmentIndex,
    sealed,
    tiers,
    compressed: known?.compressed,
    uploading: known?.uploading,
    uploaded: known?.uploaded,
    isHotEvicted: known?.isHotEvicted === true,
    isWarmEvicted: known?.isWarmEvicted === true,
  }
}
