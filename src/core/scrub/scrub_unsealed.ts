/**
 * Checks what is not sealed: the frames of open segments up to where they are durable, their headers, and the pointers to the last sealed
 * segments. A header and a pointer are made anew from what is known; frames have no other copy.
 */
import * as Effect from "effect/Effect"
import { decodeSealedPointer, encodeSealedPointer } from "../../format/sealed_pointer.ts"
import {
  decodeNewestSlot,
  decodeSegmentHeader,
  encodeSegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
} from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { recordIdOf, segmentIndexOf, segmentOffsetOf } from "../../model/record_id.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import type { SealedSegment } from "../../state/manifest_state.ts"
import { pointerPath, segmentsPath } from "../files/paths.ts"
import { readStart } from "../files/read_start.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { attempt } from "../flow/attempt.ts"
import type { Segment } from "../stream/segment.ts"
import type { StreamState } from "../stream/stream_state.ts"
import type { Residency } from "../tiers/residency.ts"
import { findBadFrames, openToRead } from "./scrub_bytes.ts"
import { type Healing, isMissing, lookAgain, notHealed, report, type ScrubRun, skip, tryHeal } from "./scrub_run.ts"

/** Checks the open segments of an open stream. Never fails. */
export const scrubOpenSegments: (run: ScrubRun, stream: StreamState) => Effect.Effect<void> = Effect.fnUntraced(
  function* (run, stream) {
    // One without a file is in the commit journal.
    const open = stream.catalog.entries.filter(({ state, maker }) => state !== "sealed" && maker === undefined)
    for (const segment of open) {
      const { fileGeneration } = segment.header
      const isStill = (): boolean =>
        segment.state !== "sealed" &&
        segment.header.fileGeneration === fileGeneration &&
        !segment.isTrimmed &&
        stream.closedAs === undefined
      if (isStill()) yield* scrubFile(run, { stream, segment, residency: segment.residency, isStill })
    }
  },
)

/** Checks a segment that is not sealed and whose stream is closed. Never fails. */
export const scrubClosedSegment = (run: ScrubRun, residency: Residency): Effect.Effect<void> =>
  scrubFile(run, {
    stream: undefined,
    segment: undefined,
    residency,
    isStill: () => !residency.isGone && residency.seal === undefined && residency.view === undefined,
  })

interface OpenFile {
  readonly stream: StreamState | undefined
  readonly segment: Segment | undefined
  readonly residency: Residency
  /** False when the file has been replaced, finished or removed meanwhile. */
  readonly isStill: () => boolean
}

const scrubFile = (run: ScrubRun, open: OpenFile): Effect.Effect<void> => {
  const { residency, isStill } = open
  const { index: segmentIndex, stream, hotPath: place } = residency
  const checked = Effect.gen(function* () {
    const file = yield* openToRead(run.services.directory, place)
    run.files++
    const block = new Uint8Array(segmentHeaderBytes)
    yield* run.pace.take(block.length)
    yield* file.read(block, 0, block.length, 0)
    const header = decodeSegmentHeader(block)
    if (header === undefined) yield* lookAgain(run, residency.streamId)
    if (header === undefined && isStill()) yield* reportHeader(run, open)
    const seed = (open.segment?.header ?? header)?.checksumSeed
    if (seed === undefined) return
    const to = yield* attempt(() => durableEnd(open, block, seed))
    const missing = yield* shortBy(file, to)
    const bad = yield* findBadFrames(run.services, run.pace, file, { from: segmentHeaderBytes, to: to - missing, seed })
    if (bad.length > 0 || missing > 0) yield* lookAgain(run, residency.streamId)
    if (!isStill()) return
    const stretches = missing > 0 ? [...bad, { from: to - missing, to }] : bad
    for (const { from, to: end } of stretches) {
      report(run, {
        tier: "tier0",
        stream,
        segmentIndex,
        place,
        problem: from >= to - missing && missing > 0 ? "length" : "content",
        from: recordIdOf(segmentIndex, from),
        to: recordIdOf(segmentIndex, end),
        detail: `durable frames of an open segment do not check, offsets ${from} to ${end}`,
        ...notHealed("nothing can be done: an open segment has no other copy"),
      })
    }
  })
  return Effect.catch(Effect.scoped(checked), (error: AofError) =>
    Effect.map(lookAgain(run, residency.streamId), () => {
      if (!isStill()) return
      if (!isMissing(error)) return skip(run, { tier: "tier0", stream, segmentIndex, place, reason: error.message })
      const at = recordIdOf(segmentIndex, 0)
      const detail = "the file of an open segment is not there"
      const about = { tier: "tier0" as const, stream, segmentIndex, place, problem: "missing" as const, detail }
      report(run, { ...about, from: at, to: at, ...notHealed("nothing can be done") })
    }),
  )
}

/** Offset up to which the file has to check: the writer knows, else the file's own newest slot says it. */
const durableEnd = ({ stream, segment, residency }: OpenFile, block: Uint8Array, seed: number): number => {
  const position = stream?.durable.position ?? decodeNewestSlot(block, seed)?.watermark ?? 0
  const index = segmentIndexOf(position)
  if (index > residency.index) return segment?.framesEnd ?? segmentHeaderBytes
  // What only the commit journal holds durably is not in the file yet.
  const inFile = Math.min(segmentOffsetOf(position), segment?.fileEnd ?? Number.POSITIVE_INFINITY)
  return index < residency.index ? segmentHeaderBytes : Math.max(segmentHeaderBytes, inFile)
}

/** Bytes that the file lacks of what has to be there. */
const shortBy = (file: SegmentFile, to: number): Effect.Effect<number, AofError> =>
  attempt(() => Math.max(0, Math.min(to - segmentHeaderBytes, to - file.sizeUnsafe())))

const reportHeader: (run: ScrubRun, open: OpenFile) => Effect.Effect<void> = Effect.fnUntraced(function* (run, open) {
  const { index: segmentIndex, stream, hotPath: place } = open.residency
  const at = recordIdOf(segmentIndex, 0)
  const detail = "the header of an open segment does not check"
  const healing: Healing = run.services.isReadOnly
    ? notHealed("nothing was done: the store is read-only")
    : yield* tryHeal(rewriteHeader(open))
  const about = { tier: "tier0" as const, stream, segmentIndex, place, problem: "content" as const, detail }
  report(run, { ...about, from: at, to: recordIdOf(segmentIndex, segmentHeader.sizeBytes), ...healing })
})

/** The header from memory. The slots behind it lie in sectors of their own and are left alone. */
const rewriteHeader = ({ stream, segment }: OpenFile): Effect.Effect<string, AofError> =>
  Effect.suspend(() => {
    const writing = [...(stream?.sealing ?? []), stream?.active].find((one) => one?.segment === segment)
    if (segment === undefined || writing === undefined) {
      return Effect.succeed("nothing was done: it is made anew when the root is opened next")
    }
    const block = new Uint8Array(segmentHeaderBytes)
    encodeSegmentHeader(block, segment.header)
    const written = attempt(() => writing.file.writeUnsafe(block, 0, segmentHeader.sizeBytes, 0))
    const synced = Effect.andThen(
      written,
      Effect.suspend(() => writing.file.syncData),
    )
    return Effect.as(synced, "it was written again")
  })

/** A pointer is much smaller. */
const pointerBytesMax = 4096

/** Checks the pointer of a stream. Never fails. */
export const scrubPointer: (
  run: ScrubRun,
  stream: { readonly streamId: number; readonly name: string },
) => Effect.Effect<void> = Effect.fnUntraced(function* (run, { streamId, name }) {
  const { services } = run
  const folder = segmentsPath(services.root, name)
  const place = pointerPath(folder)
  const lastSealed = (): SealedSegment | undefined => services.manifest.state.streams.get(streamId)?.lastSealed
  const known = lastSealed()
  const read = yield* Effect.result(readStart(services.directory, place, pointerBytesMax))
  if (read._tag === "Failure") {
    const { message: reason } = read.failure
    return skip(run, { tier: "tier0", stream: name, segmentIndex: undefined, place, reason })
  }
  run.files++
  const bytes = read.success
  // It is replaced before the manifest learns of a seal, and missing until the first.
  if (known === undefined || isPointerTo(bytes, known)) return
  yield* lookAgain(run, streamId)
  // Of a stream that was deleted there is none, and of one that goes on being sealed a newer one was read, or is there by now.
  if (lastSealed() !== known) return
  const healing: Healing = services.isReadOnly
    ? notHealed("nothing was done: the store is read-only")
    : yield* tryHeal(rewritePointer(run, { streamId, folder, place }))
  report(run, {
    tier: "tier0",
    stream: name,
    segmentIndex: known.segmentIndex,
    place,
    problem: bytes === undefined ? "missing" : "content",
    from: 0,
    to: bytes?.length ?? 0,
    detail: "the pointer to the last sealed segment does not name it",
    ...healing,
  })
})

/** A seal that ends meanwhile writes a newer one; then this one is written again. */
const rewritePointer = Effect.fnUntraced(function* (
  { services: { manifest, directory } }: ScrubRun,
  { streamId, folder, place }: { readonly streamId: number; readonly folder: string; readonly place: string },
): Effect.fn.Return<string, AofError> {
  for (;;) {
    const known = manifest.state.streams.get(streamId)?.lastSealed
    if (known === undefined) return "nothing was done: the stream is gone by now"
    const temporary = `${place}.scrub.tmp`
    yield* replaceSmallFile(directory, { folder, path: place, temporary, bytes: encodeSealedPointer(known) })
    if (manifest.state.streams.get(streamId)?.lastSealed === known) return "it was written again"
  }
})

const isPointerTo = (bytes: Uint8Array | undefined, sealed: SealedSegment): boolean => {
  const pointer = bytes === undefined ? undefined : decodeSealedPointer(bytes)
  if (pointer === undefined || pointer.streamId !== sealed.streamId) return false
  // A newer one is on its way into the manifest.
  if (pointer.segmentIndex > sealed.segmentIndex) return true
  return pointer.segmentIndex === sealed.segmentIndex && pointer.durableBytes === sealed.durableBytes
}
