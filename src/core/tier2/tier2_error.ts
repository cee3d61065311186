/** From what an object store says to what callers of the log see. */
import { type AofError, corrupt, type InvalidArgument, notFound, Unavailable } from "../../model/errors.ts"
import { StoreError, type StoreErrorKind } from "../../port/store_error.ts"

/** Codes of stores for a body that is not what its length or checksum says. */
const damagedBodyCodes = ["BadDigest", "IncompleteBody"]

/** Stand-ins for codes that would say the opposite about trying again. */
const permanentCodes: Partial<Record<StoreErrorKind, string>> = { Denied: "EACCES", Invalid: "ENOTSUP" }
const passingCode = "EAGAIN"

/** The public error of a request that is not tried again. */
export const aofErrorOf = (error: StoreError | InvalidArgument | AofError): AofError => {
  if (!(error instanceof StoreError)) return error
  const { kind, code, message, what, value, retryable } = error
  const key = String(value)
  if (kind === "NotFound") return notFound("object", key, "none under this key")
  if (kind === "Invalid" && damagedBodyCodes.includes(code)) return corrupt(`object ${key}`, message)
  const details = { message, what, value, limit: "success" }
  const own = new Unavailable({ ...details, code })
  if (own.retryable === retryable) return own
  return new Unavailable({ ...details, code: retryable ? passingCode : (permanentCodes[kind] ?? "ENOTSUP") })
}

/** True when the same request may succeed later; an error that is already public is final. */
export const isRetried = (error: StoreError | InvalidArgument | AofError): boolean =>
  error instanceof StoreError && error.retryable
