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

/** Whether requests are sent, or the store is left alone for a while. */
export interface Tier2BreakerSnapshot {
  /** `closed`: all are sent. `open`: none is. `halfOpen`: one tries. */
  readonly state: "closed" | "open" | "halfOpen"
  /** How often it has opened. */
  readonly openings: number
  /** Requests that were not sent because of it. */
  readonly refused: number
  /** Since when it is not closed, Unix milliseconds; undefined while it is. */
  readonly openSinceMs: number | undefined
  /** When the next request may try, Unix milliseconds. */
  readonly retryAtMs: number | undefined
}

/** Segments that Tier 2 does not have yet. */
export interface Tier2BacklogSnapshot {
  /** How many. */
  readonly segments: number
  /** Bytes of their warm files. */
  readonly bytes: number
  /** How long the oldest has waited since its warm file was made, in milliseconds; 0 when none waits. */
  readonly ageMs: number
  /** Objects that wait for their deletion. */
  readonly deletes: number
}

/** What Tier 2 has done and is doing. */
export interface Tier2MetricsSnapshot extends Tier2ClientSnapshot {
  /** What it still has to get. */
  readonly backlog: Tier2BacklogSnapshot
  /** Milliseconds that fetches of scans have waited for `scanBytesPerSecondMax`. */
  readonly scanPacedMs: number
}

/** What the client of Tier 2 has done and is doing. */
export interface Tier2ClientSnapshot {
  /** Requests by kind, and how they ended. */
  readonly requests: Readonly<Record<Tier2RequestKind, Tier2Outcomes>>
  /** Failed requests by what was wrong, such as `Throttled`, `Timeout` or `Denied`. */
  readonly errors: Readonly<Record<string, number>>
  /** Whether requests are sent. */
  readonly breaker: Tier2BreakerSnapshot
  /** Milliseconds that transfers have waited for `bytesPerSecondMax`. */
  readonly pacedMs: number
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
