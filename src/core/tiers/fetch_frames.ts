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
import type { Residency } from "./residency.ts"
import { isStoredIntact, type StoredFrame, storedFrames } from "./stored_frames.ts"
import { makeStretch, stretchKey } from "./stretch.ts"
import type { TierServices } from "./tier_services.ts"

/** Frames decoded in one turn of the event loop at most: about a millisecond. */
export const sliceFrames = 16

/** Brings the frames of a range into the cache; none when the length is 0, but then the tail. */
export const fetchFrames: (services: TierServices, need: ColdNeed) => Effect.Effect<void, AofError> = Effect.fnUntraced(
  function* (services: TierServices, need: ColdNeed): Effect.fn.Return<void, AofError> {
    const { residency, offset, length } = need
    const table = yield* fetchTable(services, residency)
    if (length === 0) return
    const first = table.frameAt(offset)
    const last = table.frameAt(Math.min(offset + length, table.contentBytes) - 1)
    if (first === undefined || last === undefined) return
    // The tail may just have brought them.
    const kept = services.stretches.get(stretchKey(residency, first.index))
    if (kept !== undefined && kept.offset + kept.bytes.length >= last.contentOffset + last.contentBytes) return
    const end = last.compressedOffset + last.compressedBytes
    const packed = yield* readPadded(services, residency, first.compressedOffset, end - first.compressedOffset)
    yield* keepFrames(services, residency, { table, first, last, packed })
  },
)

/** The seek table of a segment that is in Tier 2, fetched when it is not in memory. */
export const fetchTable = (services: TierServices, residency: Residency): Effect.Effect<SeekTable, AofError> => {
  const table = services.tables.get(residency.uid)
  return table === undefined ? fetchTail(services, residency) : Effect.succeed(table)
}

/** Frames that are fetched as part of a scan. */
export interface ScanRun {
  readonly residency: Residency
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
  const { residency, first, last } = run
  const length = last.compressedOffset + last.compressedBytes - first.compressedOffset
  let lent: Uint8Array | undefined
  // Not before its turn: many scans may wait for one.
  const into = (): Uint8Array => (lent = buffers.take(length))
  const packed = yield* readPadded(services, residency, first.compressedOffset, length, { isBulk: true, into })
  const stored = storedFrames({ table: run.table, first, last, packed })
  const seed = residency.view?.checksumSeed
  if (stored !== undefined && seed !== undefined) return yield* takeStored(services, run, { stored, seed, take })
  yield* decodeSlices(services, residency, { ...run, packed }, { turn: services.readingTurns.nextOfScan, take })
  // After a failure it may still be somebody's: then it is left to the garbage collector.
  if (lent !== undefined) buffers.give(lent)
})

/** Gives what stored frames hold without a copy; what does not check is fetched again. */
const takeStored = Effect.fnUntraced(function* (
  services: TierServices,
  { residency, table }: ScanRun,
  options: { readonly stored: ReadonlyArray<StoredFrame>; readonly seed: number; readonly take: TakeContent },
): Effect.fn.Return<void, AofError> {
  const { stored, seed, take } = options
  let turnBytes = 0
  for (const one of stored) {
    if (turnBytes <= 0) turnBytes = yield* services.readingTurns.nextOfScan
    turnBytes -= one.content.length
    if (isStoredIntact(one, seed)) take(one.frame, one.content, true)
    else take(one.frame, yield* fetchAgain(services, residency, { table, frame: one.frame }), false)
  }
})

const readObject = (
  services: TierServices,
  residency: Residency,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> => {
  const { cold } = residency
  if (cold === undefined || services.tier2 === undefined) {
    return Effect.fail(notFound("segment", residency.index, "no copy of it in any tier"))
  }
  // The object store knows nothing of records; who asked for one is told which cannot be had.
  return Effect.mapError(services.tier2.readRange(cold.key, offset, length, options), (error) =>
    error._tag === "Corrupt" ? lostObject(residency, error.detail) : error,
  )
}

/**
 * Like `readObject`, but of an object that is too short zeros stand for what it lacks, which are no frame: what is left of it counts.
 */
const readPadded = (
  services: TierServices,
  residency: Residency,
  offset: number,
  length: number,
  options?: Tier2ReadOptions,
): Effect.Effect<Uint8Array, AofError> =>
  Effect.catch(readObject(services, residency, offset, length, options), (error: AofError) => {
    const { cold } = residency
    if (error._tag !== "Corrupt" || cold === undefined || services.tier2 === undefined) return Effect.fail(error)
    return Effect.flatMap(services.tier2.head(cold.key), (info): Effect.Effect<Uint8Array, AofError> => {
      const left = Math.min(length, (info?.lengthBytes ?? 0) - offset)
      if (info === undefined || left >= length) return Effect.fail(error)
      const padded = new Uint8Array(length)
      if (left <= 0) return Effect.succeed(padded)
      return Effect.map(readObject(services, residency, offset, left), (bytes) => {
        padded.set(bytes)
        return padded
      })
    })
  })

/** The damage of a whole object, in id positions. */
const lostObject = ({ index, seal, cold }: Residency, detail: string): AofError =>
  corrupt(`object ${cold?.key}`, detail, recordIdOf(index, 0), recordIdOf(index, seal?.framesEnd ?? 0))

/** Bytes of an object read at once where all of it has to be looked at. */
const walkBytes = 4 * 1024 * 1024

/** The seek table of an object that has none that checks: from its frames, which all have to be read once. */
const walkObject = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
): Effect.fn.Return<SeekTable | undefined, AofError> {
  const { fileBytes, frameCount } = residency.form!
  const all = new Uint8Array(fileBytes)
  for (let offset = 0; offset < fileBytes; offset += walkBytes) {
    all.set(yield* readPadded(services, residency, offset, Math.min(walkBytes, fileBytes - offset)), offset)
  }
  const read = (offset: number, length: number): Uint8Array => all.subarray(offset, offset + length)
  const bounds = { fileBytes, frameCount, contentBytes: residency.seal?.fileBytes ?? 0 }
  return walkZstdFrames(read, bounds) ?? salvageZstdFrames(read, bounds)
})

const fetchTail = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
): Effect.fn.Return<SeekTable, AofError> {
  const { form } = residency
  if (form === undefined) return yield* Effect.fail(notFound("segment", residency.index, "no copy of it in any tier"))
  const tableOffset = Math.max(0, form.fileBytes - seekTableBytes(form.frameCount))
  const from = Math.min(form.tailOffset, tableOffset)
  const tail = yield* readPadded(services, residency, from, form.fileBytes - from)
  const table = tableOf({ residency }, form, tail) ?? (yield* walkObject(services, residency))
  if (table === undefined) return yield* Effect.fail(lostObject(residency, "its seek table does not check"))
  services.tables.set(residency.uid, table, seekTableBytes(table.frameCount))
  const first = residency.seal === undefined ? undefined : table.frameAt(residency.seal.framesEnd)
  const last = table.frame(table.frameCount - 1)
  const isInTail = first !== undefined && first.compressedOffset >= from
  // A table that was made up has its lost frames where the tail has others.
  if (isInTail && last !== undefined && last.compressedOffset + last.compressedBytes <= form.fileBytes) {
    const packed = tail.subarray(first.compressedOffset - from, last.compressedOffset + last.compressedBytes - from)
    yield* keepFrames(services, residency, { table, first, last, packed })
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
const keepFrames = (
  services: TierServices,
  residency: Residency,
  fetched: FetchedFrames,
): Effect.Effect<void, AofError> => {
  const { first, last } = fetched
  const bytes = new Uint8Array(last.contentOffset + last.contentBytes - first.contentOffset)
  const decoded = decodeSlices(services, residency, fetched, {
    turn: services.readingTurns.nextOfPoint,
    take: (from, slice) => bytes.set(slice, from.contentOffset - first.contentOffset),
  })
  return Effect.map(decoded, () => {
    services.stretches.set(stretchKey(residency, first.index), makeStretch(first.contentOffset, bytes), bytes.length)
  })
}

/**
 * Decodes frames, some in each turn of the event loop, and gives what they hold. A frame that does not check is fetched again, because it may
 * have been damaged on its way; one that still does not becomes zeros, in which no log frame begins.
 */
const decodeSlices = Effect.fnUntraced(function* (
  services: TierServices,
  residency: Residency,
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
      decoded.set(yield* fetchAgain(services, residency, { table, frame }), frame.contentOffset - from.contentOffset)
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
  residency: Residency,
  { table, frame }: { readonly table: SeekTable; readonly frame: ZstdFrame },
): Effect.fn.Return<Uint8Array, AofError> {
  let isBad = true
  let decoded: Uint8Array = new Uint8Array(0)
  for (let fetches = 0; isBad && fetches < refetchesMax; fetches++) {
    isBad = false
    const packed = yield* readPadded(services, residency, frame.compressedOffset, frame.compressedBytes)
    decoded = decodeFrames(services.compressor, { table, first: frame, last: frame, packed }, () => {
      isBad = true
    })
  }
  if (!isBad) return decoded
  residency.noteDamage(frame.contentOffset, frame.contentOffset + frame.contentBytes)
  const { stream, index: segmentIndex, cold } = residency
  services.emit({ name: "tier2_corrupt_frame", level: "error", stream, segmentIndex, key: cold?.key })
  return decoded
})
