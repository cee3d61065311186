/**
 * What a replica shows of a manifest: of each stream the segments up to the first one that is not in the bucket yet. What its writer has lost for
 * good, when its root was made from the bucket, is no reason to wait.
 */
import type { ManifestRecord } from "../../format/manifest_record.ts"
import { type ManifestState, type ManifestStream, snapshotRecords } from "../../state/manifest_state.ts"

/** The records of a snapshot that names what can be read now. */
export const visibleRecords = (
  state: ManifestState,
  marker: { readonly coversSequence: number; readonly timestampMs: number },
): ReadonlyArray<ManifestRecord> => {
  const ends = new Map<number, number>()
  for (const stream of state.streams.values()) ends.set(stream.streamId, endOf(stream))
  const isVisible = (record: ManifestRecord): boolean => {
    switch (record.type) {
      case "SealSegment":
      case "CompressionDone":
      case "UploadDone":
        return record.segmentIndex < (ends.get(record.streamId) ?? 0)
      case "StreamCreated":
      case "Trim":
      case "Epoch":
        return true
      // The writer's own: its open segments, its disk, what it is about to do.
      default:
        return false
    }
  }
  const all = snapshotRecords(state, marker)
  const last = all.pop()
  const records = all.filter(isVisible).map((record, at): ManifestRecord => ({ ...record, sequence: at + 1 }))
  if (last?.type !== "SnapshotMarker") return records
  return [...records, { ...last, sequence: records.length + 1, recordCount: records.length }]
}

/** Index of the first sealed segment that is not to be had yet. */
const endOf = (stream: ManifestStream): number => {
  for (const segmentIndex of stream.sealed.keys()) {
    const tiers = stream.tiers.get(segmentIndex)
    const isThere = tiers?.uploaded !== undefined && tiers.compressed !== undefined
    const isLost = tiers !== undefined && tiers.uploaded === undefined && tiers.isHotEvicted && tiers.isWarmEvicted
    if (!isThere && !isLost) return segmentIndex
  }
  return Number.POSITIVE_INFINITY
}
