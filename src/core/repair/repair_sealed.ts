/**
 * Makes a sealed segment file whole again whose frames all check, and whose header, slots, index or footer do not. What was there is known:
 * from the manifest, and from the frames themselves. The proof is the checksum of the whole file, which the manifest has: a file that
 * does not have it is not put in place.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { crc32, crc64Start } from "../../format/checksum.ts"
import { correctByte } from "../../format/correct_byte.ts"
import { encodeSegmentFooter, segmentFooter } from "../../format/segment_footer.ts"
import {
  decodeSegmentHeader,
  decodeSlots,
  type SegmentHeader,
  segmentHeader,
  segmentHeaderBytes,
  slotOffsets,
  watermarkSlot,
} from "../../format/segment_header.ts"
import { type AofError, corrupt } from "../../model/errors.ts"
import type { SegmentFile } from "../../port/segment_file.ts"
import type { SealedSegment } from "../../state/manifest_state.ts"
import { OpenFiles } from "../files/open_files.ts"
import { segmentsPath } from "../files/paths.ts"
import { quarantineLink } from "../files/quarantine.ts"
import { attempt } from "../flow/attempt.ts"
import { nextTurn } from "../flow/next_turn.ts"
import { IndexWalk } from "../read/index_walk.ts"
import { Segment, type SegmentSource } from "../stream/segment.ts"
import { Residency } from "../tiers/residency.ts"
import type { TierServices } from "../tiers/tier_services.ts"

type Services = Pick<TierServices, "directory" | "eventLoop" | "root" | "rootId">

/** Bytes copied and checksummed in one turn of the event loop. */
const sliceBytes = 256 * 1024

/** Puts the file in order again and returns what was done. `Corrupt` when it cannot be proven to be as it was. */
export const rebuildSealed: (
  services: Services,
  residency: Residency,
  sealed: SealedSegment,
) => Effect.Effect<string, AofError> = Effect.fnUntraced(function* (services, residency, sealed) {
  const { directory, root } = services
  const path = residency.hotPath
  const target = `${path}.tmp`
  const rebuilt = Effect.gen(function* () {
    const file = yield* opened(services, path, "read")
    const size = yield* attempt(() => file.sizeUnsafe())
    const block = new Uint8Array(segmentHeaderBytes)
    yield* file.read(block, 0, block.length, 0)
    const header = correctHead(block, sealed)
    if (header === undefined || size < sealed.durableBytes) {
      return yield* Effect.fail(corrupt(path, "its header cannot be made out, or frames of it are missing"))
    }
    const tail = yield* makeTail(services, residency, { header, sealed })
    yield* directory.remove(target)
    const made = yield* opened(services, target, "create")
    const checksum64 = yield* copy(services, { file, made, block, tail, framesEnd: sealed.durableBytes })
    const length = sealed.durableBytes + tail.length
    if (checksum64 !== sealed.checksum64 || length !== sealed.fileBytes) {
      return yield* Effect.fail(corrupt(path, "what was made of its frames is not what was sealed"))
    }
    yield* made.syncData
  })
  const cleaned = Effect.tapError(Effect.scoped(rebuilt), () => Effect.ignore(directory.remove(target)))
  yield* cleaned
  yield* quarantineLink(directory, { root, paths: [path], prefix: `${residency.streamId}-` })
  yield* directory.rename(target, path)
  yield* directory.sync(segmentsPath(root, residency.stream))
  return "it was made anew from its frames, and is what was sealed"
})

const opened = (
  { directory }: Services,
  path: string,
  mode: "read" | "create",
): Effect.Effect<SegmentFile, AofError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt(() => directory.openUnsafe(path, mode)),
    (file) => Effect.sync(() => file.closeUnsafe()),
  )

/** Puts the header block right: one changed byte in header and slots each, and anything between them, where zeros are. */
const correctHead = (block: Uint8Array, { checksumSeed: seed }: SealedSegment): SegmentHeader | undefined => {
  correctByte(block, { from: 0, checksumAt: segmentHeader.at.checksum, seed: 0 })
  const header = decodeSegmentHeader(block)
  for (const start of slotOffsets) {
    const isEmpty = block.subarray(start, start + watermarkSlot.sizeBytes).every((byte) => byte === 0)
    if (!isEmpty) correctByte(block, { from: start, checksumAt: start + watermarkSlot.at.checksum, seed })
  }
  // One of two slots that cannot be put right may never have been written.
  if (decodeSlots(block, seed).length === 0) for (const start of slotOffsets) block.fill(0, start, start + 512)
  block.fill(0, segmentHeader.sizeBytes, slotOffsets[0])
  for (const start of slotOffsets) block.fill(0, start + watermarkSlot.sizeBytes, start + 512)
  return header
}

/** Index and footer as the sealer made them, without the checksum of the file. */
const makeTail = Effect.fnUntraced(function* (
  services: Services,
  residency: Residency,
  { header, sealed }: { readonly header: SegmentHeader; readonly sealed: SealedSegment },
): Effect.fn.Return<Uint8Array, AofError> {
  const { streamId, stream, index } = residency
  // A view of its own: that of the running store is not to be disturbed.
  const segment = new Segment({
    residency: new Residency({ streamId, stream, index, root: services.root }),
    header,
    state: "sealed",
    framesEnd: sealed.durableBytes,
    directory: services.directory,
    openFiles: new OpenFiles(1, 1),
    source: noSource,
    isReadOnly: true,
  })
  segment.sealed = { ...sealed }
  const walk = new IndexWalk(segment, segmentHeaderBytes, sealed.durableBytes)
  const walked = Effect.gen(function* () {
    while (!(yield* attempt(() => walk.advance(sliceBytes)))) yield* nextTurn(services.eventLoop)
  })
  yield* Effect.ensuring(
    walked,
    Effect.sync(() => segment.releaseFile()),
  )
  const entries = walk.index.encode()
  const bytes = new Uint8Array(entries.length + segmentFooter.sizeBytes)
  bytes.set(entries)
  const footer = {
    ...sealed,
    indexOffset: sealed.durableBytes,
    indexCount: walk.index.count,
    producerCount: 0,
    writerEpoch: header.writerEpoch,
    tailChecksum: crc32(entries, header.checksumSeed),
  }
  encodeSegmentFooter(bytes, entries.length, footer, header.checksumSeed)
  new DataView(bytes.buffer).setBigUint64(bytes.length - 8, sealed.checksum64, true)
  return bytes
})

/** There is no other copy. */
const noSource: SegmentSource = {
  fill: () => false,
  noteUse: () => {},
  onHotMissing: () => false,
  onHotDamaged: () => false,
}

interface Parts {
  readonly file: SegmentFile
  readonly made: SegmentFile
  readonly block: Uint8Array
  readonly tail: Uint8Array
  readonly framesEnd: number
}

/** Writes head, frames and tail, and returns the checksum that the file then has. */
const copy = Effect.fnUntraced(function* (
  { eventLoop }: Pick<Services, "eventLoop">,
  { file, made, block, tail, framesEnd }: Parts,
): Effect.fn.Return<bigint, AofError> {
  const checksum = crc64Start()
  checksum.update(block)
  yield* made.write(block, 0, block.length, 0)
  const buffer = new Uint8Array(sliceBytes)
  for (let offset = segmentHeaderBytes; offset < framesEnd; ) {
    const count = yield* file.read(buffer, 0, Math.min(buffer.length, framesEnd - offset), offset)
    if (count === 0) return yield* Effect.fail(corrupt(file.path, "it ends within its frames"))
    checksum.update(buffer.subarray(0, count))
    yield* made.write(buffer, 0, count, offset)
    offset += count
    yield* nextTurn(eventLoop)
  }
  checksum.update(tail.subarray(0, tail.length - 8))
  yield* made.write(tail, 0, tail.length, framesEnd)
  return checksum.digest()
})
