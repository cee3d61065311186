// Manifest events of every type with field values from a seed, and files made of them with the codecs alone.

import { crc64 } from "../../src/format/checksum.ts"
import { commitSlotOffset, encodeCommitSlot, encodeManifestHeader } from "../../src/format/manifest_chunk.ts"
import { encodeManifestRecord, type ManifestEvent, type ManifestRecord } from "../../src/format/manifest_record.ts"
import { applyManifestRecord, emptyManifestState, snapshotRecords } from "../../src/state/manifest_state.ts"

/** Numbers below a limit of at most 2^53, the same on every runtime. */
export type Draw = (below: number) => number

export const makeDraw = (seed: number): Draw => {
  let state = (seed * 2654435761) >>> 0
  const word = (): number => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
    return (state ^ (state >>> 13)) >>> 0
  }
  return (below) => Math.floor(((word() * 2097152 + (word() >>> 11)) / 9007199254740992) * below)
}

const u32 = 2 ** 32
const safe = 2 ** 53
const u64 = (draw: Draw): bigint => (BigInt(draw(u32)) << 32n) | BigInt(draw(u32))
const bytesOf = (draw: Draw, length: number): Uint8Array => Uint8Array.from({ length }, () => draw(256))
const letters = ["a", "Z", "0", "/", "-", "ä", "€", "𝄞", "\ufeff"]
/** Text of at most `bytesMax` bytes. */
const textOf = (draw: Draw, bytesMin: number, bytesMax: number): string => {
  let text = ""
  for (let left = bytesMin + draw(bytesMax - bytesMin + 1); left > 0; ) {
    const letter = left < 4 ? "x" : letters[draw(letters.length)]!
    left -= new TextEncoder().encode(letter).length
    text += letter
  }
  return text
}

type Maker = (draw: Draw, streamId: number) => ManifestEvent

const file = (draw: Draw) => ({ segmentIndex: draw(u32), fileGeneration: draw(u32) })
const opened = (draw: Draw) => ({ ...file(draw), firstRecordNumber: draw(safe), baseOffset: draw(safe) })
const key = (draw: Draw): string => textOf(draw, 1, draw(4) === 0 ? 1024 : 24)
const hydration = (draw: Draw) => ({ segmentIndex: draw(u32), fromTier: 1 + draw(2), toTier: draw(2) })

/** One maker for each type that is decoded, in order of number, and two for those that are not. */
export const sampleMakers: ReadonlyArray<Maker> = [
  (draw, streamId) => ({ type: "SegmentOpened", streamId, ...opened(draw) }),
  (draw, streamId) => ({
    type: "SealSegment",
    streamId,
    ...opened(draw),
    recordCount: draw(safe),
    durableBytes: draw(u32),
    fileBytes: draw(u32),
    flags: draw(65536),
    checksumSeed: draw(u32),
    lastRecordId: draw(safe),
    firstTimestampMs: draw(safe),
    lastTimestampMs: draw(safe),
    timestampMsMax: draw(safe),
    extIdMax: u64(draw),
    coordinatorWatermark: u64(draw),
    sealedMs: draw(safe),
    checksum64: u64(draw),
  }),
  (draw, streamId) => ({ type: "CompressionStarted", streamId, ...file(draw), level: 1 + draw(19) }),
  (draw, streamId) => ({
    type: "CompressionDone",
    streamId,
    ...file(draw),
    level: 1 + draw(19),
    frameBytes: draw(u32),
    frameCount: draw(u32),
    tailOffset: draw(u32),
    fileBytes: draw(u32),
    checksum64: u64(draw),
  }),
  (draw, streamId) => ({ type: "CompressionFailed", streamId, ...file(draw), attempts: draw(u32) }),
  (draw, streamId) => ({ type: "UploadStarted", streamId, ...file(draw), writerEpoch: draw(safe), key: key(draw) }),
  (draw, streamId) => ({
    type: "UploadDone",
    streamId,
    ...file(draw),
    writerEpoch: draw(safe),
    offset: draw(safe),
    lengthBytes: draw(safe),
    checksum64: u64(draw),
    key: key(draw),
    etag: textOf(draw, 0, 256),
  }),
  (draw, streamId) => ({ type: "UploadFailed", streamId, ...file(draw), attempts: draw(u32), key: key(draw) }),
  (draw, streamId) => ({
    type: "Tier2DeleteQueued",
    streamId,
    segmentIndex: draw(u32),
    notBeforeMs: draw(safe),
    key: key(draw),
  }),
  (draw, streamId) => ({ type: "Tier2Deleted", streamId, segmentIndex: draw(u32), key: key(draw) }),
  (draw, streamId) => ({ type: "HydrationStarted", streamId, ...hydration(draw) }),
  (draw, streamId) => ({
    type: "HydrationDone",
    streamId,
    ...hydration(draw),
    bytes: draw(safe),
    durationMs: draw(safe),
  }),
  (draw, streamId) => ({ type: "HydrationFailed", streamId, ...hydration(draw), attempts: draw(u32) }),
  (draw, streamId) => ({
    type: "LocalEvicted",
    streamId,
    segmentIndex: draw(u32),
    tier: draw(2),
    bytes: draw(safe),
  }),
  (draw) => ({
    type: "SnapshotMarker",
    streamId: 0,
    coversSequence: draw(safe),
    nextStreamId: draw(1000),
    streamCount: draw(safe),
    recordCount: draw(safe),
  }),
  (draw, streamId) => ({
    type: "CustomEvent",
    streamId,
    kind: draw(u32),
    payload: bytesOf(draw, draw(3) === 0 ? draw(4097) : draw(20)),
  }),
  (draw, streamId) => ({ type: "Trim", streamId, firstRecordId: draw(safe), firstRecordNumber: draw(safe) }),
  (draw) => ({ type: "Epoch", streamId: 0, epoch: draw(safe), nonce: bytesOf(draw, 16) }),
  (draw, streamId) => ({ type: "StreamCreated", streamId, name: `stream-${draw(u32)}` }),
  (_, streamId) => ({ type: "StreamDeleted", streamId }),
  (draw, streamId) => ({
    type: "Raw",
    streamId,
    typeNumber: 20 + draw(60_000),
    payload: bytesOf(draw, 8 * draw(20)),
  }),
  // Too short for its table: carried as it is.
  (draw, streamId) => ({ type: "Raw", streamId, typeNumber: 6, payload: bytesOf(draw, 8) }),
]

/** A record of each maker, in their order. */
export const sampleRecords = (seed: number, firstSequence = 1): ReadonlyArray<ManifestRecord> => {
  const draw = makeDraw(seed)
  return sampleMakers.map((make, index) => {
    const rest = draw(4) === 0 ? Uint8Array.from({ length: 8 }, (_, at) => (at === 0 ? 0 : draw(256))) : undefined
    const event = make(draw, 1 + draw(900))
    const reasonCode = draw(12)
    const sequence = firstSequence + index
    return {
      reasonCode,
      ...event,
      sequence,
      timestampMs: 1_700_000_000_000 + draw(1e9),
      rest: event.type === "Raw" ? undefined : rest,
    } as ManifestRecord
  })
}

/** A manifest file with one commit of all records, sealed in order. */
export const makeManifestFile = (
  head: { readonly kind: number; readonly rootId: Uint8Array; readonly chunkSequence: number },
  firstRecordSequence: number,
  records: ReadonlyArray<ManifestRecord>,
): Uint8Array => {
  const createdMs = 1_700_000_000_000
  const parts = records.map((record) => encodeManifestRecord(record))
  const bytes = new Uint8Array(
    Buffer.concat([encodeManifestHeader({ ...head, firstRecordSequence, createdMs }), ...parts]),
  )
  const committedBytes = bytes.length - 1536
  const slot = { committedBytes, recordCount: records.length, checksum64: crc64(bytes.subarray(1536)) }
  for (const sequence of [2, 5]) encodeCommitSlot(bytes, commitSlotOffset(sequence), { ...slot, sequence })
  return bytes
}

/** The files of a manifest with every type: a snapshot of a history that leaves something of each kind, and a chunk of samples. */
export const makeTypesManifest = (rootId: Uint8Array, seed: number): ReadonlyMap<string, Uint8Array> => {
  const draw = makeDraw(seed)
  const state = emptyManifestState()
  const history = sampleHistory(draw, 120)
  for (const record of history) applyManifestRecord(state, record)
  const coversSequence = history.length
  const snapshot = snapshotRecords(state, { coversSequence, timestampMs: 1_700_000_000_500 })
  const samples = sampleRecords(seed, coversSequence + 1)
  const first = coversSequence + 1
  return new Map([
    ["manifest/0000000001.snapshot", makeManifestFile({ kind: 1, rootId, chunkSequence: 1 }, first, snapshot)],
    ["manifest/0000000002.chunk", makeManifestFile({ kind: 0, rootId, chunkSequence: 2 }, first, samples)],
  ])
}

/** A history in which records of few streams, segments and keys meet each other. */
export const sampleHistory = (draw: Draw, length: number): ReadonlyArray<ManifestRecord> => {
  const makers = sampleMakers.filter((_, index) => index !== 14)
  const records: Array<ManifestRecord> = []
  for (let sequence = 1; sequence <= length; sequence++) {
    const streamId = 1 + draw(3)
    const made = { ...makers[draw(makers.length)]!(draw, streamId) } as Record<string, unknown> & ManifestEvent
    if (made.type === "StreamDeleted" && draw(3) > 0) continue
    // Small numbers, so that they meet. Ends of segments agree with their indexes, as in every manifest that a writer has made.
    const small: Record<string, unknown> = {}
    if ("segmentIndex" in made) small["segmentIndex"] = draw(5)
    if ("fileGeneration" in made) small["fileGeneration"] = draw(3)
    if ("key" in made) small["key"] = `key-${draw(12)}`
    if (made.type === "Epoch") small["epoch"] = draw(6)
    if (made.type === "SealSegment") {
      const recordCount = draw(4)
      small["recordCount"] = recordCount
      small["lastRecordId"] = recordCount === 0 ? 0 : (small["segmentIndex"] as number) * 2 ** 28 + 2000
    }
    if (made.type === "Trim") small["firstRecordId"] = draw(5) * 2 ** 28 + [1536, 2000, 2001][draw(3)]!
    const head = { reasonCode: draw(11), sequence: records.length + 1, timestampMs: 1_700_000_000_000 + sequence }
    records.push({ ...made, ...small, ...head, rest: undefined } as unknown as ManifestRecord)
  }
  return records
}
