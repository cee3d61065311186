/**
 * What the manifest's records say about the copies of sealed segments: which warm file and which object there is, and which local files
 * were removed. Applying a record twice changes nothing more than applying it once.
 *
 * - Only a sealed segment that no trim has dropped has an entry, and only as long as a record says something of it.
 * - Compressions and uploads of an older file generation than the sealed one count for nothing.
 * - An object that is queued for deletion is no copy of a segment any more, and does not become one again: keys are never reused.
 * - Evictions are hints: they may be lost, and the files that are there are what counts.
 */
import type { ManifestRecord, ManifestRecordOf } from "../format/manifest_record.ts"

/** The copies of one sealed segment. */
export interface SegmentTiers {
  /** Its warm file; undefined when none was made. */
  readonly compressed: ManifestRecordOf<"CompressionDone"> | undefined
  /** An upload that was begun and not finished: its object may be there, whole. */
  readonly uploading: ManifestRecordOf<"UploadStarted"> | undefined
  /** Its object in Tier 2. */
  readonly uploaded: ManifestRecordOf<"UploadDone"> | undefined
  /** True when the segment file was removed and not brought back: a hint. */
  readonly isHotEvicted: boolean
  /** True when the warm file was removed and not brought back: a hint. */
  readonly isWarmEvicted: boolean
}

/** The records that concern the copies of a segment. */
export type TierRecord = Extract<
  ManifestRecord,
  { readonly type: "CompressionDone" | "UploadStarted" | "UploadDone" | "HydrationDone" | "LocalEvicted" }
>

/** Objects that are queued for deletion, by key. */
export type QueuedDeletes = ReadonlyMap<string, ManifestRecordOf<"Tier2DeleteQueued">>

const noTiers: SegmentTiers = {
  compressed: undefined,
  uploading: undefined,
  uploaded: undefined,
  isHotEvicted: false,
  isWarmEvicted: false,
}

/** True for a record that `applyTierRecord` takes. */
export const isTierRecord = (record: ManifestRecord): record is TierRecord =>
  record.type === "CompressionDone" ||
  record.type === "UploadStarted" ||
  record.type === "UploadDone" ||
  record.type === "HydrationDone" ||
  record.type === "LocalEvicted"

/** Applies a record about a segment that is sealed with `sealedGeneration`. */
export const applyTierRecord = (
  tiers: Map<number, SegmentTiers>,
  record: TierRecord,
  context: { readonly sealedGeneration: number; readonly deletes: QueuedDeletes },
): void => {
  const before = tiers.get(record.segmentIndex) ?? noTiers
  const after = next(before, record, context)
  if (after !== before) setTiers(tiers, record.segmentIndex, after)
}

const next = (
  before: SegmentTiers,
  record: TierRecord,
  context: { readonly sealedGeneration: number; readonly deletes: QueuedDeletes },
): SegmentTiers => {
  if (record.type === "LocalEvicted" || record.type === "HydrationDone") {
    const isEvicted = record.type === "LocalEvicted"
    const tier = record.type === "LocalEvicted" ? record.tier : record.toTier
    if (tier === 0) return { ...before, isHotEvicted: isEvicted }
    return tier === 1 ? { ...before, isWarmEvicted: isEvicted } : before
  }
  if (record.fileGeneration < context.sealedGeneration) return before
  if (record.type === "CompressionDone") {
    if (isOlder(record, before.compressed)) return before
    return { ...before, compressed: record, isWarmEvicted: false }
  }
  if (context.deletes.has(record.key)) return before
  if (record.type === "UploadStarted") {
    return isOlder(record, before.uploading) ? before : { ...before, uploading: record }
  }
  if (isOlder(record, before.uploaded)) return before
  // One under another key is still under way.
  const uploading = before.uploading?.key === record.key ? undefined : before.uploading
  return { ...before, uploaded: record, uploading }
}

const isOlder = (
  record: { readonly fileGeneration: number },
  known: { readonly fileGeneration: number } | undefined,
): boolean => known !== undefined && record.fileGeneration < known.fileGeneration

/** A file of a newer generation was sealed: what was made of an older one is no copy of it, and the local file is there again. */
export const dropOlderTiers = (
  tiers: Map<number, SegmentTiers>,
  sealed: { readonly segmentIndex: number; readonly fileGeneration: number },
): void => {
  const before = tiers.get(sealed.segmentIndex)
  if (before === undefined) return
  setTiers(tiers, sealed.segmentIndex, {
    compressed: isOlderThan(before.compressed, sealed) ? undefined : before.compressed,
    uploading: isOlderThan(before.uploading, sealed) ? undefined : before.uploading,
    uploaded: isOlderThan(before.uploaded, sealed) ? undefined : before.uploaded,
    isHotEvicted: false,
    isWarmEvicted: false,
  })
}

const isOlderThan = (
  known: { readonly fileGeneration: number } | undefined,
  sealed: { readonly fileGeneration: number },
): boolean => known !== undefined && known.fileGeneration < sealed.fileGeneration

/** The object with this key is queued for deletion: no longer a copy of the segment. */
export const dropObject = (tiers: Map<number, SegmentTiers>, segmentIndex: number, key: string): void => {
  const before = tiers.get(segmentIndex)
  if (before === undefined) return
  const uploading = before.uploading?.key === key ? undefined : before.uploading
  const uploaded = before.uploaded?.key === key ? undefined : before.uploaded
  setTiers(tiers, segmentIndex, { ...before, uploading, uploaded })
}

const setTiers = (tiers: Map<number, SegmentTiers>, segmentIndex: number, value: SegmentTiers): void => {
  const { compressed, uploading, uploaded, isHotEvicted, isWarmEvicted } = value
  const isEmpty = compressed === undefined && uploading === undefined && uploaded === undefined
  if (isEmpty && !isHotEvicted && !isWarmEvicted) tiers.delete(segmentIndex)
  else tiers.set(segmentIndex, value)
}

/** The records that make these entries: of each segment the finished upload before the one under way, and evictions last. */
export const tierRecords = (
  tiers: ReadonlyMap<number, SegmentTiers>,
  head: { readonly streamId: number; readonly timestampMs: number },
): Array<ManifestRecord> => {
  const records: Array<ManifestRecord> = []
  for (const [segmentIndex, { compressed, uploading, uploaded, isHotEvicted, isWarmEvicted }] of tiers) {
    if (compressed !== undefined) records.push(compressed)
    if (uploaded !== undefined) records.push(uploaded)
    if (uploading !== undefined) records.push(uploading)
    const evicted = {
      ...head,
      type: "LocalEvicted" as const,
      reasonCode: 0,
      sequence: 0,
      rest: undefined,
      segmentIndex,
    }
    if (isHotEvicted) records.push({ ...evicted, tier: 0, bytes: 0 })
    if (isWarmEvicted) records.push({ ...evicted, tier: 1, bytes: 0 })
  }
  return records
}
