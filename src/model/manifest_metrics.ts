/** What opening a manifest had to read, and what was wrong with it: numbers of that opening alone. */

/** Bytes `[from, to)` of a manifest file that do not check, and why. */
export interface ManifestDamage {
  /** Name of the file. */
  readonly file: string
  /** Offset at which the damage starts. */
  readonly from: number
  /** Offset behind it. */
  readonly to: number
  /** What is wrong, in words. */
  readonly why: string
}

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
