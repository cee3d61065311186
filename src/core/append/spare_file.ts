/**
 * The file for the next segment, made ahead so that rollover creates and allocates nothing. For a stream that syncs much in small groups all of
 * it is filled with zeros, in steps, as a sync waits for zeros of its own file that are being written, and much less for those of another.
 */
import * as Effect from "effect/Effect"
import type { AofError } from "../../model/errors.ts"
import { sparePath } from "../files/paths.ts"
import { attempt } from "../flow/attempt.ts"
import type { SpareFile, StreamServices, StreamState } from "../stream/stream_state.ts"
import { framesEndMax, spareZeroBytes } from "./segment_limits.ts"
import type { WritingSegment } from "./writing_segment.ts"

const stepBytes = 1024 * 1024
/** Who appends less has zeros that are written seldom, and a whole file of them would lie about. */
const fastBytesPerMs = 4 * 1024
/** Zeros are so many times as far as the writer: they are complete before it needs them, and take little of the disk at once. */
const lead = 1.5
/** After so long without an append the file goes. */
const idleMs = 10_000

/** Makes the spare file, or zeros more of it, when the writer has come far enough; `syncedBytes` is the size of the group just synced. */
export const growSpare = (stream: StreamState, writing: WritingSegment, syncedBytes: number): void => {
  const { spare, services } = stream
  if (spare?.isBusy) return
  const { preallocateBytesMax } = services.config
  const end = framesEndMax(stream.segmentBytes)
  const first = spareZeroBytes(stream.segmentBytes, preallocateBytesMax)
  const isFast = syncedBytes * 4 <= preallocateBytesMax && isFastWriter(stream, writing)
  const from = stream.fillsSegments && isFast ? 0 : end / 2
  const { writtenOffset } = writing
  if (writtenOffset <= from || !(stream.fillsSegments || isFast)) return
  if (spare === undefined) return makeSpare(stream, first)
  const wanted = isFast ? Math.min(end, (writtenOffset - from) * lead) : 0
  const to = Math.min(end, spare.zeroedEnd + stepBytes)
  if (spare.zeroedEnd < wanted && hasMuchRoom(services, to - spare.zeroedEnd)) zeroMore(stream, spare, to)
}

/** Zeros are not worth what records may need soon. */
const hasMuchRoom = ({ tiers: { tier0 } }: StreamServices, bytes: number): boolean =>
  (tier0.usedBytes + bytes) * 2 < tier0.config.bytesMax

const isFastWriter = ({ services }: StreamState, { segment, writtenOffset }: WritingSegment): boolean => {
  const ageMs = services.nowMs() - segment.header.createdMs
  return ageMs >= 0 && writtenOffset >= ageMs * fastBytesPerMs
}

const makeSpare = (stream: StreamState, bytes: number): void => {
  const { directory, tiers } = stream.services
  if (!tiers.tier0.fits(stream.owner, bytes)) return
  const spare: SpareFile = {
    guard: tiers.tier0.admit(stream.owner, bytes),
    zeroedEnd: 0,
    isBusy: true,
    isDropPlanned: false,
  }
  stream.spare = spare
  const path = sparePath(stream.path)
  const made = Effect.gen(function* () {
    yield* directory.remove(path)
    const file = yield* attempt(() => directory.openUnsafe(path, "create"))
    yield* Effect.ensuring(
      file.zeroFill(0, bytes),
      Effect.sync(() => file.closeUnsafe()),
    )
    yield* directory.sync(stream.path)
  })
  work(stream, spare, made, bytes)
}

const zeroMore = (stream: StreamState, spare: SpareFile, to: number): void => {
  const { directory, tiers } = stream.services
  const bytes = to - spare.zeroedEnd
  if (!tiers.tier0.fits(stream.owner, bytes)) return
  spare.isBusy = true
  spare.guard.resize(to)
  const zeroed = Effect.flatMap(directory.open(sparePath(stream.path), "write"), (file) =>
    Effect.ensuring(
      file.zeroFill(spare.zeroedEnd, to),
      Effect.sync(() => file.closeUnsafe()),
    ),
  )
  work(stream, spare, zeroed, to)
}

/** What could not be zeroed is not used. */
const work = (stream: StreamState, spare: SpareFile, effect: Effect.Effect<unknown, AofError>, end: number): void =>
  stream.services.run(
    Effect.map(Effect.result(effect), (result) => {
      spare.isBusy = false
      if (result._tag === "Failure") return dropSpare(stream)
      spare.zeroedEnd = end
      // Its stream may be sealed, and never come to rest again.
      planDrop(stream)
    }),
  )

/** Removes the file of a stream that nobody appends to any more. */
const planDrop = (stream: StreamState): void => {
  const { spare, services } = stream
  if (spare === undefined || spare.isDropPlanned) return
  spare.isDropPlanned = true
  const position = stream.durable.position
  services.run(
    Effect.flatMap(Effect.sleep(idleMs), () => {
      spare.isDropPlanned = false
      if (stream.spare !== spare || stream.closedAs !== undefined) return Effect.void
      const isUsed = stream.durable.position !== position || stream.isFlushing || spare.isBusy
      if (isUsed) return Effect.sync(() => planDrop(stream))
      spare.isBusy = true
      return Effect.map(Effect.result(services.directory.remove(sparePath(stream.path))), () => dropSpare(stream))
    }),
  )
}

/** The file stays, and is removed when the next one is made, or at the next open. */
export const dropSpare = (stream: StreamState): void => {
  stream.spare?.guard.release()
  stream.spare = undefined
}
