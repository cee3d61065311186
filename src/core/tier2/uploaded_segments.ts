/** The segments that the manifest calls uploaded. */
import type { Residency } from "../tiers/residency.ts"
import type { Tiers } from "../tiers/tiers.ts"

/** A segment with an object, as the manifest says. */
export interface UploadedSegment {
  readonly residency: Residency
  readonly key: string
  readonly lengthBytes: number
  /** CRC-64/NVME of the object. */
  readonly checksum64: bigint
}

/** All of them, those without an object of their own any more left out. */
export const uploadedSegments = ({ segments, services }: Tiers): ReadonlyArray<UploadedSegment> => {
  const all: Array<UploadedSegment> = []
  for (const residency of segments.all()) {
    const { cold, streamId, index } = residency
    const record = services.manifest.state.streams.get(streamId)?.tiers.get(index)?.uploaded
    if (cold === undefined || residency.isGone || record?.key !== cold.key) continue
    const { key, lengthBytes, checksum64 } = record
    all.push({ residency, key, lengthBytes, checksum64 })
  }
  return all
}
