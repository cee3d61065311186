/** Why something happened: the reason codes of manifest records. New ones append, and a number is never reused. */

/** Every reason code and its name; the index is the number on disk. */
export const manifestReasons: ReadonlyArray<string> = [
  "None",
  "Budget",
  "Retention",
  "Trim",
  "StreamDeleted",
  "Requested",
  "Missing",
  "Corrupt",
  "Unavailable",
  "Interrupted",
  "Idle",
  "Closed",
]

/** What each reason code means, in the same order, as the format's description prints it. */
export const manifestReasonTexts: ReadonlyArray<string> = [
  "no reason is given",
  "a byte budget was full",
  "the retention of the stream by age or size",
  "the stream was trimmed",
  "the stream was deleted",
  "somebody asked for it",
  "the file or object was not there",
  "the file or object did not check",
  "the disk or the object store failed",
  "the work was interrupted, by a close or a crash",
  "nobody had used it for long",
  "the stream was closed in order: the file of this segment has records, and is durable",
]

/** The code of each reason by name. */
export const manifestReason: {
  readonly None: 0
  readonly Budget: 1
  readonly Retention: 2
  readonly Trim: 3
  readonly StreamDeleted: 4
  readonly Requested: 5
  readonly Missing: 6
  readonly Corrupt: 7
  readonly Unavailable: 8
  readonly Interrupted: 9
  readonly Idle: 10
  readonly Closed: 11
} = {
  None: 0,
  Budget: 1,
  Retention: 2,
  Trim: 3,
  StreamDeleted: 4,
  Requested: 5,
  Missing: 6,
  Corrupt: 7,
  Unavailable: 8,
  Interrupted: 9,
  Idle: 10,
  Closed: 11,
}

/** The name of a reason code; its number as text when this version does not know it. */
export const manifestReasonName = (code: number): string => manifestReasons[code] ?? String(code)
