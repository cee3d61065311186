/**
 * Decodes the frames of an object and gives only what checks. What does not is fetched again, because it may have been damaged on its way; what still
 * does not is noted as damage of the segment, and is not asked for again for a while.
 */
import * as Effect from "effect/Effect"
import type { SeekTable, ZstdFrame } from "../../format/seekable_zstd.ts"
import type { AofError } from "../../model/errors.ts"
import { decodeFrames } from "./decode_frames.ts"
import { readPadded } from "./read_object.ts"
import type { ColdCopy } from "./residency.ts"
import { isStoredIntact, type StoredFrame } from "./stored_frames.ts"
import type { TierServices } from "./tier_services.ts"

/** Frames decoded in one turn of the event loop at most: about a millisecond. */
export const sliceFrames = 16
/** How often frames that do not check are fetched again: a bad line may damage several answers in a row. */
const refetchesMax = 3
/** Requests for which that is done one by one; where damage is in more places, all that lies between them comes with it. */
const refetchedSpansMax = 4

/** A run of frames as it came. */
export interface FetchedFrames {
  readonly table: SeekTable
  readonly first: ZstdFrame
  readonly last: ZstdFrame
  readonly packed: Uint8Array
}

/** Takes what frames hold, from frame `from` on; `isIntact` when the log frames in it were checked where they lie. */
export type TakeContent = (from: ZstdFrame, bytes: Uint8Array, isIntact: boolean) => void

/** How content is handed on. */
export interface Taking {
  /** Waits for a turn of the event loop; gives what may be decoded in it, in bytes. */
  readonly turn: Effect.Effect<number>
  readonly take: TakeContent
}

/** Frames from `first` to `last`. */
interface FrameSpan {
  readonly first: ZstdFrame
  readonly last: ZstdFrame
}

/** Gives what frames hold, piece by piece; returns those that cannot be had, in order. */
export const decodeChecked: (
  services: TierServices,
  copy: ColdCopy,
  fetched: FetchedFrames,
  taking: Taking,
) => Effect.Effect<ReadonlyArray<ZstdFrame>, AofError> = Effect.fnUntraced(function* (services, copy, fetched, taking) {
  const bad = yield* decodeSlices(services, copy, fetched, taking)
  return bad.length === 0 ? bad : yield* fetchAgain(services, copy, { table: fetched.table, bad }, taking)
})

/** Frames that are stored as they are, in what was fetched. */
interface FetchedStored {
  readonly fetched: FetchedFrames
  readonly stored: ReadonlyArray<StoredFrame>
  /** Of the checksums of the log frames in them. */
  readonly seed: number
}

/** The same for stored frames, of which no copy is made. */
export const takeStored: (
  services: TierServices,
  copy: ColdCopy,
  run: FetchedStored,
  taking: Taking,
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (services, copy, { fetched, stored, seed }, taking) {
  const { table, first, packed } = fetched
  const bad: Array<ZstdFrame> = []
  let turnBytes = 0
  for (const { frame, content } of stored) {
    if (turnBytes <= 0) turnBytes = yield* taking.turn
    turnBytes -= content.length
    const one = { first: frame, last: frame }
    if (isStoredIntact({ frame, content }, seed)) {
      takeGood(copy, taking, one, content, true)
      continue
    }
    // A log frame may have been damaged before the segment was sealed: then the zstd frame checks nevertheless.
    const at = frame.compressedOffset - first.compressedOffset
    const alone = { table, ...one, packed: packed.subarray(at, at + frame.compressedBytes) }
    bad.push(...(yield* decodeSlices(services, copy, alone, taking)))
  }
  if (bad.length > 0) yield* fetchAgain(services, copy, { table, bad }, taking)
})

/** The spans of `run` that are left without `lost`, which is in order. */
export const partsBetween = (
  table: SeekTable,
  { first, last, lost }: FrameSpan & { readonly lost: ReadonlyArray<ZstdFrame> },
): ReadonlyArray<FrameSpan> => {
  const parts: Array<FrameSpan> = []
  let from = first.index
  for (const to of [...lost.map(({ index }) => index), last.index + 1]) {
    if (to > from) parts.push({ first: table.frame(from)!, last: table.frame(to - 1)! })
    from = to + 1
  }
  return parts
}

/** Decodes frames, some in each turn of the event loop; returns those that do not check. */
const decodeSlices = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  { table, first, last, packed }: FetchedFrames,
  taking: Taking,
): Effect.fn.Return<ReadonlyArray<ZstdFrame>, AofError> {
  const allBad: Array<ZstdFrame> = []
  for (let index = first.index; index <= last.index; ) {
    const turnBytes = yield* taking.turn
    const from = table.frame(index)!
    const count = Math.max(1, Math.min(sliceFrames, Math.floor(turnBytes / from.contentBytes)))
    const to = table.frame(Math.min(last.index, index + count - 1))!
    const at = from.compressedOffset - first.compressedOffset
    const slice = packed.subarray(at, to.compressedOffset + to.compressedBytes - first.compressedOffset)
    const lost: Array<ZstdFrame> = []
    const decoded = decodeFrames(services.compressor, { table, first: from, last: to, packed: slice }, (frame) => {
      lost.push(frame)
    })
    for (const part of partsBetween(table, { first: from, last: to, lost })) {
      const end = part.last.contentOffset + part.last.contentBytes
      const content = decoded.subarray(part.first.contentOffset - from.contentOffset, end - from.contentOffset)
      takeGood(copy, taking, part, content, false)
    }
    allBad.push(...lost)
    index = to.index + 1
  }
  return allBad
})

/** Hands content that checks on, whatever was thought of it. */
const takeGood = (
  copy: ColdCopy,
  { take }: Taking,
  { first, last }: FrameSpan,
  content: Uint8Array,
  isIntact: boolean,
): void => {
  const { residency } = copy
  if (residency.isStill(copy)) residency.damage.forget(first.contentOffset, last.contentOffset + last.contentBytes)
  take(first, content, isIntact)
}

/** Fetches frames again that did not check; returns those that still do not. What was known to be damaged before has had its second chance. */
const fetchAgain = Effect.fnUntraced(function* (
  services: TierServices,
  copy: ColdCopy,
  { table, bad }: { readonly table: SeekTable; readonly bad: ReadonlyArray<ZstdFrame> },
  taking: Taking,
): Effect.fn.Return<ReadonlyArray<ZstdFrame>, AofError> {
  const { damage } = copy.residency
  const isKnown = ({ contentOffset, contentBytes }: ZstdFrame): boolean =>
    damage.firstIn(contentOffset, contentOffset + contentBytes) !== undefined
  const known = bad.filter(isKnown)
  let left = bad.filter((frame) => !isKnown(frame))
  for (let fetches = 0; left.length > 0 && fetches < refetchesMax; fetches++) {
    const still: Array<ZstdFrame> = []
    for (const { first, last } of spansOf(left)) {
      const length = last.compressedOffset + last.compressedBytes - first.compressedOffset
      const packed = yield* readPadded(services, copy, first.compressedOffset, length)
      still.push(...(yield* decodeSlices(services, copy, { table, first, last, packed }, taking)))
    }
    // What checked before and came with it once more is not missing.
    const wanted = new Set(left.map(({ index }) => index))
    left = still.filter(({ index }) => wanted.has(index))
  }
  const lost = [...known, ...left].sort((one, other) => one.index - other.index)
  noteLost(services, copy, lost)
  return lost
})

/** Frames that lie side by side, each run of them as one span; one span when there would be too many. */
const spansOf = (frames: ReadonlyArray<ZstdFrame>): ReadonlyArray<FrameSpan> => {
  const spans: Array<FrameSpan> = []
  for (const frame of frames) {
    const before = spans.at(-1)
    if (before?.last.index === frame.index - 1) spans[spans.length - 1] = { first: before.first, last: frame }
    else spans.push({ first: frame, last: frame })
  }
  return spans.length <= refetchedSpansMax ? spans : [{ first: frames[0]!, last: frames.at(-1)! }]
}

/** All at the same moment, so that whoever needs several of them does not wait for one after the other again. */
const noteLost = (services: TierServices, copy: ColdCopy, lost: ReadonlyArray<ZstdFrame>): void => {
  const { residency, cold } = copy
  if (!residency.isStill(copy)) return
  const nowMs = services.clock.currentTimeMillisUnsafe()
  const { stream, index: segmentIndex } = residency
  for (const { contentOffset, contentBytes } of lost) {
    const isNew = residency.damage.note({ from: contentOffset, to: contentOffset + contentBytes }, nowMs)
    if (isNew) services.emit({ name: "tier2_corrupt_frame", level: "error", stream, segmentIndex, key: cold.key })
  }
}
