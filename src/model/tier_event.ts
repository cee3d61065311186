/** Structured log events of the tiers: one shape, names that stay. */

/** How grave an event is. */
export type TierEventLevel = "debug" | "info" | "warn" | "error"

/** Something that happened to a segment, an object or a tier. Fields that do not apply are left out. */
export interface TierEvent {
  /** Such as `tier2_upload_success`; the list is in `docs/operations.md`. */
  readonly name: string
  /** How grave it is. */
  readonly level: TierEventLevel
  /** Unix time in milliseconds. */
  readonly timestampMs: number
  /** Name of the stream. */
  readonly stream?: string | undefined
  /** Index of the segment in its stream. */
  readonly segmentIndex?: number | undefined
  /** Object key. */
  readonly key?: string | undefined
  /** Bytes that were moved, as they lie in the tier concerned. */
  readonly bytes?: number | undefined
  /** How long it took. */
  readonly durationMs?: number | undefined
  /** Which try it was, from 1. */
  readonly attempt?: number | undefined
  /** Pause before the next try. */
  readonly delayMs?: number | undefined
  /** Why, in words. */
  readonly reason?: string | undefined
}

/** What an emitter adds the time to. */
export type TierEventInput = Omit<TierEvent, "timestampMs">
