/**
 * What a copy of a sealed segment says about itself: its header and footer, and of a warm form how it is to be read. All that the manifest
 * has to know of the segment can be taken from there. Nothing is believed before its checksum.
 */
import * as Effect from "effect/Effect"
import { crc32 } from "../../format/checksum.ts"
import type { ManifestEvent } from "../../format/manifest_record.ts"
import { decodeSeekTable, type SeekTable, seekTableBytes, seekTableBytesOf } from "../../format/seekable_zstd.ts"
import { decodeSegmentFooter, type SegmentFooter, segmentFooter } from "../../format/segment_footer.ts"
import { decodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from "../../format/segment_header.ts"
import { type AofError, isAofError } from "../../model/errors.ts"
import type { Compressor } from "../../port/compressor.ts"
import { caught } from "../flow/attempt.ts"

/** Reads bytes of a file or an object; fewer only at its end. */
export type ReadBytes = (offset: number, length: number) => Effect.Effect<Uint8Array, AofError>

/** A sealed segment by its own word. */
export interface SegmentFacts {
  readonly header: SegmentHeader
  readonly footer: SegmentFooter & { readonly checksum64: bigint }
  /** Length of the segment file. */
  readonly fileBytes: number
}

/** A warm form by its own word. */
export interface WarmFacts extends SegmentFacts {
  readonly frameCount: number
  /** Offset of the zstd frame that starts where the log frames end. */
  readonly tailOffset: number
}

/** The header and footer of a plain file; undefined when it is not sealed or one of them does not check. */
export const readFileFacts: (read: ReadBytes, fileBytes: number) => Effect.Effect<SegmentFacts | undefined, AofError> =
  Effect.fnUntraced(function* (read, fileBytes) {
    if (fileBytes < segmentHeaderBytes + segmentFooter.sizeBytes) return undefined
    const head = yield* read(0, segmentHeaderBytes)
    const tail = yield* read(fileBytes - segmentFooter.sizeBytes, segmentFooter.sizeBytes)
    return factsOf(head, tail, fileBytes)
  })

const factsOf = (head: Uint8Array, tail: Uint8Array, fileBytes: number): SegmentFacts | undefined => {
  const header = head.length < segmentHeaderBytes ? undefined : decodeSegmentHeader(head)
  if (header === undefined) return undefined
  const footer = decodeSegmentFooter(tail, tail.length - segmentFooter.sizeBytes, header.checksumSeed)
  if (footer === undefined || !agrees(header, footer, fileBytes)) return undefined
  return { header, footer, fileBytes }
}

/** True when header and footer are of one file of this length. */
export const agrees = (header: SegmentHeader, footer: SegmentFooter, fileBytes: number): boolean =>
  footer.streamId === header.streamId &&
  footer.segmentIndex === header.segmentIndex &&
  footer.fileGeneration === header.fileGeneration &&
  footer.firstRecordNumber === header.firstRecordNumber &&
  footer.durableBytes >= segmentHeaderBytes &&
  footer.indexOffset >= footer.durableBytes &&
  footer.indexOffset <= fileBytes - segmentFooter.sizeBytes

/** True when index and producers, the bytes between `indexOffset` and the footer, are those of the footer. */
export const isTailIntact = ({ header, footer }: SegmentFacts, tail: Uint8Array): boolean =>
  crc32(tail, header.checksumSeed) === footer.tailChecksum

/** What a warm form of `fileBytes` holds; undefined when its seek table, or the frames of header and footer, do not check. */
export const readWarmFacts: (
  compressor: Compressor,
  read: ReadBytes,
  fileBytes: number,
) => Effect.Effect<WarmFacts | undefined, AofError> = Effect.fnUntraced(function* (compressor, read, fileBytes) {
  const table = yield* readTable(read, fileBytes)
  if (table === undefined) return undefined
  const last = table.frameCount - 1
  const head = yield* readContent(compressor, read, { table, from: 0, step: 1, least: segmentHeaderBytes })
  const tail = yield* readContent(compressor, read, { table, from: last, step: -1, least: segmentFooter.sizeBytes })
  const facts = head === undefined || tail === undefined ? undefined : factsOf(head, tail, table.contentBytes)
  const tailFrame = facts === undefined ? undefined : table.frameAt(facts.footer.durableBytes)
  if (facts === undefined || tailFrame === undefined) return undefined
  return { ...facts, frameCount: table.frameCount, tailOffset: tailFrame.compressedOffset }
})

const readTable: (read: ReadBytes, fileBytes: number) => Effect.Effect<SeekTable | undefined, AofError> =
  Effect.fnUntraced(function* (read, fileBytes) {
    const endBytes = Math.min(fileBytes, seekTableBytes(0))
    const tableBytes = seekTableBytesOf(yield* read(fileBytes - endBytes, endBytes), fileBytes)
    if (tableBytes === undefined) return undefined
    const table = decodeSeekTable(yield* read(fileBytes - tableBytes, tableBytes), { fileBytes })
    return table === undefined || table.frameCount === 0 ? undefined : table
  })

/** At least `least` bytes of content from the first frame on, or before the end; undefined when a frame does not check. */
const readContent = Effect.fnUntraced(function* (
  compressor: Compressor,
  read: ReadBytes,
  wanted: { readonly table: SeekTable; readonly from: number; readonly step: 1 | -1; readonly least: number },
): Effect.fn.Return<Uint8Array | undefined, AofError> {
  const { table, from, step, least } = wanted
  let content = new Uint8Array(0)
  for (let index = from; content.length < least; index += step) {
    const frame = table.frame(index)
    if (frame === undefined) return undefined
    const packed = yield* read(frame.compressedOffset, frame.compressedBytes)
    let bytes: Uint8Array | undefined
    const error = caught(() => {
      bytes = compressor.decodeFrameUnsafe(packed, frame.contentBytes)
    })
    if (error !== undefined && isAofError(error) && error._tag !== "Corrupt") return yield* Effect.fail(error)
    if (bytes === undefined) return undefined
    const joined = new Uint8Array(content.length + bytes.length)
    joined.set(step === 1 ? content : bytes)
    joined.set(step === 1 ? bytes : content, step === 1 ? content.length : bytes.length)
    content = joined
  }
  return content
})

/** The manifest's record of this sealed segment. */
export const sealEvent = ({ header, footer, fileBytes }: SegmentFacts): ManifestEvent => ({
  type: "SealSegment",
  ...footer,
  baseOffset: header.baseOffset,
  checksumSeed: header.checksumSeed,
  fileBytes,
})

/** The manifest's record of this warm form, which has `warmBytes` and this checksum. */
export const compressionEvent = (
  { header: { streamId, segmentIndex }, footer: { fileGeneration }, frameCount, tailOffset }: WarmFacts,
  form: { readonly warmBytes: number; readonly checksum64: bigint },
): ManifestEvent => ({
  type: "CompressionDone",
  streamId,
  segmentIndex,
  fileGeneration,
  level: 0,
  frameBytes: 0,
  frameCount,
  tailOffset,
  fileBytes: form.warmBytes,
  checksum64: form.checksum64,
})
