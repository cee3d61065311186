/**
 * Finds copies of sealed segments that the manifest does not know (any more), because records of it were lost: warm files on the disk, and
 * objects in Tier 2. What they say of themselves becomes records again. Nothing is moved or removed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ManifestEvent } from "../../format/manifest_record.ts"
import type { AofError } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import type { Compressor } from "../../port/compressor.ts"
import type { Directory } from "../../port/directory.ts"
import type { ManifestState, ManifestStream } from "../../state/manifest_state.ts"
import { warmPathOf } from "../files/paths.ts"
import { attempt } from "../flow/attempt.ts"
import type { Tier2 } from "../tier2/tier2.ts"
import { compressionEvent, type ReadBytes, readWarmFacts, sealEvent, type WarmFacts } from "./repair_facts.ts"

/** What a search works with. */
export interface RestoreServices {
  readonly root: string
  readonly rootId: Uint8Array
  readonly directory: Directory
  readonly compressor: Compressor
  readonly tier2: Tier2 | undefined
  readonly state: ManifestState
  /** Objects of earlier writers are what this one, or the last, has not found when it came: they count for nothing. */
  readonly writerEpochMin: number
  /** Adds a record to the manifest, and applies it to `state`. */
  readonly append: (event: ManifestEvent) => void
}

/** Which files of a stream there are. */
export interface FoundCopies {
  readonly hot: ReadonlySet<number>
  readonly warm: ReadonlySet<number>
  /** True when records may be missing from the manifest: then Tier 2 is asked for every object of the stream. */
  readonly isDamaged: boolean
}

/** What was found. */
export interface RestoredCopies {
  /** Segments of which a copy is known again, and where it is. */
  readonly restored: ReadonlyArray<{ readonly segmentIndex: number; readonly place: string }>
  /** Set when Tier 2 could not be asked: what it has is not known. */
  readonly tier2Failure: AofError | undefined
}

/** The prefix of the keys of all segments of a stream. */
export const objectPrefix = (rootId: Uint8Array, streamId: number): string => {
  const root = [...rootId].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  return `${root}/segments/${streamId}/`
}

/** Looks for copies of a stream's segments. Costs nothing where every sealed segment has one that is known. */
export const restoreCopies: (
  services: RestoreServices,
  stream: ManifestStream,
  found: FoundCopies,
) => Effect.Effect<RestoredCopies, AofError> = Effect.fnUntraced(function* (services, stream, found) {
  const restored: Array<{ readonly segmentIndex: number; readonly place: string }> = []
  for (const index of found.warm) {
    if (!isUnknownWarm(stream, found, index)) continue
    const path = warmPathOf(services.root, stream.name, index)
    if (yield* Effect.scoped(restoreWarm(services, stream, { index, path }))) {
      restored.push({ segmentIndex: index, place: path })
    }
  }
  if (services.tier2 === undefined || !needsTier2(stream, found)) return { restored, tier2Failure: undefined }
  const cold = yield* Effect.result(restoreCold(services, services.tier2, stream, found))
  if (cold._tag === "Failure") return { restored, tier2Failure: cold.failure }
  return { restored: [...restored, ...cold.success], tier2Failure: undefined }
})

const firstIndexOf = ({ trim }: ManifestStream): number => (trim === undefined ? 0 : segmentIndexOf(trim.firstRecordId))

/** A warm file of which no record speaks, where no plain file stands for it. */
const isUnknownWarm = (stream: ManifestStream, { hot, isDamaged }: FoundCopies, index: number): boolean => {
  if (index < firstIndexOf(stream) || stream.tiers.get(index)?.compressed !== undefined) return false
  return isDamaged || !hot.has(index)
}

const needsTier2 = (stream: ManifestStream, { hot, warm, isDamaged }: FoundCopies): boolean => {
  if (isDamaged) return true
  for (const index of stream.sealed.keys()) {
    if (hot.has(index)) continue
    const tiers = stream.tiers.get(index)
    const isReadable = tiers?.compressed !== undefined && (warm.has(index) || tiers.uploaded !== undefined)
    if (!isReadable) return true
  }
  return false
}

const isOurs = (services: RestoreServices, stream: ManifestStream, index: number, { header }: WarmFacts): boolean =>
  header.streamId === stream.streamId &&
  header.segmentIndex === index &&
  header.rootId.every((byte, at) => byte === services.rootId[at])

/** True when what the manifest knows of the sealed segment, if anything, is what the copy says. */
const isSame = (stream: ManifestStream, { footer }: WarmFacts): boolean => {
  const sealed = stream.sealed.get(footer.segmentIndex)
  return sealed === undefined || sealed.checksum64 === footer.checksum64
}

const restoreWarm = Effect.fnUntraced(function* (
  services: RestoreServices,
  stream: ManifestStream,
  { index, path }: { readonly index: number; readonly path: string },
): Effect.fn.Return<boolean, AofError, Scope.Scope> {
  const { directory, compressor } = services
  const warmBytes = yield* directory.sizeOf(path)
  if (warmBytes === undefined) return false
  const file = yield* Effect.acquireRelease(
    attempt(() => directory.openUnsafe(path, "read")),
    (open) => Effect.sync(() => open.closeUnsafe()),
  )
  const read: ReadBytes = (offset, length) => {
    const buffer = new Uint8Array(length)
    return Effect.map(file.read(buffer, 0, length, offset), (count) => buffer.subarray(0, count))
  }
  const facts = yield* readWarmFacts(compressor, read, warmBytes)
  if (facts === undefined || !isOurs(services, stream, index, facts) || !isSame(stream, facts)) return false
  const checksum64 = yield* compressor.checksum({ path, lengthBytes: warmBytes })
  if (!stream.sealed.has(index)) services.append(sealEvent(facts))
  services.append(compressionEvent(facts, { warmBytes, checksum64 }))
  return true
})

const keyPattern = /\/(\d{10})-e(\d+)-([0-9a-f]{16})(?:-r(\d{1,9}))?\.zst$/

interface FoundObject {
  readonly key: string
  readonly index: number
  readonly writerEpoch: number
  /** 0 for the first object that its writer has put for the segment. */
  readonly replacement: number
  readonly checksum64: bigint
  readonly lengthBytes: number
}

const restoreCold = Effect.fnUntraced(function* (
  services: RestoreServices,
  tier2: Tier2,
  stream: ManifestStream,
  { hot, warm, isDamaged }: FoundCopies,
): Effect.fn.Return<RestoredCopies["restored"], AofError> {
  const restored: Array<{ readonly segmentIndex: number; readonly place: string }> = []
  for (const object of yield* listObjects(services, tier2, stream)) {
    const { index, key } = object
    const tiers = stream.tiers.get(index)
    // What lies on the disk is uploaded again by itself, or found there again.
    const isLocal = hot.has(index) || (warm.has(index) && tiers?.compressed !== undefined)
    const isKnown = tiers?.compressed !== undefined && tiers.uploaded !== undefined
    // One that the manifest calls sealed has the same bytes, whoever has put it, and of what a manifest has lost an object may be all there is.
    const isLate = !stream.sealed.has(index) && !isDamaged && object.writerEpoch < services.writerEpochMin
    if (isLocal || isKnown || isLate || index < firstIndexOf(stream)) continue
    if (yield* restoreObject(services, tier2, stream, object)) restored.push({ segmentIndex: index, place: key })
  }
  return restored
})

/** Objects of a stream that may count, in order of segment. */
const listObjects = Effect.fnUntraced(function* (
  services: RestoreServices,
  tier2: Tier2,
  { streamId }: ManifestStream,
): Effect.fn.Return<ReadonlyArray<FoundObject>, AofError> {
  const objects: Array<FoundObject> = []
  let after: string | undefined
  do {
    const page = yield* tier2.list(objectPrefix(services.rootId, streamId), after === undefined ? {} : { after })
    for (const { key, lengthBytes } of page.objects) {
      const [, index, epoch, checksum, replacement = 0] = keyPattern.exec(key) ?? []
      if (index === undefined || epoch === undefined || checksum === undefined) continue
      // One that is queued for deletion is no copy any more.
      if (services.state.deletes.has(key)) continue
      const checksum64 = BigInt(`0x${checksum}`)
      const name = { key, index: Number(index), writerEpoch: Number(epoch), replacement: Number(replacement) }
      objects.push({ ...name, checksum64, lengthBytes })
    }
    after = page.next
  } while (after !== undefined)
  // Of those with the same bytes the last one that was put: the others were given up.
  return objects.sort((one, other) => one.index - other.index || other.replacement - one.replacement)
})

const restoreObject = Effect.fnUntraced(function* (
  services: RestoreServices,
  tier2: Tier2,
  stream: ManifestStream,
  object: FoundObject,
): Effect.fn.Return<boolean, AofError> {
  const { index, key, checksum64, lengthBytes, writerEpoch } = object
  const { streamId } = stream
  const compressed = stream.tiers.get(index)?.compressed
  const isOther =
    compressed !== undefined && (compressed.checksum64 !== checksum64 || compressed.fileBytes !== lengthBytes)
  if (isOther) return false
  let facts: WarmFacts | undefined
  if (compressed === undefined) {
    const read: ReadBytes = (offset, length) => tier2.readRange(key, offset, length)
    facts = yield* readWarmFacts(services.compressor, read, lengthBytes)
    if (facts === undefined || !isOurs(services, stream, index, facts) || !isSame(stream, facts)) return false
  }
  // Asked before anything is noted: a segment that is said to be compressed, and to be nowhere, would be waited for by replicas.
  const info = yield* tier2.head(key)
  const fileGeneration = compressed?.fileGeneration ?? facts?.footer.fileGeneration
  if (info === undefined || fileGeneration === undefined) return false
  if (facts !== undefined) {
    if (!stream.sealed.has(index)) services.append(sealEvent(facts))
    services.append(compressionEvent(facts, { warmBytes: lengthBytes, checksum64 }))
  }
  const place = { writerEpoch, offset: 0, lengthBytes, checksum64, key, etag: info.etag }
  services.append({ type: "UploadDone", streamId, segmentIndex: index, fileGeneration, ...place })
  return true
})
