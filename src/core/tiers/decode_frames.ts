/** From the bytes of a warm form to those of its segment. */
import { decodeSeekTable, type SeekTable, type ZstdFrame } from "../../format/seekable_zstd.ts"
import type { Compressor } from "../../port/compressor.ts"
import { caught } from "../flow/attempt.ts"
import type { Residency, WarmForm } from "./residency.ts"

/**
 * Decodes a run of frames, whose bytes are `packed`, into one buffer. A frame that does not check is told to `onDamage` and becomes
 * zeros.
 */
export const decodeFrames = (
  compressor: Compressor,
  run: { readonly table: SeekTable; readonly first: ZstdFrame; readonly last: ZstdFrame; readonly packed: Uint8Array },
  onDamage: (frame: ZstdFrame) => void,
): Uint8Array => {
  const { table, first, last, packed } = run
  const decode = (frame: ZstdFrame): Uint8Array => {
    const from = frame.compressedOffset - first.compressedOffset
    let bytes: Uint8Array | undefined
    const error = caught(() => {
      bytes = compressor.decodeFrameUnsafe(packed.subarray(from, from + frame.compressedBytes), frame.contentBytes)
    })
    if (error !== undefined && error._tag !== "Corrupt") throw error
    if (error !== undefined) onDamage(frame)
    return bytes ?? new Uint8Array(frame.contentBytes)
  }
  if (first.index === last.index) return decode(first)
  const frames = Array.from({ length: last.index - first.index + 1 }, (_, at) => table.frame(first.index + at)!)
  const whole = compressor.decodeRunUnsafe(packed, frames)
  if (whole !== undefined) return whole
  const bytes = new Uint8Array(last.contentOffset + last.contentBytes - first.contentOffset)
  for (const frame of frames) bytes.set(decode(frame), frame.contentOffset - first.contentOffset)
  return bytes
}

/** The seek table in the tail of a warm form, checked against what the manifest says of it. */
export const tableOf = (
  segment: { readonly residency: Residency },
  form: WarmForm,
  tail: Uint8Array,
): SeekTable | undefined => {
  const { seal } = segment.residency
  const table = decodeSeekTable(tail, { fileBytes: form.fileBytes, contentBytes: seal?.fileBytes })
  return table?.frameCount === form.frameCount ? table : undefined
}
