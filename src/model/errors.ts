/**
 * Every error a caller can meet. A tag says what the caller can do about it; `what`, `value` and `limit` name the thing,
 * what it was and what it may be. A mistake of the program itself is an assertion failure and never one of these.
 */
import * as Data from "effect/Data"

/** What an error class extends: an `Error` with a `_tag`, which may also be yielded as a failing effect. */
export type TaggedErrorBase<Tag extends string> = ReturnType<typeof Data.TaggedError<Tag>>

/** What an error names: the thing, the value that was met, the limit or the expectation. */
export interface ErrorDetails {
  /** What was tried and what stood in the way, with values and limits. */
  readonly message: string
  /** The thing that the error is about, such as an option, a file or a stream. */
  readonly what: string
  /** What it was. */
  readonly value: unknown
  /** What it may be, or what is there instead. */
  readonly limit: unknown
}

/** What `WouldBlock` extends. */
export const WouldBlockBase: TaggedErrorBase<"WouldBlock"> = Data.TaggedError("WouldBlock")
/** What `Closed` extends. */
export const ClosedBase: TaggedErrorBase<"Closed"> = Data.TaggedError("Closed")
/** What `Fenced` extends. */
export const FencedBase: TaggedErrorBase<"Fenced"> = Data.TaggedError("Fenced")
/** What `NotFound` extends. */
export const NotFoundBase: TaggedErrorBase<"NotFound"> = Data.TaggedError("NotFound")
/** What `InvalidArgument` extends. */
export const InvalidArgumentBase: TaggedErrorBase<"InvalidArgument"> = Data.TaggedError("InvalidArgument")
/** What `Corrupt` extends. */
export const CorruptBase: TaggedErrorBase<"Corrupt"> = Data.TaggedError("Corrupt")
/** What `Unavailable` extends. */
export const UnavailableBase: TaggedErrorBase<"Unavailable"> = Data.TaggedError("Unavailable")

/** Numbers that every reason of `WouldBlock` carries: how much there is, how much there may be, when to look again. */
export interface WouldBlockNumbers {
  /** What is waiting, in the unit of the reason: bytes for Admission and Flush, segments for Rollover and Hydration, records for Tail. */
  readonly pending: number
  /** The limit that was met, in the same unit. */
  readonly limit: number
  /** A pause, 10 to 250 ms, for callers who cannot await the notifier. */
  readonly retryDelayMs: number
}

/** What stands in the way of moving segments to Tier 2. */
export interface Tier2Trouble {
  /** Where Tier 2 is. */
  readonly place: string
  /** `open` and `halfOpen`: it does not answer and is left alone between tries; `closed`: it answers, but does not take segments. */
  readonly state: "closed" | "open" | "halfOpen"
  /** Segments that wait for it. */
  readonly pendingSegments: number
  /** Bytes of their warm files. */
  readonly pendingBytes: number
  /** What the last try to store one of them failed with; undefined when none has failed since it was last stored. */
  readonly lastError: string | undefined
}

/** Tier 0 is full. */
export interface Admission extends WouldBlockNumbers {
  /** The name of the reason. */
  readonly _tag: "Admission"
  /** Defined while Tier 2 does not take what would make room. */
  readonly tier2?: Tier2Trouble | undefined
}
/** Two sealed segments are not yet durable. */
export interface Rollover extends WouldBlockNumbers {
  /** The name of the reason. */
  readonly _tag: "Rollover"
}
/** The segment is not resident. */
export interface Hydration extends WouldBlockNumbers {
  /** The name of the reason. */
  readonly _tag: "Hydration"
}
/** The durable watermark is too far behind, or flushing failed. */
export interface Flush extends WouldBlockNumbers {
  /** The name of the reason. */
  readonly _tag: "Flush"
}
/** The reader is ahead of the watermark of its level. */
export interface Tail extends WouldBlockNumbers {
  /** The name of the reason. */
  readonly _tag: "Tail"
}
/** Why a call would have to wait. */
export type WouldBlockReason = Admission | Rollover | Hydration | Flush | Tail

/** The call cannot finish now; its awaiting twin waits for exactly `reason`. */
export class WouldBlock extends WouldBlockBase<ErrorDetails & { readonly reason: WouldBlockReason }> {
  /** True: the same call may succeed later. */
  readonly retryable: boolean = true
}

/** The manager, stream or cursor was closed. */
export class Closed extends ClosedBase<ErrorDetails> {
  /** False: open it anew. */
  readonly retryable: boolean = false
}

/** Another writer has taken the root over. */
export class Fenced extends FencedBase<ErrorDetails> {
  /** False: this writer has lost the root for good. */
  readonly retryable: boolean = false
}

/** The stream, segment or record is not there (any more); `limit` is the first record id that is left, where there is one. */
export class NotFound extends NotFoundBase<ErrorDetails> {
  /** False: what is gone does not come back. */
  readonly retryable: boolean = false
}

/** An argument, option or payload is not acceptable; nothing was changed. */
export class InvalidArgument extends InvalidArgumentBase<ErrorDetails> {
  /** False: the argument has to change. */
  readonly retryable: boolean = false
}

/** Bytes in `[from, to)` do not check. `from` is the id position of the damage, `to` of the first readable record after it. */
export class Corrupt extends CorruptBase<
  ErrorDetails & { readonly from: number; readonly to: number; readonly detail: string }
> {
  /** False: the bytes will not get better; what lies around them stays readable. */
  readonly retryable: boolean = false
}

/** Who holds a root. */
export interface RootHolder {
  /** Process id, in the holder's own pid namespace. */
  readonly pid: number
  /** When that process started, in clock ticks since boot; empty when it could not be known. */
  readonly processStartTime: string
  /** The boot of the machine; empty when it could not be known. */
  readonly bootId: string
  /** `bun`, `deno` or `node`. */
  readonly runtime: string
}

/** Codes that trying again does not change. */
const permanentCodes = [
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOTSUP",
  "ENOTDIR",
  "EISDIR",
  "ENOENT",
  "ENAMETOOLONG",
  "ELOOP",
  "ESTALE",
]

/** Disk, permission or another process stands in the way; `code` is the system's, such as `ENOSPC`. */
export class Unavailable extends UnavailableBase<
  ErrorDetails & { readonly code: string; readonly holder?: RootHolder | undefined }
> {
  /** False for `EACCES`, `EROFS`, `ELOOP`, `ESTALE` and others that do not pass by themselves. */
  readonly retryable: boolean = !permanentCodes.includes(this.code)
}

const noRoomCodes: ReadonlyArray<string> = ["ENOSPC", "EDQUOT"]

/** True when the disk, or the share of it that this user may have, is full. */
export const isDiskFull = (error: { readonly _tag: string; readonly code?: unknown }): boolean =>
  error._tag === "Unavailable" && noRoomCodes.includes(error.code as string)

/** Any error of the public operations. */
export type AofError = WouldBlock | Closed | Fenced | NotFound | InvalidArgument | Corrupt | Unavailable

/** A limit that is said in words is no value. */
const showLimit = (limit: unknown): string => (typeof limit === "string" ? limit : show(limit))

/** Makes an `InvalidArgument` with a message of one shape; `allowed` says in words what a `limit` that is a value means. */
export const invalidArgument = (
  what: string,
  value: unknown,
  limit: unknown,
  allowed: string = showLimit(limit),
): InvalidArgument =>
  new InvalidArgument({ message: `${what} is ${show(value)}, allowed is ${allowed}`, what, value, limit })

/** Makes an `InvalidArgument` for a call that this store, a `value`, does not take. */
export const storeRefused = (what: string, value: string, limit: string): InvalidArgument =>
  new InvalidArgument({ message: `${what} needs ${limit}; this is ${value}`, what, value, limit })

/** Makes a `Closed` for the named thing. */
export const closed = (what: string): Closed =>
  new Closed({ message: `${what} is closed`, what, value: "closed", limit: "open" })

/** Makes a `Corrupt` for a range of record id positions. */
export const corrupt = (what: string, detail: string, from = 0, to = 0): Corrupt =>
  new Corrupt({ message: `${what}: ${detail}`, what, value: from, limit: to, from, to, detail })

/** Makes an `Unavailable` for a failed system call. */
export const unavailable = (what: string, code: string, value: unknown): Unavailable =>
  new Unavailable({ message: `${what} failed with ${code}: ${show(value)}`, what, value, limit: "success", code })

/** Makes a `NotFound`; `limit` is what is there instead. */
export const notFound = (what: string, value: unknown, limit: unknown): NotFound =>
  new NotFound({ message: `${what} ${show(value)} is not there; there is ${showLimit(limit)}`, what, value, limit })

/** Makes the `NotFound` of a record number below `number`, the first one that is left, whose id is `id`; 0 when none is left. */
export const numberNotFound = (
  value: number,
  { id, number }: { readonly id: number; readonly number: number },
): NotFound => {
  const left = id === 0 ? "no record is left" : `the first that is left is number ${number}, with the id ${id}`
  return new NotFound({
    message: `record number ${value} is not there; ${left}`,
    what: "record number",
    value,
    limit: id,
  })
}

const blockedUnits: Record<WouldBlockReason["_tag"], string> = {
  Admission: "bytes in tier 0",
  Rollover: "unfinished segments",
  Hydration: "segments to hydrate",
  Flush: "bytes not yet durable",
  Tail: "records above the watermark",
}

/** Makes a `WouldBlock` of one kind from its numbers. */
export const wouldBlock = (
  tag: WouldBlockReason["_tag"],
  pending: number,
  limit: number,
  retryDelayMs = 10,
): WouldBlock => {
  const what = blockedUnits[tag]
  return new WouldBlock({
    message: `would block on ${tag}: ${pending} ${what}, the limit is ${limit}`,
    what,
    value: pending,
    limit,
    reason: { _tag: tag, pending, limit, retryDelayMs },
  })
}

/** Makes the `WouldBlock` of a full Tier 0; `tier2` is what keeps segments from leaving it, where something does. */
export const admissionBlocked = (pending: number, limit: number, tier2: Tier2Trouble | undefined): WouldBlock => {
  const plain = wouldBlock("Admission", pending, limit, 50)
  if (tier2 === undefined) return plain
  const { place, state, pendingSegments, pendingBytes, lastError } = tier2
  const how = state === "closed" ? "does not take them" : `does not answer (circuit ${state})`
  const why = lastError === undefined ? "" : `: ${lastError}`
  return new WouldBlock({
    message: `${plain.message}; tier 2, ${place}, ${how}, ${pendingSegments} segments of ${pendingBytes} bytes wait for it${why}`,
    what: plain.what,
    value: pending,
    limit,
    reason: { _tag: "Admission", pending, limit, retryDelayMs: 250, tier2 },
  })
}

/** True when the system says that there is no such file. */
export const isMissingFile = (error: { readonly _tag: string; readonly code?: unknown }): boolean =>
  error._tag === "Unavailable" && error.code === "ENOENT"

/** True when `error` is one of this module's. */
export const isAofError = (error: unknown): error is AofError =>
  error instanceof WouldBlock ||
  error instanceof Closed ||
  error instanceof Fenced ||
  error instanceof NotFound ||
  error instanceof InvalidArgument ||
  error instanceof Corrupt ||
  error instanceof Unavailable

const show = (value: unknown): string => {
  const text =
    typeof value === "string" ? JSON.stringify(value) : typeof value === "object" ? shape(value) : String(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

const shape = (value: object | null): string => {
  if (value === null) return "null"
  if (Array.isArray(value)) return `an array of ${value.length}`
  const name = className(value)
  if (name === "Date" && Number.isNaN(Number(value))) return "an invalid Date"
  // The elements of a view of bytes say nothing, and there may be many.
  const keys = ArrayBuffer.isView(value) ? [] : Object.keys(value).slice(0, 5)
  if (name === "Object") return `an object (${keys.join(", ")})`
  return `an object of class ${name}${keys.length === 0 ? "" : ` (${keys.join(", ")})`}`
}

/** Name of the class of an object; `Object` for one without. */
const className = (value: object): string => {
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name === "string" && name !== "" ? name : "Object"
}
