/**
 * Opens a stream as the last process left it. Sealed segments come from the manifest; what is not sealed is scanned from its
 * newest slot. A frame that does not check below the highest watermark found anywhere is damage: it is reported and what
 * follows is kept. At or above it the log ends: the rest is cut. After an unclean end the segments are sealed as they are and the
 * writer goes on in a new one, above every index ever seen, so that no lost id is used again.
 */
import * as Effect from "effect/Effect"
import { manifestReason } from "../../format/manifest_reason.ts"
import { decodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, isMissingFile } from "../../model/errors.ts"
import { segmentIndexOf } from "../../model/record_id.ts"
import type { DirectoryEntry } from "../../port/directory.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import type { ManifestStream, SealedSegment } from "../../state/manifest_state.ts"
import { unfinishedSegmentsMax } from "../append/segment_limits.ts"
import { patiently } from "../files/descriptor_room.ts"
import {
  segmentIndexOfName,
  segmentIndexOfWarmName,
  segmentPath,
  spareName,
  sparePath,
  warmFolder,
} from "../files/paths.ts"
import { refuseLinks } from "../files/refuse_links.ts"
import { attempt } from "../flow/attempt.ts"
import { Segment } from "../stream/segment.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"
import type { SealFacts } from "../tiers/residency.ts"
import { type FoundFooter, isIndexIntact, isSealIntact, noteSeal, readFooter } from "./found_footer.ts"
import { openedText, sealedText } from "./lost_text.ts"
import { listSegments, replayHeld } from "./recovery_files.ts"
import type { RecoveryReport } from "./recovery_report.ts"
import { restoreHeader, restoreKnown } from "./recovery_restore.ts"
import { footerScan, scanSegment } from "./recovery_scan.ts"
import { type Part, putAside, settle } from "./recovery_settle.ts"

/** Recovers one stream into `stream`, which is new, and adds what it found to `report`. */
export const recoverStream: (
  stream: StreamState,
  known: ManifestStream,
  report: RecoveryReport,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream, known, report) {
  const { directory, config } = stream.services
  const warmPath = warmFolder(config.root, stream.name)
  // Also when the manifest names no warm file: one of a trimmed segment may be left, or one that it has forgotten.
  const isForgetful = stream.services.manifest.replay.damage.length > 0 || report.isManifestShort
  const hasWarm = known.lastSealed !== undefined || isForgetful
  if (!config.readOnly && hasWarm) yield* refuseLinks(directory, [warmPath])
  if (!config.readOnly) yield* replayHeld(stream, known, report)
  const names = yield* patiently(listSegments(stream, known))
  if (names.length === 0) stream.folder = "missing"
  const warmNames = hasWarm ? yield* patiently(directory.list(warmPath)) : []
  if (!config.readOnly) yield* removeLeftovers(stream, names)
  const indexes = names.map((entry) => segmentIndexOfName(entry.name)).filter((index) => index !== undefined)
  if (known.trim !== undefined) {
    stream.trimPoint = { recordId: known.trim.firstRecordId, recordNumber: known.trim.firstRecordNumber }
  }
  const firstIndex = stream.trimPoint === undefined ? 0 : segmentIndexOf(stream.trimPoint.recordId)
  const warm = warmNames.map((entry) => segmentIndexOfWarmName(entry.name)).filter((index) => index !== undefined)
  const kept = indexes.filter((index) => index >= firstIndex)
  if (!config.readOnly) {
    yield* restoreKnown(stream, known, { hot: new Set(kept), warm: new Set(warm) }, report)
    yield* removeTrimmed(stream, { firstIndex, hot: indexes, warmNames, known })
  }
  const parts = addSealed(stream, known, { hot: new Set(kept), warm: new Set(warm) }, report)
  const unsealed = kept.filter((index) => !known.sealed.has(index)).sort((one, other) => one - other)
  // As many as a crash can leave, and the one that took appends. There are more when a manifest is made anew from what is found.
  const deferredFrom = unsealed.at(-unfinishedSegmentsMax - 1) ?? 0
  for (const index of unsealed) {
    const part = yield* openUnsealed(stream, { index, known, deferredFrom }, report)
    if (part !== undefined) parts.push(part)
  }
  parts.sort((one, other) => one.index - other.index)
  // An index that was only left out, when a root was taken over, names no segment.
  const begun = [...known.opened.values()].filter(({ reasonCode }) => reasonCode !== manifestReason.Missing)
  const opened = new Set([...begun.map(({ segmentIndex }) => segmentIndex), ...kept])
  reportEmpty(stream, opened, parts.at(-1)?.index ?? firstIndex - 1, report)
  // A trim of everything names a place in the segment that was to come next: what is appended must not lie before it.
  stream.nextIndex = Math.max(known.segmentIndexMax, 0, firstIndex - 1, ...indexes) + 1
  // With a journal a segment may have been begun, and ids in it given, of which a kill has left nothing.
  const { lostIndexes } = stream.services.shared
  stream.nextIndex += lostIndexes
  stream.hasLeftOut = lostIndexes > 0
  const lastBegun = Math.max(0, ...kept, ...begun.map(({ segmentIndex }) => segmentIndex))
  yield* settle(stream, { parts, lastBegun }, report)
})

/** Whatever was in it is not to be seen any more. How much that was nobody knows. */
const reportShort = (stream: StreamState, index: number, report: RecoveryReport): void => {
  const from = index * 2 ** 28
  const short = { from, to: from + 2 ** 28, bytes: 0 }
  const { streamId, services } = stream
  const opened = services.manifest.state.streams.get(streamId)?.opened.get(index)
  if (opened !== undefined && report.isFromBucket) report.add(stream.name, { ...short, reason: openedText(opened) })
  else if (opened?.reasonCode === manifestReason.Closed) {
    report.add(stream.name, { ...short, reason: "a segment with records is empty or missing" })
  } else report.cut(stream.name, { ...short, reason: "a segment was opened and is empty or missing" })
}

/** Segments at the end that were begun and that hold nothing: normal after a power cut, and damage cannot be told from it. */
const reportEmpty = (
  stream: StreamState,
  opened: ReadonlySet<number>,
  lastIndex: number,
  report: RecoveryReport,
): void => {
  for (const index of opened) {
    if (index > lastIndex) reportShort(stream, index, report)
  }
}

/** True while the tiers work on a segment: they go on when its stream is closed, and its temporary files are theirs. */
const isInUse = (stream: StreamState, index: number | undefined): boolean =>
  index !== undefined && stream.services.tiers.take(stream, index).isBusy

/** Removes what a crash left half made: temporary files, and a spare segment that was never used. */
const removeLeftovers = Effect.fnUntraced(function* (stream: StreamState, names: ReadonlyArray<DirectoryEntry>) {
  for (const { name } of names) {
    if (isInUse(stream, segmentIndexOfName(name.replace(/\.tmp$/, "")))) continue
    if (name.endsWith(".tmp")) yield* stream.services.directory.remove(`${stream.path}/${name}`)
    else if (name === spareName) yield* stream.services.directory.remove(sparePath(stream.path))
  }
})

/** What a trim had not removed yet, in both local tiers, and warm files that were not finished. */
const removeTrimmed = Effect.fnUntraced(function* (
  stream: StreamState,
  found: {
    readonly firstIndex: number
    readonly hot: ReadonlyArray<number>
    readonly warmNames: ReadonlyArray<DirectoryEntry>
    readonly known: ManifestStream
  },
) {
  const { directory, config, tiers } = stream.services
  // A trim that was cut short by the closing of the stream has left them in the account.
  const known = [...tiers.segments.ofStream(stream.streamId).values()]
  const forgotten = known.filter((one) => one.index < found.firstIndex && !one.isGone)
  tiers.forget(forgotten)
  // A copy that a job has made since the folders were listed is in no list.
  const hot = new Set(found.hot.filter((index) => index < found.firstIndex))
  for (const { index, warmPath } of forgotten) {
    hot.add(index)
    yield* directory.remove(warmPath)
  }
  for (const index of hot) yield* directory.remove(segmentPath(stream.path, index))
  if (hot.size > 0) yield* directory.sync(stream.path)
  const folder = warmFolder(config.root, stream.name)
  for (const { name } of found.warmNames) {
    const index = segmentIndexOfWarmName(name)
    const isBusy = isInUse(stream, segmentIndexOfWarmName(name.replace(/\.tmp$/, "")))
    // One that got its name just before a crash, which the manifest does not know: nothing would ever count it.
    const isUnknown = index !== undefined && !isCompressed(found.known, index) && found.hot.includes(index)
    const isLeft = name.endsWith(".tmp") || (index !== undefined && (index < found.firstIndex || isUnknown))
    if (isLeft && !isBusy) {
      yield* directory.remove(`${folder}/${name}`)
    }
  }
})

const isCompressed = (known: ManifestStream, index: number): boolean => known.tiers.get(index)?.compressed !== undefined

/** Adds the sealed segments that the manifest names, and the last one also when it was trimmed: numbers go on from it. */
const addSealed = (
  stream: StreamState,
  known: ManifestStream,
  found: { readonly hot: ReadonlySet<number>; readonly warm: ReadonlySet<number> },
  report: RecoveryReport,
): Array<Part> => {
  const parts: Array<Part> = []
  const { lastSealed } = known
  if (lastSealed !== undefined && !known.sealed.has(lastSealed.segmentIndex)) parts.push(sealedPart(lastSealed))
  let before: SealedSegment | undefined
  for (const record of known.sealed.values()) {
    const residency = stream.services.tiers.take(stream, record.segmentIndex)
    stream.services.tiers.recovered(residency, {
      owner: stream.owner,
      seal: sealFactsOf(record),
      tiers: known.tiers.get(record.segmentIndex),
      isHot: found.hot.has(record.segmentIndex),
      isWarm: found.warm.has(record.segmentIndex),
      sealedMs: record.sealedMs,
    })
    if (residency.tier !== undefined) {
      const segment = makeSegment(stream, sealedHeader(stream, record, before), "sealed", record.durableBytes)
      segment.sealed = { ...record }
      stream.catalog.add(segment)
    } else {
      const from = record.segmentIndex * 2 ** 28
      report.add(stream.name, {
        from,
        to: from + record.durableBytes,
        bytes: record.fileBytes,
        reason: report.isFromBucket ? sealedText(record) : "the file of a sealed segment is missing",
      })
    }
    parts.push(sealedPart(record))
    before = record
  }
  return parts
}

const sealFactsOf = (record: Omit<SealFacts, "framesEnd"> & { readonly durableBytes: number }): SealFacts => ({
  fileGeneration: record.fileGeneration,
  framesEnd: record.durableBytes,
  fileBytes: record.fileBytes,
  checksum64: record.checksum64,
})

const sealedPart = (record: SealedSegment): Part => ({
  index: record.segmentIndex,
  firstRecordNumber: record.firstRecordNumber,
  baseOffset: record.baseOffset,
  sealed: record,
  scan: undefined,
})

/** What the header of a sealed segment says, as far as the manifest knows it. */
const sealedHeader = (
  stream: StreamState,
  record: SealedSegment,
  before: SealedSegment | undefined,
): SegmentHeader => ({
  rootId: stream.services.rootId,
  streamId: stream.streamId,
  segmentIndex: record.segmentIndex,
  fileGeneration: record.fileGeneration,
  writerEpoch: 0,
  firstRecordNumber: record.firstRecordNumber,
  baseOffset: record.baseOffset,
  extIdMax: before?.extIdMax ?? 0n,
  timestampMsMax: before?.timestampMsMax ?? 0,
  commitMode: 0,
  journalPosition: 0,
  createdMs: 0,
  checksumSeed: record.checksumSeed,
})

/** Makes the running view of a segment. */
export const makeSegment = (
  stream: StreamState,
  header: SegmentHeader,
  state: "active" | "sealing" | "sealed",
  framesEnd: number,
): Segment => {
  const { config, directory, openFiles, tiers } = stream.services
  return new Segment({
    residency: tiers.take(stream, header.segmentIndex),
    header,
    state,
    framesEnd,
    directory,
    openFiles,
    source: tiers.services.reader,
    isReadOnly: config.readOnly,
  })
}

/** A file of at most this length is read in one go. */
const smallFileBytes = 16 * 1024

/** A segment file that was opened, with its beginning, all of it when it is small. */
interface OpenedFile {
  readonly file: SegmentFile
  readonly size: number
  readonly start: Uint8Array
  readonly block: Uint8Array
}

/** Opens a segment file and reads how it begins; undefined when the writer of a store that is only read has trimmed it after the listing. */
const openFile = (stream: StreamState, index: number): Effect.Effect<OpenedFile | undefined, AofError> => {
  const { directory, config } = stream.services
  const path = segmentPath(stream.path, index)
  const opened = patiently(attempt(() => directory.openUnsafe(path, config.readOnly ? "read" : "write")))
  const read = (file: SegmentFile): Effect.Effect<OpenedFile, AofError> =>
    closedOnFailure(
      file,
      attempt(() => {
        const size = file.sizeUnsafe()
        // A small file is read once.
        const start = new Uint8Array(Math.max(segmentHeaderBytes, size <= smallFileBytes ? size : 0))
        file.readUnsafe(start, 0, start.length, 0)
        return { file, size, start, block: start.subarray(0, segmentHeaderBytes) }
      }),
    )
  return Effect.catch(Effect.flatMap(opened, read), (error: AofError) =>
    config.readOnly && isMissingFile(error) ? Effect.undefined : Effect.fail(error),
  )
}

const closedOnFailure = <A>(file: SegmentFile, work: Effect.Effect<A, AofError>): Effect.Effect<A, AofError> =>
  Effect.onError(work, () => Effect.sync(() => file.closeUnsafe()))

/** A segment file that the manifest does not call sealed; undefined when it holds nothing or was put aside. */
const openUnsealed = Effect.fnUntraced(function* (
  stream: StreamState,
  {
    index,
    known,
    deferredFrom,
  }: { readonly index: number; readonly known: ManifestStream; readonly deferredFrom: number },
  report: RecoveryReport,
) {
  const { config } = stream.services
  const opened = yield* openFile(stream, index)
  if (opened === undefined) return undefined
  const { file, size, start, block } = opened
  const found = decodeSegmentHeader(block)
  const header = found ?? (yield* closedOnFailure(file, restoreHeader(stream, { index, known, file, size }, report)))
  if (header === undefined || !isOwnHeader(stream, header, index)) {
    file.closeUnsafe()
    return yield* putBadHeaderAside(stream, { index, size, block }, report)
  }
  const segment = makeSegment(stream, { ...header, rootId: stream.services.rootId }, "active", size)
  segment.file = file
  stream.services.tiers.hold(stream.owner, segment.residency, size)
  stream.catalog.add(segment)
  const { firstRecordNumber, baseOffset } = header
  const isWhole = start.length >= size
  const footer = yield* attempt(() => readFooter(segment, size, isWhole ? start : undefined))
  if (size < segmentHeaderBytes) reportShort(stream, index, report)
  const fileStart = { fileBytes: size, block, whole: isWhole ? start : undefined }
  const isDeferred = index >= deferredFrom
  if (footer === undefined || !(yield* isSealed(segment, footer, { size, isDeferred, services: stream.services }))) {
    const scan = yield* attempt(() => scanSegment(segment, fileStart))
    const open: Part = { index, firstRecordNumber, baseOffset, sealed: undefined, scan }
    return open
  }
  const sealed = { ...footer, baseOffset }
  if (isDeferred && !config.readOnly) {
    const found: Part = { index, firstRecordNumber, baseOffset, sealed, scan: footerScan(segment, fileStart, footer) }
    return found
  }
  if (!config.readOnly) yield* noteSeal(stream, segment, { footer, size })
  segment.state = "sealed"
  segment.framesEnd = footer.durableBytes
  segment.sealed = { ...footer, fileBytes: size }
  segment.releaseFile()
  stream.services.tiers.sealed(segment.residency, sealFactsOf({ ...footer, fileBytes: size }))
  const part: Part = { index, firstRecordNumber, baseOffset, sealed, scan: undefined }
  return part
})

/** Who only reads looks often and takes nothing from a footer; of what is sealed again behind the opening, the file is looked at then. */
const isSealed = (
  segment: Segment,
  footer: FoundFooter,
  {
    size,
    isDeferred,
    services,
  }: { readonly size: number; readonly isDeferred: boolean; readonly services: StreamServices },
): Effect.Effect<boolean, AofError> =>
  isDeferred || services.config.readOnly
    ? attempt(() => isIndexIntact(segment, footer, size))
    : isSealIntact(segment, footer, { size, services })

/**
 * A header is written first and lies in one sector. When that is zero the file was made just before a power cut and nothing in it
 * was ever durable. Anything else that does not check is damage.
 */
const putBadHeaderAside = Effect.fnUntraced(function* (
  stream: StreamState,
  file: { readonly index: number; readonly size: number; readonly block: Uint8Array },
  report: RecoveryReport,
): Effect.fn.Return<undefined, AofError> {
  const { index, size, block } = file
  if (block.every((byte) => byte === 0) && size <= segmentHeaderBytes) return undefined
  const isUnused = block.every((byte) => byte === 0)
  const from = index * 2 ** 28
  const to = from + (size < segmentHeaderBytes ? 2 ** 28 : size)
  const damage = { from, to, bytes: size, reason: "the header of a segment does not check" }
  if (isUnused) report.cut(stream.name, damage)
  else report.add(stream.name, damage)
  yield* putAside(stream, index)
})

/** False for a file that belongs to another root, stream or place. */
const isOwnHeader = (stream: StreamState, header: SegmentHeader, index: number): boolean =>
  header.segmentIndex === index &&
  header.streamId === stream.streamId &&
  header.rootId.every((byte, at) => byte === stream.services.rootId[at])
