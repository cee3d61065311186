/**
 * Checks the root file and the files of the manifest beside the writer that goes on with them. What they say is in memory, so all of
 * it can be made good: the root file is written again, and a snapshot takes the place of chunks and snapshots.
 */
import * as Effect from "effect/Effect"
import { decodeCommitSlots, decodeManifestHeader, manifestHeaderBytes } from "../../format/manifest_chunk.ts"
import { decodeRootFile, encodeRootFile, type RootFile } from "../../format/root_file.ts"
import type { AofError } from "../../model/errors.ts"
import type { ScrubProblem } from "../../model/scrub.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import { rootFilePath } from "../files/paths.ts"
import { quarantineLink } from "../files/quarantine.ts"
import { readStart } from "../files/read_start.ts"
import { replaceSmallFile } from "../files/replace_small_file.ts"
import { manifestFileNames } from "../manifest/manifest_files.ts"
import { manifestPath } from "../manifest/manifest_log.ts"
import { openToRead, slicedChecksum } from "./scrub_bytes.ts"
import { type Healing, isMissing, notHealed, report, type ScrubRun, skip, tryHeal } from "./scrub_run.ts"

interface Damage {
  readonly problem: ScrubProblem
  readonly from: number
  readonly to: number
  readonly detail: string
}

/** A file that does not check is looked at again: its writer may have been half-way through a commit. */
const triesMax = 3

/** A root file is much smaller. */
const rootFileBytesMax = 4096

const isReadOnlyAction = notHealed("nothing was done: the store is read-only")

/** Checks the root file. Never fails. */
export const scrubRootFile: (run: ScrubRun, root: RootFile) => Effect.Effect<void> = Effect.fnUntraced(
  function* (run, root) {
    const { services } = run
    const place = rootFilePath(services.root)
    const about = { tier: "manifest" as const, stream: undefined, segmentIndex: undefined, place }
    const read = yield* Effect.result(readStart(services.directory, place, rootFileBytesMax))
    if (read._tag === "Failure") return skip(run, { ...about, reason: read.failure.message })
    run.files++
    const bytes = read.success
    const found = bytes === undefined ? undefined : decodeRootFile(bytes)
    const expected = encodeRootFile(root.rootId, root.createdMs, root.featuresIncompatible, root.featuresCompatible)
    const isSame = bytes?.length === expected.length && expected.every((byte, at) => byte === bytes[at])
    // What a later version has put in it is not this one's to judge.
    if (isSame || found?.rootId.every((byte, at) => byte === root.rootId[at]) === true) return
    const { isReadOnly, directory, root: folder } = services
    const healing: Healing = isReadOnly
      ? isReadOnlyAction
      : yield* tryHeal(
          Effect.as(replaceSmallFile(directory, { folder, path: place, bytes: expected }), "it was written again"),
        )
    report(run, {
      ...about,
      problem: bytes === undefined ? "missing" : "content",
      from: 0,
      to: bytes?.length ?? 0,
      detail: "the root file does not check",
      ...healing,
    })
  },
)

/** Checks all files of the manifest. Never fails. */
export const scrubManifest: (run: ScrubRun) => Effect.Effect<void> = Effect.fnUntraced(function* (run) {
  const { services } = run
  const folder = manifestPath(services.root)
  const listed = yield* Effect.result(manifestFileNames(services.directory, folder))
  const about = { tier: "manifest" as const, stream: undefined, segmentIndex: undefined }
  if (listed._tag === "Failure") return skip(run, { ...about, place: folder, reason: listed.failure.message })
  const damaged: Array<{ readonly place: string; readonly damage: Damage }> = []
  for (const name of listed.success) {
    const place = `${folder}/${name}`
    const checked = yield* Effect.result(checkFile(run, place))
    if (checked._tag === "Failure") {
      // A snapshot may have taken its place.
      if (!isMissing(checked.failure)) skip(run, { ...about, place, reason: checked.failure.message })
    } else if (checked.success !== undefined) damaged.push({ place, damage: checked.success })
  }
  if (damaged.length === 0) return
  const healing: Healing = services.isReadOnly
    ? isReadOnlyAction
    : yield* tryHeal(
        renew(
          run,
          damaged.map(({ place }) => place),
        ),
      )
  for (const { place, damage } of damaged) report(run, { ...about, place, ...damage, ...healing })
})

/** The damaged files keep a name in the quarantine before a snapshot replaces them. */
const renew = (run: ScrubRun, places: ReadonlyArray<string>): Effect.Effect<string, AofError> =>
  Effect.gen(function* () {
    const { directory, root, manifest } = run.services
    yield* quarantineLink(directory, { root, paths: places, prefix: "manifest-" })
    yield* manifest.renew
    return "a snapshot has taken its place"
  })

const checkFile = (run: ScrubRun, place: string): Effect.Effect<Damage | undefined, AofError> =>
  Effect.scoped(
    Effect.gen(function* () {
      run.files++
      for (let tries = 1; ; tries++) {
        const file = yield* openToRead(run.services.directory, place)
        const damage = yield* checkOnce(run, file)
        if (damage === undefined || tries >= triesMax) return damage
      }
    }),
  )

const checkOnce = Effect.fnUntraced(function* (
  run: ScrubRun,
  file: SegmentFile,
): Effect.fn.Return<Damage | undefined, AofError> {
  const { pace, services } = run
  // Slots before records: what a slot commits was written before it.
  const head = new Uint8Array(manifestHeaderBytes)
  yield* pace.take(head.length)
  const headBytes = yield* file.read(head, 0, head.length, 0)
  if (headBytes < head.length) {
    return { problem: "length", from: headBytes, to: head.length, detail: "it ends within its header" }
  }
  if (decodeManifestHeader(head) === undefined) {
    return { problem: "content", from: 0, to: 512, detail: "its header does not check" }
  }
  const slots = decodeCommitSlots(head)
  const isUnused = head.subarray(512).every((byte) => byte === 0) && file.sizeUnsafe() <= head.length
  if (isUnused) return undefined
  const spoiled = spoiledSlot(head, slots.length)
  if (spoiled !== undefined) return spoiled
  const { committedBytes, checksum64 } = slots[0]!
  let found = 0n
  for (let offset = 0; offset < committedBytes; ) {
    const buffer = new Uint8Array(Math.min(pace.pieceBytes, committedBytes - offset))
    yield* pace.take(buffer.length)
    const count = yield* file.read(buffer, 0, buffer.length, manifestHeaderBytes + offset)
    if (count < buffer.length) {
      const from = manifestHeaderBytes + offset + count
      const to = manifestHeaderBytes + committedBytes
      return { problem: "length", from, to, detail: "it ends before its committed length" }
    }
    found = yield* slicedChecksum(services, buffer, found)
    offset += count
  }
  if (found === checksum64) return undefined
  const detail = "its records are not those that were committed"
  return { problem: "content", from: manifestHeaderBytes, to: manifestHeaderBytes + committedBytes, detail }
})

/** A slot that was written and does not check; one that was never written is zeros. */
const spoiledSlot = (head: Uint8Array, valid: number): Damage | undefined => {
  const written = [512, 1024].filter((start) => head.subarray(start, start + 512).some((byte) => byte !== 0))
  if (written.length <= valid && valid > 0) return undefined
  return { problem: "content", from: 512, to: manifestHeaderBytes, detail: "a commit slot does not check" }
}
