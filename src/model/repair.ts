/** What a repair is asked for, and what it tells. Reports are plain data, as JSON takes it. */
import type { ColdOptions } from "./cold_config.ts"
import type { ScrubProgress } from "./scrub.ts"

/** Options of a repair. */
export interface RepairOptions {
  /** The directory of the store, which nobody has open. */
  readonly root: string
  /** Shows what would be done and changes nothing; default false. */
  readonly plan?: boolean | undefined
  /** Where the store has its objects, as it is opened with; default as there. */
  readonly tier2?: ColdOptions | false | undefined
  /** Called after each segment that was checked. It must not throw and should be quick. */
  readonly onProgress?: ((progress: ScrubProgress) => void) | undefined
  /** Ends the repair; what was done stays done, and the next one goes on. */
  readonly signal?: AbortSignal | undefined
}

/**
 * What became of something that was out of order: `repaired` is whole again; `forgotten` was not known any more and is again; `cut` was
 * never acknowledged as durable; `lost` cannot be made good, and what is left of it stays where it is, or in the quarantine.
 */
export type RepairOutcome = "repaired" | "forgotten" | "cut" | "lost"

/** Something that was out of order. */
export interface RepairEntry {
  /** What became of it; in a plan, what would. */
  readonly outcome: RepairOutcome
  /** Name of the stream; null for files of the root. */
  readonly stream: string | null
  /** Index of the segment; null for other things. */
  readonly segmentIndex: number | null
  /** File or object key; null where it is a stretch of a stream. */
  readonly place: string | null
  /** Where it begins: an id position in a stream, an offset in other files. */
  readonly from: number
  /** Where it ends. */
  readonly to: number
  /** What was wrong, in words. */
  readonly detail: string
  /** What was done, in words. */
  readonly action: string
}

/** A file or an object that is different afterwards; told by a plan only. */
export interface RepairChange {
  /** File or object key. */
  readonly place: string
  /** How it would be different. */
  readonly change: "written" | "removed" | "moved here" | "put"
}

/** What a repair has done, or would do. */
export interface RepairReport {
  /** The root. */
  readonly root: string
  /** True when nothing was changed. */
  readonly isPlan: boolean
  /** True when nothing was out of order. */
  readonly isClean: boolean
  /** True when nothing is lost, and everything could be looked at. */
  readonly isWhole: boolean
  /** What was out of order. */
  readonly entries: ReadonlyArray<RepairEntry>
  /** What could not be looked at, and why. */
  readonly skipped: ReadonlyArray<{ readonly place: string; readonly reason: string }>
  /** In a plan: every file and object that would be different. */
  readonly changes: ReadonlyArray<RepairChange>
  /** Names of all streams, in order. */
  readonly streams: ReadonlyArray<string>
  /** Segments that were checked. */
  readonly segments: number
  /** Bytes that were read to check them. */
  readonly bytes: number
  /** How long it took. */
  readonly durationMs: number
}
