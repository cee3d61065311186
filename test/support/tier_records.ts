// The records of the kill test with tiers, and its budgets.

import type { AofManagerOptions } from "bop-aof"
import { makeRandom } from "./random.ts"

/** Text that hardly shrinks, the same for the same number. */
export const tierText = (number: number): string => {
  const random = makeRandom(number + 1)
  return `${number} ${Array.from({ length: 300 + random(500) }, () => String.fromCharCode(33 + random(90))).join("")}`
}

export const tierWriterOptions = (root: string): AofManagerOptions => ({
  root: `${root}/store`,
  segmentBytes: 32 * 1024,
  stagingBytes: 8 * 1024,
  tier0: { bytesMax: 256 * 1024 },
  tier1: { bytesMax: 128 * 1024, frameBytes: 4096, residencyMsMin: 0, level: 1, retryBackoffMs: 1 },
  tier2: { store: { directory: `${root}/cold` }, deleteGraceMs: 0 },
})
