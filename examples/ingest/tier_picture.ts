// Where the segments of a stream are, in a few characters.

import type { SegmentInfo } from "bop-aof"

/** One character a segment. */
const signs = { active: ">", tier0: "=", tier1: "-", tier2: ".", none: "!" } as const

/** What the characters mean. */
export const tierLegend =
  "one sign a segment: > being written, = Tier 0 (plain file), - Tier 1 (zstd), . Tier 2 (object store)"

/** What the tiers are called, from the nearest on. */
export const tierNames = { tier0: "Tier 0", tier1: "Tier 1", tier2: "Tier 2" } as const

/** More segments than this are counted instead of drawn. */
const drawnMax = 32

/** The sign of one segment. */
export function tierSign({ state, tier }: SegmentInfo): string {
  return state === "sealed" ? signs[tier ?? "none"] : signs.active
}

/** All segments, oldest first: `...--==>`; when there are many, how many of each. */
export function tierPicture(segments: ReadonlyArray<SegmentInfo>): string {
  if (segments.length <= drawnMax) return segments.map(tierSign).join("")
  const counts = new Map<string, number>()
  for (const segment of segments) counts.set(tierSign(segment), (counts.get(tierSign(segment)) ?? 0) + 1)
  return [signs.tier2, signs.tier1, signs.tier0, signs.active, signs.none]
    .filter((sign) => counts.has(sign))
    .map((sign) => `${counts.get(sign)}${sign}`)
    .join(" ")
}
