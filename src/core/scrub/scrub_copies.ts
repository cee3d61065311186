/** Checks one copy of a sealed segment: the plain file, the warm file, or the object. Nothing is changed here. */
import * as Effect from "effect/Effect"
import { type SeekTable, seekTableBytes } from "../../format/seekable_zstd.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { recordIdOf } from "../../model/record_id.ts"
import type { ScrubProblem } from "../../model/scrub.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { decodeFrames, tableOf } from "../tiers/decode_frames.ts"
import type { ColdPlace, Residency } from "../tiers/residency.ts"
import { findBadFrames, openToRead, pacedChecksum, type Stretch, slicedChecksum } from "./scrub_bytes.ts"
import { isMissing, lookAgain, type ScrubRun } from "./scrub_run.ts"

/** What is wrong with a copy. */
export interface BadCopy {
  readonly kind: "bad"
  readonly problem: ScrubProblem
  readonly detail: string
  /** In id positions. */
  readonly from: number
  readonly to: number
  /** True when it was so before the segment was sealed: other copies are of the same bytes. */
  readonly isOriginal: boolean
}

/** What was found out about a copy. `gone`: it was moved or removed meanwhile, by right. */
export type Verdict =
  | { readonly kind: "good" | "none" | "gone" }
  | { readonly kind: "unread"; readonly reason: string }
  | BadCopy

const good: Verdict = { kind: "good" }
const none: Verdict = { kind: "none" }
const gone: Verdict = { kind: "gone" }

/** A copy that does not check is looked at again: it may have been replaced just then. */
const triesMax = 2

/** Checks the copy of a segment in one tier. */
export const checkCopy: (
  run: ScrubRun,
  residency: Residency,
  tier: "tier0" | "tier1" | "tier2",
) => Effect.Effect<Verdict> = Effect.fnUntraced(function* (run, residency, tier) {
  for (let tries = 1; ; tries++) {
    const seen = lookAt(residency, tier)
    if (seen === undefined) return tries === 1 ? none : gone
    run.files++
    const check = { tier0: checkHot, tier1: checkWarm, tier2: checkCold }[tier]
    const verdict = yield* Effect.catch(
      check(run, residency),
      (error): Effect.Effect<Verdict> => Effect.succeed(ofError(residency, error)),
    )
    if (verdict.kind === "good") return good
    yield* lookAgain(run, residency.streamId)
    if (lookAt(residency, tier) !== seen) continue
    if (verdict.kind !== "bad" || tries >= triesMax) return verdict
  }
})

/** What tells whether a copy is still the one that was looked at; undefined when there is none. */
const lookAt = (residency: Residency, tier: "tier0" | "tier1" | "tier2"): string | undefined => {
  const { seal, form, isHot, isWarm, isGone } = residency
  if (isGone || seal === undefined) return undefined
  if (tier === "tier0") return isHot ? `${seal.fileGeneration} ${seal.fileBytes} ${seal.checksum64}` : undefined
  if (form === undefined) return undefined
  const cold = objectOf(residency)
  const place = tier === "tier1" ? (isWarm ? "" : undefined) : cold && `${cold.key} ${cold.etag}`
  return place === undefined ? undefined : `${form.fileBytes} ${form.checksum64} ${place}`
}

/** Where the object of a segment is, also while no HEAD of the bucket knows of it. */
export const objectOf = ({ cold }: Residency): ColdPlace | undefined => cold

const ofError = (residency: Residency, error: AofError): Verdict => {
  if (isMissing(error)) return bad(residency, "missing", "it is not there")
  if (error._tag === "Corrupt") return bad(residency, "content", error.detail)
  return { kind: "unread", reason: error.message }
}

/** A finding that concerns the whole segment, or stretches of it. */
const bad = (
  { index, seal }: Residency,
  problem: ScrubProblem,
  detail: string,
  stretches: ReadonlyArray<Stretch> = [],
): BadCopy => {
  const from = stretches.length === 0 ? 0 : Math.min(...stretches.map((one) => one.from))
  const to = stretches.length === 0 ? (seal?.framesEnd ?? 0) : Math.max(...stretches.map((one) => one.to))
  const words = stretches.slice(0, 8).map((one) => `${one.from} to ${one.to}`)
  const more = stretches.length > 8 ? ` and ${stretches.length - 8} more` : ""
  const where = stretches.length === 0 ? "" : `, offsets ${words.join(", ")}${more}`
  const range = { from: recordIdOf(index, from), to: recordIdOf(index, to) }
  return { kind: "bad", problem, detail: detail + where, ...range, isOriginal: false }
}

const lengthOf = (path: string, bytes: number, expected: number): string =>
  `${path} has ${bytes} bytes instead of ${expected}`

const checkHot = Effect.fnUntraced(function* (
  run: ScrubRun,
  residency: Residency,
): Effect.fn.Return<Verdict, AofError> {
  const { services, pace } = run
  const { hotPath } = residency
  const { fileBytes, checksum64, framesEnd } = residency.seal!
  const size = yield* services.directory.sizeOf(hotPath)
  if (size === undefined) return bad(residency, "missing", "it is not there")
  if (size < fileBytes) {
    const from = Math.min(size, framesEnd)
    return bad(residency, "length", lengthOf("the file", size, fileBytes), [{ from, to: Math.max(from, framesEnd) }])
  }
  const found = yield* pacedChecksum(services, pace, { path: hotPath, lengthBytes: fileBytes - 8 })
  const isSame = found === checksum64 && (yield* storedChecksum(run, hotPath, fileBytes)) === checksum64
  const located = yield* locateInFile(run, residency)
  if (!isSame) return located ?? bad(residency, "content", "its checksum does not match")
  // Frames that did not check when the segment was sealed after a crash are part of what was sealed.
  if (located?.problem === "content" && located.hasBadFrames) return { ...located, isOriginal: true }
  // What stands behind the footer is read by nobody.
  return size === fileBytes ? good : bad(residency, "length", lengthOf("the file", size, fileBytes), [])
})

/** The checksum that a sealed file ends with. */
const storedChecksum = (run: ScrubRun, path: string, fileBytes: number): Effect.Effect<bigint, AofError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* openToRead(run.services.directory, path)
      const bytes = new Uint8Array(8)
      yield* file.read(bytes, 0, 8, fileBytes - 8)
      return new DataView(bytes.buffer).getBigUint64(0, true)
    }),
  )

/** Which frames do not check; undefined when the manifest does not know where they are. */
const locateInFile = (
  run: ScrubRun,
  residency: Residency,
): Effect.Effect<(BadCopy & { readonly hasBadFrames: boolean }) | undefined, AofError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { services, pace } = run
      const { framesEnd } = residency.seal!
      const sealed = services.manifest.state.streams.get(residency.streamId)?.sealed.get(residency.index)
      if (sealed === undefined) return undefined
      const file = yield* openToRead(services.directory, residency.hotPath)
      const bounds = { from: segmentHeaderBytes, to: framesEnd, seed: sealed.checksumSeed }
      const stretches = yield* findBadFrames(services, pace, file, bounds)
      if (stretches.length > 0) {
        return { ...bad(residency, "content", "frames do not check", stretches), hasBadFrames: true }
      }
      const outside = "its checksum does not match: all frames do, so it is the header, the index or the footer"
      const end = [{ from: framesEnd, to: framesEnd }]
      return { ...bad(residency, "content", outside, end), hasBadFrames: false }
    }),
  )

const checkWarm = Effect.fnUntraced(function* (
  run: ScrubRun,
  residency: Residency,
): Effect.fn.Return<Verdict, AofError> {
  const { services, pace } = run
  const { warmPath, form } = residency
  const size = yield* services.directory.sizeOf(warmPath)
  if (size === undefined) return bad(residency, "missing", "it is not there")
  if (form === undefined || size !== form.fileBytes) {
    return bad(residency, "length", lengthOf("the file", size, form?.fileBytes ?? 0))
  }
  const found = yield* pacedChecksum(services, pace, { path: warmPath, lengthBytes: size })
  if (found === form.checksum64) return good
  return yield* Effect.scoped(
    Effect.flatMap(openToRead(services.directory, warmPath), (file) =>
      locateInFrames(run, residency, (offset, length) => {
        const buffer = new Uint8Array(length)
        return Effect.map(file.read(buffer, 0, length, offset), (count) => buffer.subarray(0, count))
      }),
    ),
  )
})

/** Objects are read by ranges, so that the pace holds, and a large one is never in memory whole. */
const checkCold = Effect.fnUntraced(function* (
  run: ScrubRun,
  residency: Residency,
): Effect.fn.Return<Verdict, AofError> {
  const { services, pace } = run
  const { tier2 } = services
  const { form } = residency
  const cold = objectOf(residency)
  if (cold === undefined || form === undefined) return none
  if (tier2 === undefined) {
    // What has a copy here is looked at here.
    if (residency.isHot || residency.isWarm) return none
    return { kind: "unread", reason: "it is in Tier 2 only, and the store was opened without Tier 2" }
  }
  // A directory reads the object to tell its etag.
  if (tier2.kind === "directory") yield* pace.take(form.fileBytes)
  const info = yield* tier2.head(cold.key)
  if (info === undefined) return bad(residency, "missing", "it is not there")
  if (info.lengthBytes !== form.fileBytes) {
    return bad(residency, "length", lengthOf("the object", info.lengthBytes, form.fileBytes))
  }
  let checksum64 = 0n
  for (let offset = 0; offset < form.fileBytes; offset += pace.pieceBytes) {
    const length = Math.min(pace.pieceBytes, form.fileBytes - offset)
    yield* pace.take(length)
    checksum64 = yield* slicedChecksum(services, yield* tier2.readRange(cold.key, offset, length), checksum64)
  }
  // The etag changes with the content, and without it when the object was copied: the content is what counts.
  if (checksum64 === form.checksum64) return good
  return yield* locateInFrames(run, residency, (offset, length) => tier2.readRange(cold.key, offset, length))
})

type ReadRange = (offset: number, length: number) => Effect.Effect<Uint8Array, AofError>

/** Which zstd frames do not check, where the whole form does not. */
const locateInFrames = Effect.fnUntraced(function* (
  run: ScrubRun,
  residency: Residency,
  read: ReadRange,
): Effect.fn.Return<Verdict, AofError> {
  const form = residency.form!
  const tailBytes = Math.min(form.fileBytes, seekTableBytes(form.frameCount))
  yield* run.pace.take(tailBytes)
  const tail = yield* read(form.fileBytes - tailBytes, tailBytes)
  const table = tableOf({ residency }, form, tail)
  const detail = "its checksum does not match"
  if (table === undefined) return bad(residency, "content", `${detail}, nor does its seek table`, [])
  const stretches = yield* findBadZstd(run, table, read)
  if (stretches.length > 0) return bad(residency, "content", "zstd frames do not check", stretches)
  return bad(residency, "content", `${detail}, although all its zstd frames do`, [])
})

const findBadZstd = Effect.fnUntraced(function* (
  run: ScrubRun,
  table: SeekTable,
  read: ReadRange,
): Effect.fn.Return<ReadonlyArray<Stretch>, AofError> {
  const stretches: Array<Stretch> = []
  for (let index = 0; index < table.frameCount; index++) {
    const frame = table.frame(index)!
    yield* run.pace.take(frame.compressedBytes)
    const packed = yield* read(frame.compressedOffset, frame.compressedBytes)
    const { contentOffset: from, contentBytes } = frame
    yield* attempt(() =>
      decodeFrames(run.services.compressor, { table, first: frame, last: frame, packed }, () => {
        const before = stretches.at(-1)
        if (before?.to === from) stretches[stretches.length - 1] = { from: before.from, to: from + contentBytes }
        else stretches.push({ from, to: from + contentBytes })
      }),
    )
    yield* nextTurn(run.services.eventLoop)
  }
  return stretches
})
