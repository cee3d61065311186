/** What can go wrong between the log and an object store. Tier 2 decides by `kind` what to do; callers see `Unavailable`. */
import * as Data from "effect/Data"
import type { ErrorDetails, TaggedErrorBase } from "../model/errors.ts"

/**
 * `NotFound` and `PreconditionFailed` are answers. `Denied` and `Invalid` do not pass by themselves. `Throttled`, `Timeout` and
 * `Network` may; after `Timeout` and `Network` a put may have been carried out.
 */
export type StoreErrorKind =
  | "NotFound"
  | "PreconditionFailed"
  | "Denied"
  | "Invalid"
  | "Throttled"
  | "Timeout"
  | "Network"
  | "Internal"

/** Codes of a request that was never sent, as its keys could not be read. */
export const keysUnreadCodes: ReadonlyArray<string> = ["CredentialsTimeout", "CredentialsUnavailable"]

/** What `StoreError` extends. */
export const StoreErrorBase: TaggedErrorBase<"StoreError"> = Data.TaggedError("StoreError")

const passing: ReadonlyArray<StoreErrorKind> = ["Throttled", "Timeout", "Network", "Internal"]

/** A request to an object store has failed. */
export class StoreError extends StoreErrorBase<
  ErrorDetails & {
    readonly kind: StoreErrorKind
    /** The store's own word, such as `SlowDown` or `ECONNRESET`. */
    readonly code: string
  }
> {
  /** True when the same request may succeed later. */
  readonly retryable: boolean = passing.includes(this.kind)
}

/** Makes a `StoreError` for a request, such as "put", and the key that it was about. */
export const storeError = (kind: StoreErrorKind, request: string, key: string, code: string): StoreError =>
  new StoreError({
    message: `${request} of object ${JSON.stringify(key)} failed: ${kind} (${code})`,
    what: `${request} of object`,
    value: key,
    limit: "success",
    kind,
    code,
  })
