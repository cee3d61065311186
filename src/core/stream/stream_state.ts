/**
 * What the parts of one stream share: its segments, its watermarks, and who waits for them. Append, flusher, sealer, readers
 * and trim are functions over it; each field has one writer, named here.
 */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type { JournalEntryBytes } from "../../format/journal_block.ts"
import type { AofManagerConfig, Retention } from "../../model/config.ts"
import { type AofError, closed } from "../../model/errors.ts"
import { segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import type { Directory } from "../../port/directory.ts"
import type { EventLoop } from "../../port/event_loop.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { AppendQueue } from "../../state/append_queue.ts"
import { Catalog } from "../../state/catalog.ts"
import { CoordinatorMark } from "../../state/coordinator_mark.ts"
import { nobody } from "../../state/nobody.ts"
import type { WriterState } from "../../state/segment_writer.ts"
import type { StagingBudget } from "../../state/staging_budget.ts"
import type { BufferPool } from "../../state/staging_tail.ts"
import { WaitQueue } from "../../state/wait_queue.ts"
import { type Mark, startMark, Watermark } from "../../state/watermark.ts"
import type { PoolTrim } from "../append/pool_trim.ts"
import { payloadBytesMax } from "../append/segment_limits.ts"
import type { SyncGauge } from "../append/sync_gauge.ts"
import type { WritingSegment } from "../append/writing_segment.ts"
import type { Fence } from "../bucket/head_fence.ts"
import type { OpenFiles } from "../files/open_files.ts"
import type { SharedFolder } from "../files/shared_folder.ts"
import type { ManifestLog } from "../manifest/manifest_log.ts"
import type { ReadingTurns } from "../read/reading_turns.ts"
import type { Residency } from "../tiers/residency.ts"
import type { TierStream } from "../tiers/tier_services.ts"
import type { AdmissionGuard } from "../tiers/tier0.ts"
import type { Tiers } from "../tiers/tiers.ts"
import type { Segment } from "./segment.ts"

/** Decides for all streams together what each turn of the event loop does for them, and lets many share one sync. */
export interface SharedSync {
  /** Plans the turn in which staged bytes go out; `isTurnPlanned` of the stream is set already. */
  readonly plan: (stream: StreamState) => void
  /** A stream begins to sync its own files, or has ended doing so. */
  readonly flushBegins: () => void
  readonly flushEnds: (stream: StreamState) => void
  /** While streams are recovered: indexes of each that processes before may have used without a trace. */
  readonly lostIndexes: number
  /** Before all are closed: has those that are behind the journal catch up, as far as they can do it together. */
  readonly settleAll: Effect.Effect<void>
  /** Staging memory is short: what only the journal has is kept in it until the files of the segments have it too. */
  readonly hurry: () => void
  /** What was written and synced for all of them, beside their own files. */
  readonly counters: Readonly<StreamState["counters"]>
  /** True while streams sync what they have appended. */
  readonly isSyncing: boolean
  /** True while groups go to the journal: the file of a segment may be made later. */
  readonly isJournaling: boolean
  /** True when many streams want syncs and this one, which syncs its own files, may join those that share one. */
  readonly isPreferred: (stream: StreamState) => boolean
  /** The file of a segment holds durably all that was written to it. */
  readonly settled: (writing: WritingSegment) => void
  /** The stream is closed: what only the journal has of it stays there until `release`. Of one that is to be deleted nothing is written any more. */
  readonly forget: (stream: StreamState, isDeleted: boolean) => void
  /** Durable bytes of a stream that was closed before its own files had them. */
  readonly held: (streamId: number) => Effect.Effect<ReadonlyArray<JournalEntryBytes>, AofError>
  /** The stream was recovered with what was held, or its deletion is durable. */
  readonly release: (streamId: number) => void
  /** Every stream was closed in order and the manifest is durable: the next process needs nothing of the journal. */
  readonly endInOrder: () => void
}

/** What every stream of a manager uses. */
export interface StreamServices {
  readonly config: AofManagerConfig
  readonly rootId: Uint8Array
  readonly directory: Directory
  readonly eventLoop: EventLoop
  readonly readingTurns: ReadingTurns
  readonly clock: Clock.Clock
  /** What it says, as a function that all segments share. */
  readonly nowMs: () => number
  /** A random unsigned 32-bit number. */
  readonly random32: () => number
  readonly manifest: ManifestLog
  readonly openFiles: OpenFiles
  readonly pool: BufferPool
  readonly poolTrim: PoolTrim
  readonly staging: StagingBudget<StreamState>
  readonly tiers: Tiers
  /** Says whether another writer has taken the root. */
  readonly fence: Fence
  readonly shared: SharedSync
  readonly gauge: SyncGauge
  /** The directory of all streams. */
  readonly streamsFolder: SharedFolder
  /** Starts an effect in the scope of the manager; defects are reported, errors are the effect's own to handle. */
  readonly run: (effect: Effect.Effect<void>) => void
}

/** Where a stream begins after trims. */
export interface TrimPoint {
  readonly recordId: number
  readonly recordNumber: number
}

/** A trim whose record may not be durable yet. */
export interface PendingTrim {
  readonly point: TrimPoint
  /** Of its record in the manifest. */
  readonly sequence: number
}

/** A file that is for the segment after the active one, or a later one. */
export interface SpareFile {
  /** Holds its bytes in the budget of Tier 0. */
  readonly guard: AdmissionGuard
  /** Zeros are durable up to here; 0 while it is being made. */
  zeroedEnd: number
  /** True while it is made or more of it is zeroed: then it cannot be used. */
  isBusy: boolean
  /** True while somebody waits for the stream to be idle. */
  isDropPlanned: boolean
}

export interface StreamState {
  readonly name: string
  readonly streamId: number
  /** `<root>/streams/<name>/segments` */
  readonly path: string
  readonly services: StreamServices
  /** Length of the segments opened from now on; `setSizes` changes it with the two that follow from it. */
  segmentBytes: number
  /** The largest payload. */
  payloadBytesMax: number
  /** Text of at most this length cannot exceed it. */
  payloadBytesSafe: number
  retention: Retention
  /** A budget of its own in Tier 0, or undefined. */
  tier0BytesMax: number | undefined
  /** The stream as the tiers see it. */
  readonly owner: TierStream
  readonly catalog: Catalog<Segment>
  /** Written by append. */
  readonly writer: WriterState
  /** The segment that takes appends; written by append. */
  active: WritingSegment | undefined
  /** Complete segments whose footer is not durable, oldest first; append adds, the sealer takes away. */
  readonly sealing: Array<WritingSegment>
  /** `missing` before its first segment; `made` is not known to be durable. */
  folder: "missing" | "made" | "durable"
  /** Index for the next segment. */
  nextIndex: number
  /** True while only this process knows why `nextIndex` is not lower: neither the manifest nor a file says so. */
  hasLeftOut: boolean
  /** Bytes of frames in all segments before the next one. */
  nextBaseOffset: number
  /** The file for the next segment when it was opened but its header could not be written yet. */
  nextFile: { readonly file: SegmentFile; readonly zeroedBytes: number } | undefined
  /** A prepared file for the next segment; made by the flusher, taken by append. */
  spare: SpareFile | undefined
  /** Size of the next staging buffer: small for who writes rarely, and larger with each that is filled. */
  nextBufferBytes: number
  /** Index of the last segment whose file was a spare one. */
  renamedIndex: number
  /** True once a segment was filled, which makes a spare one worth its cost. */
  fillsSegments: boolean
  /** `written` moves with each write, `durable` with each sync; written by the flusher. */
  readonly written: Watermark
  readonly durable: Watermark
  readonly writtenWaiters: WaitQueue
  readonly durableWaiters: WaitQueue
  /** Those who wait for room after a negative code; all are woken whenever room may be there. `withOne` adds to it. */
  readyWaiters: Array<ReadyWaiter>
  /** Awaiting appends that found no room: whatever is called later comes behind them. */
  readonly appendQueue: AppendQueue
  /** Negative while nothing may be appended. */
  blocked: number
  /** The failure that keeps the flusher from going on. */
  failure: AofError | undefined
  isFlushing: boolean
  isTurnPlanned: boolean
  isIntervalPlanned: boolean
  isIdlePlanned: boolean
  isSealing: boolean
  /** Why the last try to finish a segment failed; it is tried again. */
  sealFailure: AofError | undefined
  /** Called whenever a segment was sealed; `withOne` adds to it. */
  sealWaiters: Array<() => void>
  /** Retention looks at the stream after each seal. */
  onSealed: ((stream: StreamState) => void) | undefined
  /** Position up to which somebody asked for durability. */
  flushWanted: number
  /** The watermark that the application sets. */
  readonly coordinator: CoordinatorMark
  /** As far as it is durable; `trimPointOf` looks at the pending ones first. */
  trimPoint: TrimPoint | undefined
  /** Trims whose records are on their way to the disk, each farther than the one before. */
  pendingTrims: ReadonlyArray<PendingTrim>
  /** Segments that were trimmed and whose files are still to be removed. */
  leaving: Set<Residency> | undefined
  /** How many are removing them. */
  removing: number
  /** Set when the stream, or its manager, was closed or deleted. */
  closedAs: string | undefined
  /** True while a read-only stream looks for what the writer has added. */
  isPolling: boolean
  /** Since when an append waits for Tier 0, by the clock of the tiers; 0 while none does. */
  refusedSinceMs: number
  readonly counters: StreamCounters
}

/** Numbers for observability; each only grows. */
export interface StreamCounters {
  syncs: number
  syncFailures: number
  writes: number
  writtenBytes: number
}

/** Waits for room. */
export interface ReadyWaiter {
  readonly done: () => void
  readonly fail: (error: AofError) => void
}

/** The bytes that no sync covers yet, open frame included. */
export const unflushedBytes = (stream: StreamState): number => {
  let sum = 0
  for (const one of stream.sealing) sum += one.endOffset - Math.max(one.durableOffset, one.journaledOffset)
  const { active } = stream
  if (active !== undefined) sum += active.endOffset - Math.max(active.durableOffset, active.journaledOffset)
  return sum
}

/** Read-only: tells the segment in which the durable watermark stands that nothing below it changes any more. */
export const noteDurable = ({ durable: { position }, catalog }: StreamState): void => {
  const segment = catalog.get(segmentIndexOf(position))
  if (segment !== undefined) segment.durableEnd = Math.max(segment.durableEnd, segmentOffsetOf(position))
}

/** The bytes that no sync of the stream's own files covers: those that only the journal has are part of them. */
export const unsettledBytes = (stream: StreamState): number => {
  let sum = 0
  for (const one of stream.sealing) sum += one.endOffset - one.durableOffset
  if (stream.active !== undefined) sum += stream.active.endOffset - stream.active.durableOffset
  return sum
}

/** The mark behind everything that was appended. */
export const appendedMark = (stream: StreamState): Mark => {
  const last = stream.active ?? stream.sealing.at(-1)
  const position = Math.max(stream.written.position, last === undefined ? 0 : last.segment.position(last.endOffset))
  const { nextRecordNumber, lastRecordId, lastTimestampMs, timestampMsMax, extIdMax } = stream.writer
  return { position, nextRecordNumber, lastRecordId, lastTimestampMs, timestampMsMax, extIdMax }
}

/** Serves the appends that wait for room, in order, and wakes all others who wait for it. */
export const wakeReady = (stream: StreamState): void => {
  if (stream.appendQueue.code < 0 && !stream.appendQueue.serve()) return
  if (stream.readyWaiters.length === 0) return
  const waiters = stream.readyWaiters
  stream.readyWaiters = nobody
  for (const one of waiters) one.done()
}

/** Fails all who wait for room. */
export const failReady = (stream: StreamState, error: AofError): void => {
  stream.appendQueue.failAll(error)
  const waiters = stream.readyWaiters
  stream.readyWaiters = nobody
  for (const one of waiters) one.fail(error)
}

/** Throws `Closed` once the stream is closed. */
export const checkOpen = (stream: StreamState): void => {
  if (stream.closedAs !== undefined) throw closed(stream.closedAs)
}

/** Value of `blocked` in a stream that is read-only, closing or closed. */
export const blockedForGood = -9

/** A stream state with nothing in it yet. */
export const makeStreamState = (options: {
  readonly name: string
  readonly streamId: number
  readonly path: string
  readonly services: StreamServices
  readonly segmentBytes: number
  readonly retention: Retention
  readonly tier0BytesMax: number | undefined
  readonly owner: TierStream
}): StreamState => ({
  // Named one by one: a spread makes an object that is larger and slower to use.
  name: options.name,
  streamId: options.streamId,
  path: options.path,
  services: options.services,
  segmentBytes: options.segmentBytes,
  retention: options.retention,
  tier0BytesMax: options.tier0BytesMax,
  owner: options.owner,
  payloadBytesMax: payloadLimits(options.services.config, options).payloadBytesMax,
  payloadBytesSafe: payloadLimits(options.services.config, options).payloadBytesSafe,
  catalog: new Catalog<Segment>(),
  writer: { nextRecordNumber: 0, lastRecordId: 0, lastTimestampMs: 0, timestampMsMax: 0, extIdMax: 0 },
  active: undefined,
  sealing: [],
  folder: "made",
  nextIndex: 1,
  hasLeftOut: false,
  nextBaseOffset: 0,
  nextFile: undefined,
  spare: undefined,
  nextBufferBytes: firstBufferBytes,
  renamedIndex: 0,
  fillsSegments: false,
  written: new Watermark(startMark),
  durable: new Watermark(startMark),
  writtenWaiters: new WaitQueue(),
  durableWaiters: new WaitQueue(),
  readyWaiters: nobody,
  appendQueue: new AppendQueue(),
  blocked: options.services.config.readOnly ? blockedForGood : 0,
  failure: undefined,
  isFlushing: false,
  isTurnPlanned: false,
  isIntervalPlanned: false,
  isIdlePlanned: false,
  isSealing: false,
  sealFailure: undefined,
  sealWaiters: nobody,
  onSealed: undefined,
  flushWanted: 0,
  coordinator: new CoordinatorMark(),
  trimPoint: undefined,
  pendingTrims: nobody,
  leaving: undefined,
  removing: 0,
  closedAs: undefined,
  isPolling: false,
  refusedSinceMs: 0,
  counters: { syncs: 0, syncFailures: 0, writes: 0, writtenBytes: 0 },
})

/** A record that fills half of Tier 0 might wait for ever for the other half. */
const payloadLimits = (
  config: AofManagerConfig,
  stream: { readonly segmentBytes: number; readonly tier0BytesMax: number | undefined },
): Pick<StreamState, "payloadBytesMax" | "payloadBytesSafe"> => {
  const most = payloadBytesMax(stream.segmentBytes, Math.min(config.recordBytesMax, admissionBytesMax(config, stream)))
  return { payloadBytesMax: most, payloadBytesSafe: Math.floor(most / 3) }
}

/** The most that one append or batch may ask of Tier 0. */
export const admissionBytesMax = (
  config: AofManagerConfig,
  stream: { readonly tier0BytesMax: number | undefined },
): number => Math.floor(Math.min(config.tier0.bytesMax, stream.tier0BytesMax ?? Number.POSITIVE_INFINITY) / 2)

/** Size of the first staging buffer of a stream that was quiet. */
export const firstBufferBytes = 4096
/** How much larger the next one is. */
const bufferGrowth = 4

/** Size of the next staging buffer of a stream, but for larger records: small for one that begins, and where very many have one. */
export const nextBufferBytesOf = (stream: StreamState): number => {
  const share = Math.max(firstBufferBytes, stream.services.staging.shareBytes)
  return Math.min(stream.nextBufferBytes, share, bufferBytesOf(stream))
}

/** The same, for one that is taken now: the one behind it is larger. */
export const takeBufferBytes = (stream: StreamState): number => {
  const bytes = nextBufferBytesOf(stream)
  stream.nextBufferBytes = bytes * bufferGrowth
  return bytes
}

/** Size of the staging buffers of a stream that fills them: several must fit what it may hold of Tier 0, so one with a small budget has smaller ones. */
export const bufferBytesOf = ({ services, tier0BytesMax }: StreamState): number =>
  tier0BytesMax === undefined
    ? services.pool.bufferBytes
    : Math.min(services.pool.bufferBytes, Math.floor(tier0BytesMax / 8))

/** Changes what the options of a stream say about sizes, for what is appended from now on. */
export const setSizes = (
  stream: StreamState,
  sizes: { readonly segmentBytes?: number | undefined; readonly tier0BytesMax?: number | undefined },
): void => {
  stream.segmentBytes = sizes.segmentBytes ?? stream.segmentBytes
  stream.tier0BytesMax = sizes.tier0BytesMax ?? stream.tier0BytesMax
  const { payloadBytesMax: most, payloadBytesSafe } = payloadLimits(stream.services.config, stream)
  stream.payloadBytesMax = most
  stream.payloadBytesSafe = payloadBytesSafe
}
