/**
 * Bytes that were found in a file are written to it again, for the next sync to cover them: they may be in the page cache only, where a sync of the
 * process before that failed has left them as if they were clean.
 */
import type { SegmentFile } from "../../port/segment_file.ts"

const stepBytes = 1024 * 1024

/** Writes what the file has in `[from, to)`. Throws `Unavailable`. */
export const writeAgain = (file: SegmentFile, from: number, to: number): void => {
  const buffer = new Uint8Array(Math.max(0, Math.min(stepBytes, to - from)))
  for (let offset = from; offset < to; ) {
    const count = file.readUnsafe(buffer, 0, Math.min(buffer.length, to - offset), offset)
    if (count === 0) return
    file.writeUnsafe(buffer, 0, count, offset)
    offset += count
  }
}
