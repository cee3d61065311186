/**
 * What the records of the manifest add up to: the catalog of streams and their sealed segments. Applying a record twice changes
 * nothing more than applying it once, and `snapshotRecords` of a state, applied to an empty one, give an equal state.
 *
 * Stream ids are never reused. A record for a stream whose `StreamCreated` was lost to damage makes a stream without a name, so
 * that what is on disk can still be told from what was deleted; records that arrive late for a deleted stream are dropped.
 */
import type { ManifestRecord, ManifestRecordOf } from "../format/manifest_record.ts"
import { segmentIndexOf } from "../model/record_id.ts"

export type OpenedSegment = ManifestRecordOf<"SegmentOpened">
export type SealedSegment = ManifestRecordOf<"SealSegment">
export type TrimPoint = ManifestRecordOf<"Trim">

/** One stream as the manifest knows it. */
export interface ManifestStream {
  readonly streamId: number
  /** Empty when its `StreamCreated` was lost to damage. */
  readonly name: string
  /** The record that created it; undefined as above. */
  readonly created: ManifestRecordOf<"StreamCreated"> | undefined
  readonly createdMs: number
  /** Sealed segments that a trim has left, by index, in rising order. */
  readonly sealed: ReadonlyMap<number, SealedSegment>
  /** Segments opened and not yet sealed, by index, in rising order. */
  readonly opened: ReadonlyMap<number, OpenedSegment>
  /** The highest segment index that was ever opened or sealed; -1 for none. */
  readonly segmentIndexMax: number
  /** The sealed segment with the highest index, also when it was trimmed: where numbers and maxima go on. */
  readonly lastSealed: SealedSegment | undefined
  readonly trim: TrimPoint | undefined
}

/** The whole manifest. Only `applyManifestRecord` and `replaceManifestState` change it. */
export interface ManifestState {
  readonly streams: ReadonlyMap<number, ManifestStream>
  readonly streamsByName: ReadonlyMap<string, ManifestStream>
  /** The id for the next stream. */
  readonly nextStreamId: number
  /** Records of types that this code does not know, in order. */
  readonly others: ReadonlyArray<ManifestRecordOf<"Raw">>
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
}

interface MutableState {
  streams: Map<number, MutableStream>
  streamsByName: Map<string, MutableStream>
  deleted: Set<number>
  nextStreamId: number
  others: Array<ManifestRecordOf<"Raw">>
}

/** A manifest without records. The first stream id is 1. */
export const emptyManifestState = (): ManifestState => {
  const state: MutableState = {
    streams: new Map(),
    streamsByName: new Map(),
    deleted: new Set(),
    nextStreamId: 1,
    others: [],
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
    default: {
      const stream = streamOf(state, record.streamId)
      if (stream === undefined) return
      if (record.type === "SegmentOpened") applyOpened(stream, record)
      else if (record.type === "SealSegment") applySealed(stream, record)
      else applyTrim(stream, record)
    }
  }
}

const applyCreated = (state: MutableState, record: ManifestRecordOf<"StreamCreated">): void => {
  const stream = streamOf(state, record.streamId)
  if (stream === undefined || stream.created !== undefined) return
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

/** The stream of a record, made when it is not there; undefined when it was deleted. */
const streamOf = (state: MutableState, streamId: number): MutableStream | undefined => {
  const known = state.streams.get(streamId)
  if (known !== undefined || state.deleted.has(streamId)) return known
  const stream: MutableStream = {
    streamId,
    name: "",
    created: undefined,
    createdMs: 0,
    sealed: new Map(),
    opened: new Map(),
    segmentIndexMax: -1,
    lastSealed: undefined,
    trim: undefined,
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
  if (!isBelowTrim(stream, record)) setInOrder(stream, "sealed", record)
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
    stream.sealed.delete(segment.segmentIndex)
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
    if (stream.trim !== undefined) push(stream.trim)
  }
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
