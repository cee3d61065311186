/**
 * What a cold point read costs: one ranged read for the tail of the object, which holds the seek table, the index and the footer of
 * the segment, and one for the zstd frames around the wanted bytes. With the tail in the cache it is the second only.
 */
import * as Effect from "effect/Effect"
import { type SeekTable, seekTableBytes, type ZstdFrame } from "../../format/seekable_zstd.ts"
import { salvageZstdFrames, walkZstdFrames } from "../../format/zstd_walk.ts"
import { type AofError, notFound } from "../../model/errors.ts"
import type { SpareBuffers } from "../flow/spare_buffers.ts"
import type { ColdNeed } from "../read/cold_need.ts"
import {
  decodeChecked,
  type FetchedFrames,
  partsBetween,
  type TakeContent,
  type Taking,
  takeStored,
} from "./checked_frames.ts"
import { tableOf } from "./decode_frames.ts"
import { lostObject, readPadded } from "./read_object.ts"
import type { ColdCopy, Residency } from "./residency.ts"
import { storedFrames } from "./stored_frames.ts"
import { makeStretch, stretchKey } from "./stretch.ts"
import type { TierServices } from "./tier_services.ts"

/** Brings the frames of a range into the cache; none when the length is 0, but then the tail. */
export const fetchFrames = (services: TierServices, need: ColdNeed): Effect.Effect<void, AofError> =>
  ofCopy(need.residency, (copy) => fetchOf(services, copy, need))

/**
 * Fetches something of a segment that is in Tier 2. When another object took the place of the one that was read, an error says nothing: whoever
 * needs it tries again.
 */
export const ofCopy = (
  residency: Residency,
  fetch: (copy: ColdCopy) => Effect.Effect<void, AofError>,
): Effect.Effect<void, AofError> =>
  Effect.suspend(() => {
    const copy = residency.coldCopy
    if (copy === undefined) return Effect.fail(notFound("segment", residency.index, "no copy of it in any tier"))
    return Effect.catch(fetch(copy), (error: AofError) => (residency.isStill(copy) ? Effect.fail(error) : Effect.void))
  })

const fetchOf = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  { offset, length }: ColdNeed,
): Effect.fn.Return<void, AofError> {
  const table = yield* fetchTable(services, copy)
  if (length === 0 || !copy.residency.isStill(copy)) return
  const first = table.frameAt(offset)
  const last = table.frameAt(Math.min(offset + length, table.contentBytes) - 1)
  if (first === undefined || last === undefined || last.contentOffset >= table.knownBytes) return
  // The tail may just have brought them.
  const kept = services.stretches.get(stretchKey(copy.uid, first.index))
  if (kept !== undefined && kept.offset + kept.bytes.length >= last.contentOffset + last.contentBytes) return
  const end = last.compressedOffset + last.compressedBytes
  const packed = yield* readPadded(services, copy, first.compressedOffset, end - first.compressedOffset)
  yield* keepFrames(services, copy, { table, first, last, packed })
})

/** The seek table of a copy in Tier 2, fetched when it is not in memory. */
export const fetchTable = (services: TierServices, copy: ColdCopy): Effect.Effect<SeekTable, AofError> => {
  const table = knownTable(services, copy)
  return table === undefined ? fetchTail(services, copy) : Effect.succeed(table)
}

/** The seek table of a copy in Tier 2 that is in memory; undefined as well when it has to be asked for again. */
export const knownTable = ({ tables, clock }: TierServices, { uid, residency }: ColdCopy): SeekTable | undefined => {
  const table = tables.get(uid)
  const isBelieved = table !== undefined && residency.isTableBelieved(table, clock.currentTimeMillisUnsafe())
  return isBelieved ? table : undefined
}

/** Frames that are fetched as part of a scan. */
export interface ScanRun {
  readonly copy: ColdCopy
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
}

/** Fetches frames as part of a scan, by way of `buffers`, and gives what of them checks, piece by piece. */
export const fetchRun: (
  services: TierServices,
  run: ScanRun,
  buffers: SpareBuffers,
  take: TakeContent,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (services, run, buffers, take) {
  const { copy, first, last } = run
  const length = last.compressedOffset + last.compressedBytes - first.compressedOffset
  let lent: Uint8Array | undefined
  // Not before its turn: many scans may wait for one.
  const into = (): Uint8Array => (lent = buffers.take(length))
  const packed = yield* readPadded(services, copy, first.compressedOffset, length, { isBulk: true, into })
  const taking: Taking = { turn: services.readingTurns.nextOfScan, take }
  const fetched: FetchedFrames = { table: run.table, first, last, packed }
  const stored = storedFrames(fetched)
  const seed = copy.residency.view?.checksumSeed
  if (stored !== undefined && seed !== undefined) {
    return yield* takeStored(services, copy, { fetched, stored, seed }, taking)
  }
  yield* decodeChecked(services, copy, fetched, taking)
  // After a failure it may still be somebody's: then it is left to the garbage collector.
  if (lent !== undefined) buffers.give(lent)
})

/** Bytes of an object read at once where all of it has to be looked at. */
const walkBytes = 4 * 1024 * 1024

/** The seek table of an object that has none that checks: from its frames, which are read as far as there are any. */
const walkObject = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
): Effect.fn.Return<SeekTable | undefined, AofError> {
  const { residency, form } = copy
  const { fileBytes, frameCount } = form
  const all = new Uint8Array(fileBytes)
  const bounds = { fileBytes, frameCount, contentBytes: residency.seal?.fileBytes ?? 0 }
  for (let here = 0; ; ) {
    const length = Math.min(walkBytes, fileBytes - here)
    all.set(yield* readPadded(services, copy, here, length), here)
    here += length
    let isShort = false
    const read = (offset: number, count: number): Uint8Array => {
      isShort ||= offset + count > here
      return all.subarray(offset, Math.max(offset, Math.min(offset + count, here)))
    }
    const table = walkZstdFrames(read, bounds) ?? salvageZstdFrames(read, bounds)
    if (!isShort || here >= fileBytes) return table
  }
})

const fetchTail = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
): Effect.fn.Return<SeekTable, AofError> {
  const { residency, form } = copy
  const tableOffset = Math.max(0, form.fileBytes - seekTableBytes(form.frameCount))
  const from = Math.min(form.tailOffset, tableOffset)
  let tail = yield* readPadded(services, copy, from, form.fileBytes - from)
  let found = tableOf({ residency }, form, tail)
  if (found === undefined && services.tables.get(copy.uid) === undefined) {
    // It may have been damaged on its way.
    tail = yield* readPadded(services, copy, from, form.fileBytes - from)
    found = tableOf({ residency }, form, tail)
  }
  const table = found ?? (yield* walkObject(services, copy))
  if (table === undefined) return yield* Effect.fail(lostObject(copy, "its seek table does not check"))
  if (!residency.isStill(copy)) return table
  keepTable(services, copy, table)
  const first = residency.seal === undefined ? undefined : table.frameAt(residency.seal.framesEnd)
  const last = table.frame(table.frameCount - 1)
  // What was made up has its lost frames where the tail has others.
  const isInTail = first !== undefined && first.compressedOffset >= from && table.knownBytes === table.contentBytes
  if (isInTail && last !== undefined && last.compressedOffset + last.compressedBytes <= form.fileBytes) {
    const packed = tail.subarray(first.compressedOffset - from, last.compressedOffset + last.compressedBytes - from)
    yield* keepFrames(services, residency.coldCopy ?? copy, { table, first, last, packed })
  }
  return table
})

/** Keeps a seek table; what it has made up counts as damage, and is made up anew when it is asked for after a while. */
const keepTable = (services: TierServices, copy: ColdCopy, table: SeekTable): void => {
  const { tables, clock, emit } = services
  const { residency, form, cold } = copy
  const { frameCount, knownBytes, contentBytes } = table
  const before = tables.get(copy.uid)
  if (before !== undefined && (before.frameCount !== frameCount || before.knownBytes !== knownBytes)) {
    // By the numbers of its frames something else was found.
    tables.delete(copy.uid)
    residency.changeForm(form)
  }
  tables.set(residency.uid, table, seekTableBytes(frameCount))
  if (knownBytes === contentBytes) return
  const isNew = residency.damage.note({ from: knownBytes, to: contentBytes }, clock.currentTimeMillisUnsafe())
  const { stream, index: segmentIndex } = residency
  if (isNew) emit({ name: "tier2_corrupt_frame", level: "error", stream, segmentIndex, key: cold.key })
}

/** Decodes frames and keeps what of them checks, as few stretches as there are. */
const keepFrames = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  fetched: FetchedFrames,
): Effect.fn.Return<void, AofError> {
  const { table, first, last } = fetched
  const { contentOffset } = first
  const bytes = new Uint8Array(last.contentOffset + last.contentBytes - contentOffset)
  const lost = yield* decodeChecked(services, copy, fetched, {
    turn: services.readingTurns.nextOfPoint,
    take: (from, slice) => bytes.set(slice, from.contentOffset - contentOffset),
  })
  if (!copy.residency.isStill(copy)) return
  for (const part of partsBetween(table, { first, last, lost })) {
    const end = part.last.contentOffset + part.last.contentBytes
    const content = bytes.subarray(part.first.contentOffset - contentOffset, end - contentOffset)
    const stretch = makeStretch(part.first.contentOffset, content)
    services.stretches.set(stretchKey(copy.uid, part.first.index), stretch, content.length)
  }
})
