// The manifest's state: streams, segments, trims; a repeated record changes nothing; a snapshot gives an equal state.

import { describe, expect, test } from "bun:test"
import type { ManifestEvent, ManifestRecord } from "../../src/format/manifest_record.ts"
import { recordIdOf } from "../../src/model/record_id.ts"
import {
  applyManifestRecord,
  emptyManifestState,
  type ManifestState,
  replaceManifestState,
  snapshotRecords,
} from "../../src/state/manifest_state.ts"

let sequence = 0
const recordOf = (event: ManifestEvent): ManifestRecord =>
  ({ reasonCode: 0, ...event, sequence: ++sequence, timestampMs: 1000 + sequence, rest: undefined }) as ManifestRecord

const created = (streamId: number, name: string): ManifestRecord => recordOf({ type: "StreamCreated", streamId, name })
const opened = (streamId: number, segmentIndex: number, fileGeneration = 0): ManifestRecord =>
  recordOf({
    type: "SegmentOpened",
    streamId,
    segmentIndex,
    fileGeneration,
    firstRecordNumber: segmentIndex * 10,
    baseOffset: segmentIndex * 1000,
  })
const sealed = (streamId: number, segmentIndex: number, fileGeneration = 0, recordCount = 10): ManifestRecord =>
  recordOf({
    type: "SealSegment",
    streamId,
    segmentIndex,
    fileGeneration,
    firstRecordNumber: segmentIndex * 10,
    recordCount,
    baseOffset: segmentIndex * 1000,
    durableBytes: 2536,
    fileBytes: 3000,
    flags: 0,
    checksumSeed: segmentIndex,
    lastRecordId: recordCount === 0 ? 0 : recordIdOf(segmentIndex, 2500),
    firstTimestampMs: 1,
    lastTimestampMs: 2,
    timestampMsMax: 100 + segmentIndex,
    extIdMax: BigInt(segmentIndex),
    coordinatorWatermark: 5n,
    sealedMs: 3,
    checksum64: 7n,
  })
const trimmed = (streamId: number, firstRecordId: number): ManifestRecord =>
  recordOf({ type: "Trim", streamId, firstRecordId, firstRecordNumber: 0 })
const stateOf = (...records: ReadonlyArray<ManifestRecord>): ManifestState => {
  const state = emptyManifestState()
  for (const record of records) applyManifestRecord(state, record)
  return state
}
/** All that counts, with records freed of their sequence. */
const plain = (state: ManifestState): unknown => {
  const strip = <T extends { readonly sequence: number }>(record: T | undefined): unknown =>
    record && { ...record, sequence: 0 }
  return {
    nextStreamId: state.nextStreamId,
    names: [...state.streamsByName].map(([name, stream]) => [name, stream.streamId]),
    others: state.others.map(strip),
    streams: [...state.streams.values()].map((stream) => ({
      ...stream,
      created: strip(stream.created),
      lastSealed: strip(stream.lastSealed),
      trim: strip(stream.trim),
      sealed: [...stream.sealed.values()].map(strip),
      opened: [...stream.opened.values()].map(strip),
    })),
  }
}
const indexesOf = (state: ManifestState, streamId: number): ReadonlyArray<number> => [
  ...(state.streams.get(streamId)?.sealed.keys() ?? []),
]

describe("streams", () => {
  test("are found by id and by name, and ids are not reused after a deletion", () => {
    const state = stateOf(created(1, "a"), created(2, "b"), recordOf({ type: "StreamDeleted", streamId: 2 }))
    expect(state.streamsByName.get("a")?.streamId).toBe(1)
    expect(state.streamsByName.has("b")).toBe(false)
    expect(state.nextStreamId).toBe(3)
    applyManifestRecord(state, created(3, "b"))
    expect(state.streamsByName.get("b")?.streamId).toBe(3)
    applyManifestRecord(state, recordOf({ type: "StreamDeleted", streamId: 2 }))
    expect(state.streamsByName.get("b")?.streamId).toBe(3)
  })

  test("records that come after a deletion do not bring a stream back", () => {
    const state = stateOf(
      created(1, "a"),
      recordOf({ type: "StreamDeleted", streamId: 1 }),
      sealed(1, 0),
      created(1, "a"),
    )
    expect(state.streams.size).toBe(0)
    expect(state.streamsByName.size).toBe(0)
  })

  test("a stream whose creation was lost is there without a name", () => {
    const state = stateOf(sealed(5, 0))
    expect(state.streams.get(5)).toMatchObject({ name: "", created: undefined, segmentIndexMax: 0 })
    expect(state.nextStreamId).toBe(6)
    applyManifestRecord(state, created(5, "late"))
    expect(state.streamsByName.get("late")?.sealed.size).toBe(1)
  })
})

describe("segments", () => {
  test("move from opened to sealed", () => {
    const state = stateOf(created(1, "a"), opened(1, 0), opened(1, 1), sealed(1, 0))
    const stream = state.streams.get(1)!
    expect([[...stream.opened.keys()], [...stream.sealed.keys()], stream.segmentIndexMax]).toEqual([[1], [0], 1])
  })

  test("keep rising order when they are sealed out of order", () => {
    const state = stateOf(created(1, "a"), opened(1, 2), sealed(1, 1), sealed(1, 0), sealed(1, 2))
    expect(indexesOf(state, 1)).toEqual([0, 1, 2])
    expect(state.streams.get(1)?.lastSealed?.segmentIndex).toBe(2)
  })

  test("a later file generation replaces, an earlier one does not", () => {
    const state = stateOf(created(1, "a"), sealed(1, 0, 1), sealed(1, 0, 0), opened(1, 0, 2))
    expect(state.streams.get(1)?.sealed.get(0)?.fileGeneration).toBe(1)
    expect(state.streams.get(1)?.opened.size).toBe(0)
    applyManifestRecord(state, sealed(1, 0, 2))
    expect(state.streams.get(1)?.lastSealed?.fileGeneration).toBe(2)
  })
})

describe("a trim", () => {
  test("drops segments wholly below it, and keeps the one that it cuts", () => {
    const state = stateOf(created(1, "a"), sealed(1, 0), sealed(1, 1), sealed(1, 2), trimmed(1, recordIdOf(1, 2500)))
    expect(indexesOf(state, 1)).toEqual([1, 2])
    applyManifestRecord(state, trimmed(1, recordIdOf(1, 2501)))
    expect(indexesOf(state, 1)).toEqual([2])
  })

  test("never goes back, and holds for segments that come late", () => {
    const state = stateOf(
      created(1, "a"),
      trimmed(1, recordIdOf(3, 1536)),
      trimmed(1, recordIdOf(1, 1536)),
      sealed(1, 2),
    )
    expect(state.streams.get(1)?.trim?.firstRecordId).toBe(recordIdOf(3, 1536))
    expect(indexesOf(state, 1)).toEqual([])
  })

  test("of everything leaves where numbers and maxima go on", () => {
    const state = stateOf(created(1, "a"), sealed(1, 0), sealed(1, 1), opened(1, 2), trimmed(1, recordIdOf(2, 1536)))
    const stream = state.streams.get(1)!
    expect(stream.sealed.size).toBe(0)
    expect(stream.lastSealed).toMatchObject({ segmentIndex: 1, extIdMax: 1n, timestampMsMax: 101 })
    expect([...stream.opened.keys()]).toEqual([2])
    expect(stream.segmentIndexMax).toBe(2)
  })
})

describe("snapshotRecords()", () => {
  const records = [
    created(1, "a"),
    opened(1, 0),
    sealed(1, 0),
    opened(1, 1),
    sealed(1, 1),
    opened(1, 2),
    trimmed(1, recordIdOf(1, 2501)),
    created(2, "b"),
    sealed(2, 4),
    sealed(2, 3),
    trimmed(2, recordIdOf(5, 1536)),
    recordOf({ type: "Raw", streamId: 2, typeNumber: 15, payload: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) }),
    created(3, "c"),
    recordOf({ type: "StreamDeleted", streamId: 3 }),
    sealed(9, 0),
    created(10, "d"),
    recordOf({ type: "StreamDeleted", streamId: 10 }),
  ]

  test("give an equal state at any moment, also when applied twice", () => {
    for (let length = 0; length <= records.length; length++) {
      const state = stateOf(...records.slice(0, length))
      const snapshot = snapshotRecords(state, { coversSequence: sequence, timestampMs: 5 })
      expect(plain(stateOf(...snapshot))).toEqual(plain(state))
      if (state.others.length === 0) expect(plain(stateOf(...snapshot, ...snapshot))).toEqual(plain(state))
    }
  })

  test("end in a marker that counts them", () => {
    const snapshot = snapshotRecords(stateOf(...records), { coversSequence: 77, timestampMs: 5 })
    expect(snapshot.at(-1)).toMatchObject({
      type: "SnapshotMarker",
      coversSequence: 77,
      nextStreamId: 11,
      streamCount: 3,
      recordCount: snapshot.length - 1,
    })
    expect(snapshot.map((record) => record.sequence)).toEqual(snapshot.map((_, index) => index + 1))
  })

  test("are not needed for records applied again", () => {
    const known = records.filter((record) => record.type !== "Raw")
    const state = stateOf(...known)
    const before = plain(state)
    for (const record of known) if (record.streamId !== 3 && record.streamId !== 10) applyManifestRecord(state, record)
    expect(plain(state)).toEqual(before)
  })
})

describe("replaceManifestState()", () => {
  test("leaves nothing of what was there", () => {
    const state = stateOf(created(1, "a"))
    replaceManifestState(state, stateOf(created(2, "b")))
    expect([...state.streams.keys()]).toEqual([2])
    expect(state.streamsByName.has("a")).toBe(false)
    expect(state.nextStreamId).toBe(3)
  })
})
