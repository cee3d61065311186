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
import { makeDraw, sampleHistory } from "../support/manifest_samples.ts"

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
    names: [...state.streamsByName].map(([name, stream]) => `${name} ${stream.streamId}`).sort(),
    others: state.others.map(strip),
    deletes: [...state.deletes.values()].map(strip),
    epoch: strip(state.epoch),
    streams: [...state.streams.values()].map((stream) => ({
      ...stream,
      created: strip(stream.created),
      lastSealed: strip(stream.lastSealed),
      trim: strip(stream.trim),
      tiers: [...stream.tiers]
        .sort(([one], [other]) => one - other)
        .map(([index, one]) => ({
          ...one,
          index,
          compressed: strip(one.compressed),
          uploading: strip(one.uploading),
          uploaded: strip(one.uploaded),
        })),
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

describe("copies of segments", () => {
  const name = { segmentIndex: 0, fileGeneration: 1 }
  const started = (key: string, fileGeneration = 1): ManifestRecord =>
    recordOf({ type: "UploadStarted", streamId: 1, ...name, fileGeneration, writerEpoch: 1, key })
  const uploaded = (key: string, fileGeneration = 1): ManifestRecord => {
    const object = { writerEpoch: 1, offset: 0, lengthBytes: 9, checksum64: 1n, etag: "e" }
    return recordOf({ type: "UploadDone", streamId: 1, ...name, fileGeneration, ...object, key })
  }
  const compressed = (fileGeneration = 1): ManifestRecord => {
    const warm = { level: 8, frameBytes: 65536, frameCount: 1, tailOffset: 9, fileBytes: 20, checksum64: 2n }
    return recordOf({ type: "CompressionDone", streamId: 1, ...name, fileGeneration, ...warm })
  }
  const queued = (key: string): ManifestRecord =>
    recordOf({ type: "Tier2DeleteQueued", streamId: 1, segmentIndex: 0, notBeforeMs: 5, key })
  const deleted = (key: string): ManifestRecord => recordOf({ type: "Tier2Deleted", streamId: 1, segmentIndex: 0, key })
  const evicted = (tier: number): ManifestRecord =>
    recordOf({ type: "LocalEvicted", streamId: 1, segmentIndex: 0, tier, bytes: 1 })
  const hydrated = (toTier: number): ManifestRecord =>
    recordOf({ type: "HydrationDone", streamId: 1, segmentIndex: 0, fromTier: 2, toTier, bytes: 1, durationMs: 1 })
  const seal = sealed(1, 0, 1)
  const tiersOf = (...records: ReadonlyArray<ManifestRecord>) =>
    stateOf(created(1, "a"), seal, ...records)
      .streams.get(1)!
      .tiers.get(0)

  test("are known from compression and upload; a finished upload is no longer under way", () => {
    expect(tiersOf(compressed(), started("k"), uploaded("k"))).toMatchObject({
      compressed: { level: 8 },
      uploading: undefined,
      uploaded: { key: "k" },
      isHotEvicted: false,
      isWarmEvicted: false,
    })
    expect(tiersOf(started("k"), started("other"), uploaded("k"))?.uploading?.key).toBe("other")
  })

  test("evictions are set and cleared for each tier, and a new warm file is there", () => {
    expect(tiersOf(evicted(0), evicted(1))).toMatchObject({ isHotEvicted: true, isWarmEvicted: true })
    expect(tiersOf(evicted(0), evicted(1), hydrated(0))).toMatchObject({ isHotEvicted: false, isWarmEvicted: true })
    expect(tiersOf(evicted(1), compressed())).toMatchObject({ isWarmEvicted: false })
    expect(tiersOf(evicted(0), hydrated(0))).toBeUndefined()
  })

  test("of an older file generation count for nothing, before and after the seal of a newer one", () => {
    expect(tiersOf(compressed(0), started("k", 0), uploaded("k", 0))).toBeUndefined()
    expect(tiersOf(compressed(), uploaded("k"), evicted(0), sealed(1, 0, 2))).toBeUndefined()
    expect(tiersOf(compressed(), sealed(1, 0, 2), compressed(2))?.compressed?.fileGeneration).toBe(2)
  })

  test("go with a trim and with the stream; what is queued for deletion stays until it is deleted", () => {
    const trim = trimmed(1, recordIdOf(1, 1536))
    const state = stateOf(created(1, "a"), seal, uploaded("k"), trim, queued("k"), uploaded("late"))
    expect(state.streams.get(1)?.tiers.size).toBe(0)
    applyManifestRecord(state, recordOf({ type: "StreamDeleted", streamId: 1 }))
    applyManifestRecord(state, queued("other"))
    expect([...state.deletes.keys()]).toEqual(["k", "other"])
    const again = stateOf(...snapshotRecords(state, { coversSequence: 1, timestampMs: 1 }))
    expect([...again.deletes.keys()]).toEqual(["k", "other"])
    expect(again.streams.size).toBe(0)
    expect(again.nextStreamId).toBe(2)
    applyManifestRecord(again, deleted("k"))
    expect([...again.deletes.keys()]).toEqual(["other"])
  })

  test("an object that is queued for deletion is none of them, and does not become one again", () => {
    expect(tiersOf(uploaded("k"), queued("k"))).toBeUndefined()
    expect(tiersOf(queued("k"), started("k"), uploaded("k"))).toBeUndefined()
    expect(tiersOf(uploaded("k"), uploaded("new"), queued("k"))?.uploaded?.key).toBe("new")
  })

  test("the highest epoch holds, and of one epoch the last nonce; custom events leave no trace", () => {
    const epoch = (value: number, byte: number): ManifestRecord =>
      recordOf({ type: "Epoch", streamId: 0, epoch: value, nonce: new Uint8Array(16).fill(byte) })
    const custom = recordOf({ type: "CustomEvent", streamId: 0, kind: 1, payload: new Uint8Array(8) })
    const state = stateOf(epoch(3, 1), epoch(2, 2), epoch(3, 3), custom)
    expect(state.epoch).toMatchObject({ epoch: 3, nonce: new Uint8Array(16).fill(3) })
    expect(state.others).toEqual([])
    expect(snapshotRecords(state, { coversSequence: 4, timestampMs: 1 }).map(({ type }) => type)).toEqual([
      "Epoch",
      "SnapshotMarker",
    ])
  })
})

describe("the state of random histories", () => {
  const compact = (state: ManifestState) => snapshotRecords(state, { coversSequence: 5, timestampMs: 5 })
  const seen = new Set<string>()
  const check = (seed: number): void => {
    const state = emptyManifestState()
    for (const record of sampleHistory(makeDraw(seed), 160)) {
      applyManifestRecord(state, record)
      const snapshot = compact(state)
      expect(plain(stateOf(...snapshot))).toEqual(plain(state))
      const known = snapshot.filter(({ type }) => type !== "Raw")
      expect(plain(stateOf(...known, ...known))).toEqual(plain(stateOf(...known)))
    }
    for (const stream of state.streams.values()) {
      for (const tiers of stream.tiers.values()) {
        for (const [name, value] of Object.entries(tiers)) if (value) seen.add(name)
      }
    }
    if (state.deletes.size > 0) seen.add("deletes")
  }

  test("is that of its snapshot at every moment, also when that is applied twice", () => {
    for (let seed = 1; seed <= 40; seed++) {
      try {
        check(seed)
      } catch (error) {
        throw new Error(`history of seed ${seed}`, { cause: error })
      }
    }
    const all = ["compressed", "deletes", "isHotEvicted", "isWarmEvicted", "uploaded", "uploading"]
    expect([...seen].sort()).toEqual(all)
  }, 60_000)

  test("is not changed by a record that comes twice in a row", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const state = emptyManifestState()
      for (const record of sampleHistory(makeDraw(seed), 160)) {
        applyManifestRecord(state, record)
        if (record.type === "Raw") continue
        const before = plain(state)
        applyManifestRecord(state, record)
        expect(plain(state)).toEqual(before)
      }
    }
  }, 60_000)
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
