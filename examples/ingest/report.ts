// The table at the end, and the picture of the segments.

import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import type { StreamInfo } from "bop-aof"
import { count, plural, size } from "./numbers.ts"
import { tierNames, tierSign } from "./tier_picture.ts"

/** Rows of a table with two columns. */
export function table(rows: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`).join("")
}

/** A path as one word of a command line. */
export function quoteForShell(path: string): string {
  return /^[\w./:@%+=,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}

/** Length of all files below a directory, which may change meanwhile and need not be there. */
export async function measureDirectory(root: string): Promise<{ readonly files: number; readonly bytes: number }> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(orGone([]))
  let files = 0
  let bytes = 0
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const found = await stat(join(entry.parentPath, entry.name)).catch(orGone(undefined))
    if (found === undefined) continue
    files++
    bytes += found.size
  }
  return { files, bytes }
}

/** `otherwise` in place of what is not there; every other error stays one. */
function orGone<A>(otherwise: A): (error: NodeJS.ErrnoException) => A {
  return (error) => {
    if (error.code === "ENOENT") return otherwise
    throw error
  }
}

/** The value below which a share of all lies; 0 of none. */
export function percentile(values: ReadonlyArray<number>, share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** Where the bytes of a stream are, for each tier that has some. */
export function tierBytes({ segments }: StreamInfo): string {
  const parts: Array<string> = []
  for (const [tier, name] of Object.entries(tierNames)) {
    const own = segments.filter((segment) => segment.tier === tier)
    const bytes = own.reduce((sum, one) => sum + (tier === "tier0" ? one.bytes : one.warmBytes), 0)
    if (own.length > 0) parts.push(`${name} ${size(bytes)} in ${count(own.length)}`)
  }
  return parts.length === 0 ? "no segment" : parts.join(", ")
}

/** What segments hold beyond the payload, in all and for each record. */
export function overhead(segmentBytes: number, payloadBytes: number, records: number): string {
  const more = segmentBytes - payloadBytes
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
  const lines = segments.map((segment) => {
    const { index, bytes, count: records, firstRecordNumber, state } = segment
    const bar = "█".repeat(Math.max(1, Math.round((bytes / longest) * barWidth))).padEnd(barWidth, "·")
    const range =
      records === 0 ? "no records" : `records ${count(firstRecordNumber)} to ${count(firstRecordNumber + records - 1)}`
    return `  ${String(index).padStart(4)}  ${bar}  ${size(bytes).padStart(9)}  ${tierSign(segment)} ${state.padEnd(7)} ${range}\n`
  })
  const hidden = lines.length - segmentsShownMax
  if (hidden > 1) lines.splice(segmentsShownMax / 2, hidden, `     …  ${plural(hidden, "more segment")}\n`)
  const hasGap = segments.some(({ index }, at) => at > 0 && index > segments[at - 1]!.index + 1)
  if (hasGap)
    lines.push(
      "  numbers were left out after the kill: the killed process may have given ids in them, and no id is given twice\n",
    )
  return lines.join("")
}
