/** The footer of a segment that the manifest does not call sealed: found, checked, and told to the manifest. */
import * as Effect from "effect/Effect"
import { crc32 } from "../../format/checksum.ts"
import { decodeSegmentFooter, type SegmentFooter, segmentFooter } from "../../format/segment_footer.ts"
import { segmentHeaderBytes } from "../../format/segment_header.ts"
import type { AofError } from "../../model/errors.ts"
import { replacePointer } from "../append/replace_pointer.ts"
import { attempt } from "../flow/attempt.ts"
import { fileChecksum } from "../scrub/scrub_bytes.ts"
import type { Segment } from "../stream/segment.ts"
import { syncFolder } from "../stream/stream_folder.ts"
import type { StreamServices, StreamState } from "../stream/stream_state.ts"
import { rewrite } from "./recovery_settle.ts"

/** A footer with the checksum of its file, which its own checksum does not cover. */
export type FoundFooter = SegmentFooter & { readonly checksum64: bigint }

/**
 * True when index and file have the checksums that the footer says. The last bytes of a footer, the checksum of the file, are not covered by its
 * own: a manifest that took a wrong one from there would call the segment damaged for ever.
 */
export const isSealIntact: (
  segment: Segment,
  footer: FoundFooter,
  found: { readonly size: number; readonly services: StreamServices },
) => Effect.Effect<boolean, AofError> = Effect.fnUntraced(function* (segment, footer, { size, services }) {
  if (!(yield* attempt(() => isIndexIntact(segment, footer, size)))) return false
  const { compressor } = services.tiers.services
  return (yield* fileChecksum({ ...services, compressor }, segment.path, size - 8)) === footer.checksum64
})

/** True when the index before a footer checks: both may be there in part after a power cut, until a sync covered them. */
export const isIndexIntact = (segment: Segment, footer: SegmentFooter, size: number): boolean => {
  const bytes = new Uint8Array(Math.max(0, size - segmentFooter.sizeBytes - footer.indexOffset))
  const count = segment.readUnsafe(bytes, footer.indexOffset)
  return count === bytes.length && crc32(bytes, segment.header.checksumSeed) === footer.tailChecksum
}

/** Tells the manifest of a seal that it did not learn of. What was found may be in memory of the system only: it is made durable first. */
export const noteSeal: (
  stream: StreamState,
  segment: Segment,
  found: { readonly footer: FoundFooter; readonly size: number },
) => Effect.Effect<void, AofError> = Effect.fnUntraced(function* (stream, segment, { footer, size }) {
  const { manifest } = stream.services
  yield* rewrite(segment, footer.durableBytes, size)
  yield* syncFolder(stream)
  const { baseOffset, checksumSeed } = segment.header
  const lastSealed = manifest.state.streams.get(stream.streamId)?.lastSealed?.segmentIndex ?? 0
  // The crash may have come before the pointer too.
  if (footer.segmentIndex > lastSealed) yield* replacePointer(stream, footer)
  manifest.append({ type: "SealSegment", ...footer, baseOffset, checksumSeed, fileBytes: size })
  yield* manifest.commit
})

/** The footer at the end of a file, when it belongs to this segment; `whole` is the file where it was read already. */
export const readFooter = (segment: Segment, size: number, whole?: Uint8Array): FoundFooter | undefined => {
  const start = size - segmentFooter.sizeBytes
  if (start < segmentHeaderBytes) return undefined
  const bytes = whole?.subarray(start, size) ?? new Uint8Array(segmentFooter.sizeBytes)
  if (whole === undefined) segment.readUnsafe(bytes, start)
  const footer = decodeSegmentFooter(bytes, 0, segment.header.checksumSeed)
  const isOwn =
    footer?.segmentIndex === segment.index &&
    footer.streamId === segment.header.streamId &&
    (segment.state === "sealed" || footer.fileGeneration === segment.header.fileGeneration)
  return isOwn && footer.durableBytes <= start ? footer : undefined
}
