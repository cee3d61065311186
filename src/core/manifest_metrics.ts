/** What opening a manifest had to read, and what was wrong with it. Of this opening alone: a clean one starts from nothing. */
import type { LoadedManifest, ManifestDamage } from "./manifest_load.ts"

/** Numbers of one replay; kept as they were when the manifest was opened. */
export interface ManifestReplayMetrics {
  /** Milliseconds that it took. */
  readonly durationMs: number
  /** Chunks that the newest snapshot does not cover. */
  readonly chunkCount: number
  /** Records applied, those of the snapshot included. */
  readonly recordCount: number
  /** Bytes of commits that were torn, never acknowledged and cut off. */
  readonly trimmedBytes: number
  /** What did not check or was missing, in the order in which it was met. */
  readonly damage: ReadonlyArray<ManifestDamage>
  /** How many ranges that are. */
  readonly damageCount: number
  /** Those of them that are bytes which do not check; the others are records or files that are not there. */
  readonly corruptionCount: number
  /** Seconds from the newest record to the replay; 0 when there is none. */
  readonly chunkLagSeconds: number
  /** Bytes of log behind the newest snapshot. */
  readonly journalLagBytes: number
}

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
