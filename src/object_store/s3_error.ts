/**
 * From what the SDK throws to `StoreError`. Only the kind and a short code leave this file: messages and fields of the SDK may hold
 * keys, signatures and addresses with tokens in them.
 */
import { InvalidArgument } from "../model/errors.ts"
import { StoreError, type StoreErrorKind, storeError } from "../port/store_error.ts"

/** What is known of an error of the SDK. */
export interface S3Failure {
  /** HTTP status; undefined when there was no answer. */
  readonly status: number | undefined
  /** Code of the answer, of the system, or the name of the error. */
  readonly code: string
}

/** Codes of answers that say more than their status. */
const kindByCode: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchKey: "NotFound",
  NotFound: "NotFound",
  NoSuchUpload: "Internal",
  NoSuchBucket: "Invalid",
  PreconditionFailed: "PreconditionFailed",
  ConditionalRequestConflict: "Internal",
  OperationAborted: "Internal",
  SlowDown: "Throttled",
  ServiceUnavailable: "Throttled",
  ThrottlingException: "Throttled",
  TooManyRequestsException: "Throttled",
  RequestLimitExceeded: "Throttled",
  RequestTimeout: "Timeout",
  RequestTimeTooSkewed: "Denied",
  ExpiredToken: "Denied",
  InvalidToken: "Denied",
  TokenRefreshRequired: "Denied",
  CredentialsProviderError: "Denied",
  // The body was damaged or cut on its way, which may pass.
  BadDigest: "Network",
  IncompleteBody: "Network",
  XAmzContentSHA256Mismatch: "Network",
  NotCapable: "Denied",
  PermissionDenied: "Denied",
  EACCES: "Denied",
  EPERM: "Denied",
  // The SDK is not installed.
  ERR_MODULE_NOT_FOUND: "Invalid",
  ETIMEDOUT: "Timeout",
  ESOCKETTIMEDOUT: "Timeout",
}

const kindByStatus: Readonly<Record<number, StoreErrorKind>> = {
  401: "Denied",
  403: "Denied",
  404: "NotFound",
  408: "Timeout",
  409: "Internal",
  412: "PreconditionFailed",
  429: "Throttled",
  503: "Throttled",
  504: "Timeout",
}

/** Names of errors that say where they come from and no more; the code of the system says more. */
const vagueNames = [
  "Error",
  "TimeoutError",
  "TypeError",
  "AggregateError",
  "S3ServiceException",
  "UnknownError",
  "Unknown",
]

/** Reads the status and the code of what the SDK threw. */
export const failureOf = (thrown: unknown): S3Failure => {
  const error = (typeof thrown === "object" && thrown !== null ? thrown : {}) as {
    readonly name?: unknown
    readonly Code?: unknown
    readonly code?: unknown
    readonly message?: unknown
    readonly $metadata?: { readonly httpStatusCode?: unknown }
    readonly $response?: { readonly statusCode?: unknown }
    readonly cause?: unknown
    readonly errors?: ReadonlyArray<unknown>
  }
  const found = error.$metadata?.httpStatusCode ?? error.$response?.statusCode
  const status = typeof found === "number" && found >= 100 ? found : undefined
  if (status !== undefined) {
    const named = [error.Code, error.name].find((one) => isCode(one) && !vagueNames.includes(one))
    return { status, code: typeof named === "string" ? named : String(status) }
  }
  // Connecting to each of several addresses may fail: the first of them stands for all.
  const inner = error.errors?.[0] ?? error.cause
  const code = [error.code, error.name].find((one) => isCode(one) && !vagueNames.includes(one))
  if (typeof code === "string") return { status, code }
  if (inner !== undefined && inner !== thrown) return failureOf(inner)
  if (error.name === "TimeoutError") return { status, code: "ETIMEDOUT" }
  return { status, code: /region is missing/i.test(String(error.message)) ? "RegionMissing" : "NetworkError" }
}

const isCode = (value: unknown): value is string =>
  typeof value === "string" && /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(value)

const kindOf = ({ status, code }: S3Failure): StoreErrorKind => {
  const named = kindByCode[code]
  if (named !== undefined) return named
  if (status !== undefined) return kindByStatus[status] ?? (status >= 500 ? "Internal" : "Invalid")
  if (/^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH)/.test(code)) return "Denied"
  return code === "RegionMissing" ? "Invalid" : "Network"
}

/** The error of a request, such as "put", for a key. What is one already stays. */
export const s3ErrorOf = (thrown: unknown, request: string, key: string): StoreError | InvalidArgument => {
  if (thrown instanceof StoreError || thrown instanceof InvalidArgument) return thrown
  const failure = failureOf(thrown)
  return storeError(kindOf(failure), request, key, failure.code)
}

/** The error of one object of a request for many, from its code. */
export const s3CodeError = (code: string | undefined, request: string, key: string): StoreError => {
  const named = isCode(code) ? code : "UnknownError"
  return storeError(
    kindOf({ status: kindByCode[named] === undefined ? 500 : undefined, code: named }),
    request,
    key,
    named,
  )
}

/** True when a put or a completion that failed so may have been carried out all the same. */
export const isUnknownOutcome = ({ kind }: StoreError): boolean =>
  kind === "Internal" || kind === "Network" || kind === "Timeout"

/** True when other credentials, or the same with another clock, may be let in. */
export const isRefused = (thrown: unknown): boolean => {
  const failure = failureOf(thrown)
  return failure.status !== undefined && kindOf(failure) === "Denied"
}
