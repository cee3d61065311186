/**
 * What the records of the manifest add up to: the catalog of streams, their sealed segments and the copies of these (`manifest_tiers.ts`). Applying a record twice changes
 * nothing more than applying it once, and `snapshotRecords` of a state, applied to an empty one, give an equal state.
 *
 * Stream ids are never reused. A record for a stream whose `StreamCreated` was lost to damage makes a stream without a name, so
 * that what is on disk can still be told from what was deleted; records that arrive late for a deleted stream are dropped.
 *
 * Objects that are queued for deletion belong to the root: they outlive the trim or the deletion that queued them. Types that are
 * only told, such as `CustomEvent` and the failures, leave no trace, so that the state does not grow with them.
 */
import type { ManifestRecord, ManifestRecordOf } from "../format/manifest_record.ts"
import { segmentIndexOf } from "../model/record_id.ts"
import { isStreamName } from "../model/stream_name.ts"
import {
  applyTierRecord,
  dropObject,
  dropOlderTiers,
  isTierRecord,
  type QueuedDeletes,
  type SegmentTiers,
  type TierRecord,
  tierRecords,
} from "./manifest_tiers.ts"

/** A record of the manifest. */
export type OpenedSegment = ManifestRecordOf<"SegmentOpened">
/** A record of the manifest. */
export type SealedSegment = ManifestRecordOf<"SealSegment">
/** A record of the manifest. */
export type TrimPoint = ManifestRecordOf<"Trim">

/** One stream as the manifest knows it. */
export interface ManifestStream {
  /** Its id. */
  readonly streamId: number
  /** Empty when its `StreamCreated` was lost to damage. */
  readonly name: string
  /** The record that created it; undefined as above. */
  readonly created: ManifestRecordOf<"StreamCreated"> | undefined
  /** When it was made. */
  readonly createdMs: number
  /** Sealed segments that a trim has left, by index, in rising order. */
  readonly sealed: ReadonlyMap<number, SealedSegment>
  /** Segments opened and not yet sealed, by index, in rising order. */
  readonly opened: ReadonlyMap<number, OpenedSegment>
  /** The highest segment index that was ever opened or sealed; -1 for none. */
  readonly segmentIndexMax: number
  /** The sealed segment with the highest index, also when it was trimmed: where numbers and maxima go on. */
  readonly lastSealed: SealedSegment | undefined
  /** Where it begins after trims. */
  readonly trim: TrimPoint | undefined
  /** The copies of sealed segments, by index, for those of which something is known; in no order. */
  readonly tiers: ReadonlyMap<number, SegmentTiers>
}

/** The whole manifest. Only `applyManifestRecord` and `replaceManifestState` change it. */
export interface ManifestState {
  /** Streams by id. */
  readonly streams: ReadonlyMap<number, ManifestStream>
  /** Streams by name. */
  readonly streamsByName: ReadonlyMap<string, ManifestStream>
  /** The id for the next stream. */
  readonly nextStreamId: number
  /** Records of types that this code does not know, in order. */
  readonly others: ReadonlyArray<ManifestRecordOf<"Raw">>
  /** Objects that are queued for deletion and not yet deleted, by key. */
  readonly deletes: QueuedDeletes
  /** The record with the highest epoch; of several with one epoch the last. Undefined when no writer ever had one. */
  readonly epoch: ManifestRecordOf<"Epoch"> | undefined
}

interface MutableStream {
  streamId: number
  name: string
  created: ManifestRecordOf<"StreamCreated"> | undefined
  createdMs: number
  sealed: Map<number, SealedSegment>
  opened: Map<number, OpenedSegment>
  segmentIndexMax: number
  lastSealed: SealedSegment | undefined
  trim: TrimPoint | undefined
  tiers: Map<number, SegmentTiers>
}

interface MutableState {
  streams: Map<number, MutableStream>
  streamsByName: Map<string, MutableStream>
  deleted: Set<number>
  nextStreamId: number
  others: Array<ManifestRecordOf<"Raw">>
  deletes: Map<string, ManifestRecordOf<"Tier2DeleteQueued">>
  epoch: ManifestRecordOf<"Epoch"> | undefined
}

/** A manifest without records. The first stream id is 1. */
export const emptyManifestState = (): ManifestState => {
  const state: MutableState = {
    streams: new Map(),
    streamsByName: new Map(),
    deleted: new Set(),
    nextStreamId: 1,
    others: [],
    deletes: new Map(),
    epoch: undefined,
  }
  return state
}

/** Makes `target` equal to `source`, which must not be used afterwards. */
export const replaceManifestState = (target: ManifestState, source: ManifestState): void => {
  Object.assign(target, source)
}

/** Applies one record. */
export const applyManifestRecord = (target: ManifestState, record: ManifestRecord): void => {
  const state = target as MutableState
  switch (record.type) {
    case "Raw":
      state.others.push(record)
      return
    case "SnapshotMarker":
      state.nextStreamId = Math.max(state.nextStreamId, record.nextStreamId)
      return
    case "StreamCreated":
      applyCreated(state, record)
      return
    case "StreamDeleted":
      applyDeleted(state, record.streamId)
      return
    case "Epoch":
      if (record.epoch >= (state.epoch?.epoch ?? 0)) state.epoch = record
      return
    case "Tier2DeleteQueued":
    case "Tier2Deleted":
      applyDelete(state, record)
      return
    case "SegmentOpened":
    case "SealSegment":
    case "Trim":
      applySegment(state, record)
      return
    default:
      if (isTierRecord(record)) applyTiers(state, record)
  }
}

const applySegment = (state: MutableState, record: OpenedSegment | SealedSegment | TrimPoint): void => {
  const stream = streamOf(state, record.streamId)
  if (stream === undefined) return
  if (record.type === "SegmentOpened") applyOpened(stream, record)
  else if (record.type === "SealSegment") applySealed(stream, record)
  else applyTrim(stream, record)
}

/** Makes no stream: in a snapshot these records outlive theirs. */
const applyDelete = (
  state: MutableState,
  record: ManifestRecordOf<"Tier2DeleteQueued"> | ManifestRecordOf<"Tier2Deleted">,
): void => {
  const { streamId, segmentIndex, key } = record
  state.nextStreamId = Math.max(state.nextStreamId, streamId + 1)
  if (record.type === "Tier2DeleteQueued") state.deletes.set(key, record)
  else state.deletes.delete(key)
  const stream = state.streams.get(streamId)
  if (stream !== undefined) dropObject(stream.tiers, segmentIndex, key)
}

const applyTiers = (state: MutableState, record: TierRecord): void => {
  const stream = state.streams.get(record.streamId)
  const sealed = stream?.sealed.get(record.segmentIndex)
  if (stream === undefined || sealed === undefined) return
  if (stream.tiers === noTiers) stream.tiers = new Map()
  applyTierRecord(stream.tiers, record, { sealedGeneration: sealed.fileGeneration, deletes: state.deletes })
}

const applyCreated = (state: MutableState, record: ManifestRecordOf<"StreamCreated">): void => {
  const stream = streamOf(state, record.streamId)
  if (stream === undefined || stream.created !== undefined) return
  // The name becomes a path: one that no caller may give does not come from a file either.
  if (!isStreamName(record.name)) return
  stream.name = record.name
  stream.created = record
  stream.createdMs = record.timestampMs
  state.streamsByName.set(record.name, stream)
}

const applyDeleted = (state: MutableState, streamId: number): void => {
  const stream = state.streams.get(streamId)
  if (stream !== undefined && state.streamsByName.get(stream.name) === stream) state.streamsByName.delete(stream.name)
  state.streams.delete(streamId)
  state.deleted.add(streamId)
  state.nextStreamId = Math.max(state.nextStreamId, streamId + 1)
}

// In the place of maps with nothing in them, of which there may be very many; nothing is ever set in these.
const noSealed: Map<number, SealedSegment> = new Map()
const noOpened: Map<number, OpenedSegment> = new Map()
const noTiers: Map<number, SegmentTiers> = new Map()

/** The stream of a record, made when it is not there; undefined when it was deleted. */
const streamOf = (state: MutableState, streamId: number): MutableStream | undefined => {
  const known = state.streams.get(streamId)
  if (known !== undefined || state.deleted.has(streamId)) return known
  const stream: MutableStream = {
    streamId,
    name: "",
    created: undefined,
    createdMs: 0,
    sealed: noSealed,
    opened: noOpened,
    segmentIndexMax: -1,
    lastSealed: undefined,
    trim: undefined,
    tiers: noTiers,
  }
  state.streams.set(streamId, stream)
  state.nextStreamId = Math.max(state.nextStreamId, streamId + 1)
  return stream
}

const applyOpened = (stream: MutableStream, record: OpenedSegment): void => {
  const { segmentIndex, fileGeneration } = record
  const sealed = stream.lastSealed?.segmentIndex === segmentIndex ? stream.lastSealed : stream.sealed.get(segmentIndex)
  stream.segmentIndexMax = Math.max(stream.segmentIndexMax, segmentIndex)
  if (sealed !== undefined || (stream.opened.get(segmentIndex)?.fileGeneration ?? -1) > fileGeneration) return
  setInOrder(stream, "opened", record)
  dropTrimmed(stream)
}

const applySealed = (stream: MutableStream, record: SealedSegment): void => {
  const { segmentIndex, fileGeneration } = record
  const before = stream.lastSealed?.segmentIndex === segmentIndex ? stream.lastSealed : stream.sealed.get(segmentIndex)
  if ((before?.fileGeneration ?? -1) > fileGeneration) return
  stream.segmentIndexMax = Math.max(stream.segmentIndexMax, segmentIndex)
  if ((stream.lastSealed?.segmentIndex ?? -1) <= segmentIndex) stream.lastSealed = record
  stream.opened.delete(segmentIndex)
  if ((before?.fileGeneration ?? fileGeneration) < fileGeneration) dropOlderTiers(stream.tiers, record)
  if (isBelowTrim(stream, record)) dropSealed(stream, segmentIndex)
  else setInOrder(stream, "sealed", record)
  dropTrimmed(stream)
}

const dropSealed = (stream: MutableStream, segmentIndex: number): void => {
  stream.sealed.delete(segmentIndex)
  stream.tiers.delete(segmentIndex)
}

const applyTrim = (stream: MutableStream, record: TrimPoint): void => {
  if (stream.trim !== undefined && stream.trim.firstRecordId >= record.firstRecordId) return
  stream.trim = record
  dropTrimmed(stream)
}

const dropTrimmed = (stream: MutableStream): void => {
  if (stream.trim === undefined) return
  const firstIndex = segmentIndexOf(stream.trim.firstRecordId)
  for (const segment of stream.sealed.values()) {
    if (!isBelowTrim(stream, segment)) break
    dropSealed(stream, segment.segmentIndex)
  }
  for (const index of stream.opened.keys()) {
    if (index < firstIndex && index < stream.segmentIndexMax) stream.opened.delete(index)
  }
}

const isBelowTrim = (stream: MutableStream, segment: SealedSegment): boolean => {
  if (stream.trim === undefined) return false
  const firstRecordId = stream.trim.firstRecordId
  if (segment.segmentIndex < segmentIndexOf(firstRecordId)) return true
  return segment.recordCount > 0 && segment.lastRecordId < firstRecordId
}

/** Sets an entry of a map that is kept in rising order of index. Records come in that order but for repairs. */
const setInOrder = (stream: MutableStream, which: "opened" | "sealed", record: OpenedSegment | SealedSegment): void => {
  if (which === "sealed" && stream.sealed === noSealed) stream.sealed = new Map()
  if (which === "opened" && stream.opened === noOpened) stream.opened = new Map()
  const map = stream[which] as Map<number, OpenedSegment | SealedSegment>
  const isNew = !map.has(record.segmentIndex)
  map.set(record.segmentIndex, record)
  const isLast = which === "sealed" && record.segmentIndex >= (stream.lastSealed?.segmentIndex ?? 0)
  if (!isNew || map.size === 1 || isLast) return
  const sorted = [...map].sort(([one], [other]) => one - other)
  map.clear()
  for (const [index, value] of sorted) map.set(index, value)
}

/**
 * The records that make an equal state out of an empty one, the marker last. Sequences are those of a snapshot, from 1. The
 * marker says that log records up to `coversSequence` are contained.
 */
export const snapshotRecords = (
  state: ManifestState,
  marker: { readonly coversSequence: number; readonly timestampMs: number },
): Array<ManifestRecord> => {
  const records: Array<ManifestRecord> = []
  const push = (record: ManifestRecord): void => {
    records.push({ ...record, sequence: records.length + 1 })
  }
  for (const stream of state.streams.values()) {
    if (stream.created !== undefined) push(stream.created)
    for (const segment of stream.sealed.values()) push(segment)
    if (stream.lastSealed !== undefined && !stream.sealed.has(stream.lastSealed.segmentIndex)) push(stream.lastSealed)
    for (const segment of stream.opened.values()) push(segment)
    for (const record of tierRecords(stream.tiers, { streamId: stream.streamId, timestampMs: marker.timestampMs }))
      push(record)
    if (stream.trim !== undefined) push(stream.trim)
  }
  for (const record of state.deletes.values()) push(record)
  if (state.epoch !== undefined) push(state.epoch)
  for (const record of state.others) push(record)
  push({
    type: "SnapshotMarker",
    streamId: 0,
    reasonCode: 0,
    sequence: 0,
    timestampMs: marker.timestampMs,
    rest: undefined,
    coversSequence: marker.coversSequence,
    nextStreamId: state.nextStreamId,
    streamCount: state.streams.size,
    recordCount: records.length,
  })
  return records
}
