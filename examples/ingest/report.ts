// The table at the end, and the picture of the segments.

import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import type { StreamInfo } from "bop-aof"
import { count, plural, size } from "./numbers.ts"

/** Rows of a table with two columns. */
export function table(rows: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join("")
}

/** Length of all files below a directory. */
export async function measureDirectory(root: string): Promise<{ readonly files: number; readonly bytes: number }> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  let bytes = 0
  for (const file of files) bytes += (await stat(join(file.parentPath, file.name))).size
  return { files: files.length, bytes }
}

/** What the files hold beyond the payload, in all and for each record. */
export function overhead(diskBytes: number, payloadBytes: number, records: number): string {
  const more = diskBytes - payloadBytes
  if (records === 0) return `${size(more)} for no record`
  const percent = payloadBytes === 0 ? "" : `, ${((more / payloadBytes) * 100).toFixed(1)} %`
  return `${size(more)}${percent}, ${(more / records).toFixed(1)} bytes a record`
}

const barWidth = 32
const segmentsShownMax = 20

/** One line a segment: a bar for its length, and what it holds. A long list keeps its two ends. */
export function segmentPicture({ segments }: StreamInfo): string {
  if (segments.length === 0) return "  no segment yet\n"
  const longest = Math.max(...segments.map((segment) => segment.bytes))
  const lines = segments.map(({ index, bytes, count: records, firstRecordNumber, state }) => {
    const bar = "█".repeat(Math.max(1, Math.round((bytes / longest) * barWidth))).padEnd(barWidth, "·")
    const range =
      records === 0 ? "no records" : `records ${count(firstRecordNumber)} to ${count(firstRecordNumber + records - 1)}`
    return `  ${String(index).padStart(4)}  ${bar}  ${size(bytes).padStart(9)}  ${state.padEnd(7)} ${range}\n`
  })
  const hidden = lines.length - segmentsShownMax
  if (hidden <= 1) return lines.join("")
  lines.splice(segmentsShownMax / 2, hidden, `     …  ${plural(hidden, "more segment")}\n`)
  return lines.join("")
}
