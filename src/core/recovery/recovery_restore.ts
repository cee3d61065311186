/** What opening a stream makes good by itself: copies of segments that the manifest has forgotten, and headers that do not check. */
import * as Effect from "effect/Effect"
import {
  encodeSegmentHeader,
  type SegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
} from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import {
  applyManifestRecord,
  type ManifestState,
  type ManifestStream,
  type SealedSegment,
} from "../../state/manifest_state.ts"
import { quarantineLink } from "../files/quarantine.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { attempt } from "../flow/attempt.ts"
import { manifestFileNames } from "../manifest/manifest_files.ts"
import { manifestPath } from "../manifest/manifest_log.ts"
import { type RestoreServices, restoreCopies } from "../repair/repair_copies.ts"
import { type KnownSegment, rebuildHeader } from "../repair/repair_header.ts"
import { adoptStreams } from "../repair/repair_streams.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"
import type { RecoveryReport } from "./recovery_report.ts"

/** The services of an open root, for a search. */
export const restoreServicesOf = ({ config, rootId, directory, manifest, tiers }: StreamServices): RestoreServices => ({
  root: config.root,
  rootId,
  directory,
  compressor: tiers.services.compressor,
  tier2: tiers.services.tier2,
  state: manifest.state,
  writerEpochMin: tiers.services.bucket?.epochBefore ?? 0,
  append: manifest.append,
})

/** Looks for what the manifest should know of the stream's sealed segments, and makes it durable there. */
export const restoreKnown: (
  stream: StreamState,
  known: ManifestStream,
  found: { readonly hot: ReadonlySet<number>; readonly warm: ReadonlySet<number> },
  report: RecoveryReport,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream, known, found, report) {
  const { manifest } = stream.services
  const isDamaged = manifest.replay.damage.length > 0 || report.isManifestShort
  const copies = { ...found, isDamaged }
  const { restored, tier2Failure } = yield* restoreCopies(restoreServicesOf(stream.services), known, copies)
  report.tier2Failure ??= tier2Failure
  if (restored.length === 0) return
  for (const { segmentIndex, place } of restored) {
    const sealed = known.sealed.get(segmentIndex)
    const from = segmentIndex * 2 ** 28
    const bytes = sealed?.fileBytes ?? 0
    const reason = `a copy that the manifest did not know: ${place}`
    report.restore(stream.name, { from, to: from + (sealed?.durableBytes ?? 0), bytes, reason })
  }
  yield* manifest.commit
})

interface HeaderlessFile {
  readonly index: number
  readonly known: ManifestStream
  readonly file: SegmentFile
  readonly size: number
}

/** The header of an unsealed segment, made anew from its frames and the manifest, and written again. */
export const restoreHeader: (
  stream: StreamState,
  headerless: HeaderlessFile,
  report: RecoveryReport,
) => Effect.Effect<SegmentHeader | undefined, AofError> = Effect.fnUntraced(function* (
  stream,
  { index, known, file, size },
  report,
) {
  const header = yield* attempt(() => {
    const read = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)))
      return bytes.subarray(0, file.readUnsafe(bytes, 0, bytes.length, offset))
    }
    return rebuildHeader(read, size, knownSegment(stream, known, index))
  })
  if (header === undefined) return undefined
  const from = index * 2 ** 28
  const bytes = segmentHeader.sizeBytes
  report.restore(stream.name, { from, to: from + bytes, bytes, reason: "the header of a segment did not check" })
  if (stream.services.config.readOnly) return header
  const block = new Uint8Array(segmentHeaderBytes)
  encodeSegmentHeader(block, header)
  yield* attempt(() => file.writeUnsafe(block, 0, bytes, 0))
  yield* file.syncData
  return header
})

/** What the manifest says of the place of a segment. */
export const knownSegment = (stream: StreamState, known: ManifestStream, index: number): KnownSegment => {
  const opened = known.opened.get(index)
  const before = lastBefore(known, index)
  const isNext =
    before !== undefined && ![...known.opened.keys()].some((one) => one < index && one > before.segmentIndex)
  const baseOffset = before === undefined ? 0 : before.baseOffset + before.durableBytes - segmentHeaderBytes
  return {
    rootId: stream.services.rootId,
    streamId: stream.streamId,
    segmentIndex: index,
    fileGeneration: opened?.fileGeneration ?? 0,
    firstRecordNumber: opened?.firstRecordNumber,
    baseOffset: opened?.baseOffset ?? (isNext ? baseOffset : 0),
    extIdMax: before?.extIdMax ?? 0n,
    timestampMsMax: before?.timestampMsMax ?? 0,
  }
}

/** The last sealed segment before `index` that the manifest knows. */
export const lastBefore = (known: ManifestStream, index: number): SealedSegment | undefined => {
  let best: SealedSegment | undefined
  const { lastSealed } = known
  if (lastSealed !== undefined && lastSealed.segmentIndex < index) best = lastSealed
  for (const sealed of known.sealed.values()) {
    if (sealed.segmentIndex < index && sealed.segmentIndex > (best?.segmentIndex ?? -1)) best = sealed
  }
  return best
}

/**
 * There while a manifest that is missing without a trace is being made anew: as soon as it names one stream, nothing else in it would say that
 * it is not whole.
 */
const rebuildPath = (root: string): string => `${root}/REBUILD`

/** Makes streams known again whose records the manifest has lost. */
export const adoptLost: (services: StreamServices, report: RecoveryReport) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, report) {
    const { manifest, directory, config } = services
    const { nextStreamId } = manifest.state
    const marker = rebuildPath(config.root)
    report.isManifestShort = (yield* directory.kind(marker)) !== "missing"
    const isDamaged = manifest.replay.damage.length > 0 || report.isManifestShort
    const adopted = yield* adoptStreams(restoreServicesOf(services), isDamaged)
    if (adopted.length === 0) return
    report.isManifestShort ||= adopted.some(({ streamId }) => streamId >= nextStreamId)
    if (report.isManifestShort) {
      const bytes = new TextEncoder().encode("the manifest of this root is being made anew from its data\n")
      yield* replaceSmallFile(directory, { folder: config.root, path: marker, bytes })
    }
    for (const { name } of adopted) {
      report.restore(name, { from: 0, to: 0, bytes: 0, reason: "a stream that the manifest did not know" })
    }
    yield* manifest.commit
  })

/**
 * Puts a snapshot of what is known now in the place of a manifest that is damaged; its files stay in the quarantine. Not while Tier 2 could
 * not be asked: then the next open looks again.
 */
export const renewManifest: (services: StreamServices, report: RecoveryReport) => Effect.Effect<void, AofError> =
  Effect.fnUntraced(function* (services, report) {
    const { manifest, directory, config } = services
    const damaged = new Set(manifest.replay.damage.map(({ file }) => file))
    if ((damaged.size === 0 && !report.isManifestShort) || report.tier2Failure !== undefined) return
    const folder = manifestPath(config.root)
    const paths = (yield* manifestFileNames(directory, folder)).filter((name) => damaged.has(name))
    yield* quarantineLink(directory, {
      root: config.root,
      paths: paths.map((name) => `${folder}/${name}`),
      prefix: "manifest-",
    })
    skipStreamIds(manifest.state)
    yield* manifest.renew
    yield* directory.remove(rebuildPath(config.root))
    yield* directory.sync(config.root)
  })

/** The record of a stream that was made and deleted may be lost: leaves a gap, so that its id is not used again. */
const skipStreamIds = (state: ManifestState): void => {
  const nextStreamId = state.nextStreamId + 65536
  const counts = { coversSequence: 0, nextStreamId, streamCount: 0, recordCount: 0 }
  const head = { streamId: 0, reasonCode: 0, sequence: 0, timestampMs: 0, rest: undefined }
  applyManifestRecord(state, { type: "SnapshotMarker", ...head, ...counts })
}
