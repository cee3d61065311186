/** Numbers of the tiers, as they are shown. All count from the opening of the manager. */

/** What is asked of an object store. */
export type Tier2RequestKind = "put" | "get" | "head" | "remove" | "list"

/** What is done by way of requests: bulk transfers of segments, and small things. */
export type Tier2Operation = "upload" | "fetch" | "delete" | "read" | "head" | "list"

/** How requests ended. */
export interface Tier2Outcomes {
  /** Answered as asked; a get that gave less than it could counts here too. */
  readonly success: number
  /** Answered with an error, `NotFound` and `PreconditionFailed` included, or not in time. */
  readonly failure: number
  /** Given up by the caller. */
  readonly interrupted: number
}

/** Work that shares a bound. */
export interface Tier2LaneSnapshot {
  /** Operations or requests under way. */
  readonly inFlight: number
  /** Those that wait for their turn. */
  readonly queued: number
}

/** What Tier 2 has done and is doing. */
export interface Tier2MetricsSnapshot {
  /** Requests by kind, and how they ended. */
  readonly requests: Readonly<Record<Tier2RequestKind, Tier2Outcomes>>
  /** Bytes of segments that were uploaded whole. */
  readonly bytesUploaded: number
  /** Bytes of segments that were handed on by downloads, those of failed ones included. */
  readonly bytesFetched: number
  /** Bytes given by reads of ranges. */
  readonly bytesRead: number
  /** Operations that ended well. */
  readonly successes: Readonly<Record<Tier2Operation, number>>
  /** Operations that failed for good. */
  readonly failures: Readonly<Record<Tier2Operation, number>>
  /** Pauses before further tries. */
  readonly retries: Readonly<Record<Tier2Operation, number>>
  /** Objects removed, those that were not there included. */
  readonly deletes: number
  /** Uploads and downloads. */
  readonly bulk: Tier2LaneSnapshot
  /** Requests of everything else. */
  readonly small: Tier2LaneSnapshot
}
