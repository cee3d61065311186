/** Counts what opening a manifest had to read. A clean opening starts from nothing. */
import type { ManifestReplayMetrics } from "../../model/manifest_metrics.ts"
import type { LoadedManifest } from "./manifest_load.ts"

/** The numbers of what was loaded between two times. */
export const replayMetrics = (
  loaded: LoadedManifest,
  time: { readonly startMs: number; readonly nowMs: number },
): ManifestReplayMetrics => ({
  durationMs: time.nowMs - time.startMs,
  chunkCount: loaded.chunks.length,
  recordCount: loaded.recordCount,
  trimmedBytes: loaded.trimmedBytes,
  damage: loaded.damage,
  damageCount: loaded.damage.length,
  corruptionCount: loaded.damage.filter(({ from, to }) => to > from).length,
  chunkLagSeconds: loaded.newestTimestampMs === 0 ? 0 : Math.max(0, time.nowMs - loaded.newestTimestampMs) / 1000,
  journalLagBytes: loaded.chunks.reduce((sum, chunk) => sum + chunk.fileBytes, 0),
})
