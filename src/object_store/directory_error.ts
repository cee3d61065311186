/** From a failed call of the file system to what an object store says. */
import * as Effect from "effect/Effect"
import type { Unavailable } from "../model/errors.ts"
import { type StoreError, type StoreErrorKind, storeError } from "../port/store_error.ts"

/** Codes that say more than that something went wrong; any other is `Internal`, which may pass. */
const kinds: Readonly<Record<string, StoreErrorKind>> = {
  EACCES: "Denied",
  EPERM: "Denied",
  EROFS: "Denied",
  EISDIR: "Invalid",
  ENOTDIR: "Invalid",
  ENAMETOOLONG: "Invalid",
  ENOTSUP: "Invalid",
  EOPNOTSUPP: "Invalid",
  EXDEV: "Invalid",
  EFBIG: "Invalid",
  EBUSY: "Throttled",
  EAGAIN: "Throttled",
  EMFILE: "Throttled",
  ENFILE: "Throttled",
  ETIMEDOUT: "Timeout",
}

/** The `StoreError` of a failed call. What vanished under a running request is `Internal`: a next try finds out what is there. */
export const fileError = (request: string, key: string, error: Unavailable): StoreError =>
  storeError(kinds[error.code] ?? "Internal", request, key, error.code)

/** True when a path leads nowhere: it, or a folder on the way, is missing or no folder. */
export const isMissing = (error: Unavailable): boolean => error.code === "ENOENT" || error.code === "ENOTDIR"

/** A call whose failure because of a path that leads nowhere is `value`. */
export const orWhenMissing: <A, B>(call: Effect.Effect<A, Unavailable>, value: B) => Effect.Effect<A | B, Unavailable> =
  (call, value) => Effect.catchIf(call, isMissing, () => Effect.succeed(value))
