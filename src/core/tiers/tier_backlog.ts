/** How much work the coordinator has before it. */
import type { TierSegments } from "./tier_segments.ts"

/** What the tiers still have to do. */
export interface TierBacklog {
  /** Sealed segments without a warm form. */
  readonly uncompressed: number
  /** Warm segments that Tier 2 does not have. */
  readonly unuploaded: number
  /** Bytes of these. */
  readonly unuploadedBytes: number
  /** Objects that wait for their deletion. */
  readonly deletes: number
  /** Segments that are being brought up. */
  readonly hydrations: number
  /** Jobs that run. */
  readonly running: number
}

/** Counts what there is to do. */
export const backlogOf = (
  { uncompressed, unuploaded }: Pick<TierSegments, "uncompressed" | "unuploaded">,
  rest: Pick<TierBacklog, "deletes" | "hydrations" | "running">,
): TierBacklog => {
  let unuploadedBytes = 0
  for (const one of unuploaded) unuploadedBytes += one.warmBytes
  return { uncompressed: uncompressed.size, unuploaded: unuploaded.size, unuploadedBytes, ...rest }
}

/** True while Tier 1 is so full that warm files should leave it. */
export const isTightTier1 = (
  { tier1 }: { readonly tier1: { readonly bytesMax: number } },
  { warmBytes }: { readonly warmBytes: number },
): boolean => warmBytes > tier1.bytesMax * 0.5
