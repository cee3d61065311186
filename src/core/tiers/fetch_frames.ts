/**
 * What a cold point read costs: one ranged read for the tail of the object, which holds the seek table, the index and the footer of
 * the segment, and one for the zstd frames around the wanted bytes. With the tail in the cache it is the second only.
 */
import * as Effect from "effect/Effect"
import { type SeekTable, seekTableBytes, type ZstdFrame } from "../../format/seekable_zstd.ts"
import { salvageZstdFrames, walkZstdFrames } from "../../format/zstd_walk.ts"
import { type AofError, corrupt, notFound } from "../../model/errors.ts"
import { recordIdOf } from "../../model/record_id.ts"
import type { SpareBuffers } from "../flow/spare_buffers.ts"
import type { ColdNeed } from "../read/cold_need.ts"
import type { Tier2ReadOptions } from "../tier2/tier2.ts"
import { decodeFrames, tableOf } from "./decode_frames.ts"
import type { ColdCopy, Residency } from "./residency.ts"
import { isStoredIntact, type StoredFrame, storedFrames } from "./stored_frames.ts"
import { makeStretch, stretchKey } from "./stretch.ts"
import type { TierServices } from "./tier_services.ts"

/** Frames decoded in one turn of the event loop at most: about a millisecond. */
export const sliceFrames = 16

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
  if (length === 0) return
  const first = table.frameAt(offset)
  const last = table.frameAt(Math.min(offset + length, table.contentBytes) - 1)
  if (first === undefined || last === undefined) return
  // The tail may just have brought them.
  const kept = services.stretches.get(stretchKey(copy.uid, first.index))
  if (kept !== undefined && kept.offset + kept.bytes.length >= last.contentOffset + last.contentBytes) return
  const end = last.compressedOffset + last.compressedBytes
  const packed = yield* readPadded(services, copy, first.compressedOffset, end - first.compressedOffset)
  yield* keepFrames(services, copy, { table, first, last, packed })
})

/** The seek table of a copy in Tier 2, fetched when it is not in memory. */
export const fetchTable = (services: TierServices, copy: ColdCopy): Effect.Effect<SeekTable, AofError> => {
  const table = services.tables.get(copy.uid)
  return table === undefined ? fetchTail(services, copy) : Effect.succeed(table)
}

/** Frames that are fetched as part of a scan. */
export interface ScanRun {
  readonly copy: ColdCopy
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
}

/** Takes what frames hold, from frame `from` on; `isIntact` when the log frames in it were checked where they lie. */
export type TakeContent = (from: ZstdFrame, bytes: Uint8Array, isIntact: boolean) => void

/** Fetches frames as part of a scan, by way of `buffers`, and gives what they hold slice by slice, in order. */
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
  const stored = storedFrames({ table: run.table, first, last, packed })
  const seed = copy.residency.view?.checksumSeed
  if (stored !== undefined && seed !== undefined) return yield* takeStored(services, run, { stored, seed, take })
  yield* decodeSlices(services, copy, { ...run, packed }, { turn: services.readingTurns.nextOfScan, take })
  // After a failure it may still be somebody's: then it is left to the garbage collector.
  if (lent !== undefined) buffers.give(lent)
})

/** Gives what stored frames hold without a copy; what does not check is fetched again. */
const takeStored = Effect.fnUntraced(function* (
  services: TierServices,
  { copy, table }: ScanRun,
  options: { readonly stored: ReadonlyArray<StoredFrame>; readonly seed: number; readonly take: TakeContent },
): Effect.fn.Return<void, AofError> {
  const { stored, seed, take } = options
  let turnBytes = 0
  for (const one of stored) {
    if (turnBytes <= 0) turnBytes = yield* services.readingTurns.nextOfScan
    turnBytes -= one.content.length
    if (isStoredIntact(one, seed)) take(one.frame, one.content, true)
    else take(one.frame, yield* fetchAgain(services, copy, { table, frame: one.frame }), false)
  }
})

const readObject = (
  services: TierServices,
  copy: ColdCopy,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> => {
  if (services.tier2 === undefined) {
    return Effect.fail(notFound("segment", copy.residency.index, "no copy of it in any tier"))
  }
  // The object store knows nothing of records; who asked for one is told which cannot be had.
  return Effect.mapError(services.tier2.readRange(copy.cold.key, offset, length, options), (error) =>
    error._tag === "Corrupt" ? lostObject(copy, error.detail) : error,
  )
}

/**
 * Like `readObject`, but of an object that is too short zeros stand for what it lacks, which are no frame: what is left of it counts.
 */
const readPadded = (
  services: TierServices,
  copy: ColdCopy,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> =>
  Effect.catch(readObject(services, copy, offset, length, options), (error: AofError) => {
    if (error._tag !== "Corrupt" || services.tier2 === undefined) return Effect.fail(error)
    return Effect.flatMap(services.tier2.head(copy.cold.key), (info): Effect.Effect<Uint8Array, AofError> => {
      const left = Math.min(length, (info?.lengthBytes ?? 0) - offset)
      if (info === undefined || left >= length) return Effect.fail(error)
      const padded = new Uint8Array(length)
      if (left <= 0) return Effect.succeed(padded)
      return Effect.map(readObject(services, copy, offset, left), (bytes) => {
        padded.set(bytes)
        return padded
      })
    })
  })

/** The damage of a whole object, in id positions. */
const lostObject = ({ residency, cold }: ColdCopy, detail: string): AofError => {
  const { index, seal } = residency
  return corrupt(`object ${cold.key}`, detail, recordIdOf(index, 0), recordIdOf(index, seal?.framesEnd ?? 0))
}

/** Bytes of an object read at once where all of it has to be looked at. */
const walkBytes = 4 * 1024 * 1024

/** The seek table of an object that has none that checks: from its frames, which all have to be read once. */
const walkObject = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
): Effect.fn.Return<SeekTable | undefined, AofError> {
  const { residency, form } = copy
  const { fileBytes, frameCount } = form
  const all = new Uint8Array(fileBytes)
  for (let offset = 0; offset < fileBytes; offset += walkBytes) {
    all.set(yield* readPadded(services, copy, offset, Math.min(walkBytes, fileBytes - offset)), offset)
  }
  const read = (offset: number, length: number): Uint8Array => all.subarray(offset, offset + length)
  const bounds = { fileBytes, frameCount, contentBytes: residency.seal?.fileBytes ?? 0 }
  return walkZstdFrames(read, bounds) ?? salvageZstdFrames(read, bounds)
})

const fetchTail = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
): Effect.fn.Return<SeekTable, AofError> {
  const { residency, form } = copy
  const tableOffset = Math.max(0, form.fileBytes - seekTableBytes(form.frameCount))
  const from = Math.min(form.tailOffset, tableOffset)
  const tail = yield* readPadded(services, copy, from, form.fileBytes - from)
  const table = tableOf({ residency }, form, tail) ?? (yield* walkObject(services, copy))
  if (table === undefined) return yield* Effect.fail(lostObject(copy, "its seek table does not check"))
  if (residency.isStill(copy)) services.tables.set(copy.uid, table, seekTableBytes(table.frameCount))
  const first = residency.seal === undefined ? undefined : table.frameAt(residency.seal.framesEnd)
  const last = table.frame(table.frameCount - 1)
  const isInTail = first !== undefined && first.compressedOffset >= from
  // A table that was made up has its lost frames where the tail has others.
  if (isInTail && last !== undefined && last.compressedOffset + last.compressedBytes <= form.fileBytes) {
    const packed = tail.subarray(first.compressedOffset - from, last.compressedOffset + last.compressedBytes - from)
    yield* keepFrames(services, copy, { table, first, last, packed })
  }
  return table
})

interface FetchedFrames {
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
  readonly packed: Uint8Array
}

/** Decodes frames and keeps them as one stretch. */
const keepFrames = (services: TierServices, copy: ColdCopy, fetched: FetchedFrames): Effect.Effect<void, AofError> => {
  const { first, last } = fetched
  const bytes = new Uint8Array(last.contentOffset + last.contentBytes - first.contentOffset)
  const decoded = decodeSlices(services, copy, fetched, {
    turn: services.readingTurns.nextOfPoint,
    take: (from, slice) => bytes.set(slice, from.contentOffset - first.contentOffset),
  })
  return Effect.map(decoded, () => {
    if (!copy.residency.isStill(copy)) return
    services.stretches.set(stretchKey(copy.uid, first.index), makeStretch(first.contentOffset, bytes), bytes.length)
  })
}

/**
 * Decodes frames, some in each turn of the event loop, and gives what they hold. A frame that does not check is fetched again, because it may
 * have been damaged on its way; one that still does not becomes zeros, in which no log frame begins.
 */
const decodeSlices = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  { table, first, last, packed }: FetchedFrames,
  { turn, take }: { readonly turn: Effect.Effect<number>; readonly take: TakeContent },
): Effect.fn.Return<void, AofError> {
  for (let index = first.index; index <= last.index; ) {
    const turnBytes = yield* turn
    const from = table.frame(index)!
    const count = Math.max(1, Math.min(sliceFrames, Math.floor(turnBytes / from.contentBytes)))
    const to = table.frame(Math.min(last.index, index + count - 1))!
    const at = from.compressedOffset - first.compressedOffset
    const slice = packed.subarray(at, to.compressedOffset + to.compressedBytes - first.compressedOffset)
    const bad: Array<ZstdFrame> = []
    const decoded = decodeFrames(services.compressor, { table, first: from, last: to, packed: slice }, (frame) => {
      bad.push(frame)
    })
    for (const frame of bad) {
      decoded.set(yield* fetchAgain(services, copy, { table, frame }), frame.contentOffset - from.contentOffset)
    }
    take(from, decoded, false)
    index = to.index + 1
  }
})

/** How often a frame that does not check is fetched again: a bad line may damage several answers in a row. */
const refetchesMax = 3

/** Fetches and decodes one frame that did not check; zeros when it still does not. */
const fetchAgain = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  { table, frame }: { readonly table: SeekTable; readonly frame: ZstdFrame },
): Effect.fn.Return<Uint8Array, AofError> {
  let isBad = true
  let decoded: Uint8Array = new Uint8Array(0)
  for (let fetches = 0; isBad && fetches < refetchesMax; fetches++) {
    isBad = false
    const packed = yield* readPadded(services, copy, frame.compressedOffset, frame.compressedBytes)
    decoded = decodeFrames(services.compressor, { table, first: frame, last: frame, packed }, () => {
      isBad = true
    })
  }
  const { residency, cold } = copy
  if (!isBad || !residency.isStill(copy)) return decoded
  residency.noteDamage(frame.contentOffset, frame.contentOffset + frame.contentBytes)
  const { stream, index: segmentIndex } = residency
  services.emit({ name: "tier2_corrupt_frame", level: "error", stream, segmentIndex, key: cold.key })
  return decoded
})
