/**
 * What every object store refuses before it does anything, and how a body is pulled. Bounds are those that all back ends share: a
 * part of a key is a file name somewhere, and metadata travels in HTTP headers elsewhere.
 */
import * as Effect from "effect/Effect"
import { type InvalidArgument, invalidArgument } from "../model/errors.ts"
import type { ObjectBody, ObjectRange, PutOptions } from "../port/object_store.ts"
import { type StoreError, storeError } from "../port/store_error.ts"

/** Longest key, in characters, which are bytes. */
export const keyBytesMax = 1024
/** Longest part of a key between slashes. */
export const keyPartBytesMax = 255
/** Bytes of a body that are pulled and checksummed at once. */
export const pieceBytes: number = 256 * 1024
/** Objects on a page of a listing at most. */
export const listLimitMax = 1000
/** Characters of all keys and values of metadata together. */
export const metadataBytesMax = 2048

const keyRule = "parts of A-Z a-z 0-9 . _ - between slashes, none empty or with a dot in front"
const partPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/
const metadataKeyPattern = /^[a-z0-9-]{1,64}$/
const metadataValuePattern = /^[\x20-\x7e]*$/

/** True for a name that may stand between the slashes of a key. */
export const isKeyPart = (part: string): boolean => part.length <= keyPartBytesMax && partPattern.test(part)

/** Why `key` is no key; undefined when it is one. */
export const refuseKey = (key: unknown): InvalidArgument | undefined => {
  if (typeof key !== "string") return invalidArgument("object key", key, "a string")
  if (key.length > keyBytesMax) return invalidArgument("length of an object key", key.length, `at most ${keyBytesMax}`)
  return key.split("/").every(isKeyPart)
    ? undefined
    : invalidArgument("object key", key, `${keyRule}, each at most ${keyPartBytesMax}`)
}

/** Why a range cannot be; undefined when it can, or when there is none. */
export const refuseRange = (range: ObjectRange | undefined): InvalidArgument | undefined => {
  if (range === undefined) return undefined
  const { offset, length } = range
  if (!Number.isSafeInteger(offset) || offset < 0) return invalidArgument("range offset", offset, "0 or more")
  if (!Number.isSafeInteger(length) || length < 1) return invalidArgument("range length", length, "1 or more")
  return undefined
}

/** Why something cannot be put; undefined when it can. */
export const refusePut = (key: string, body: ObjectBody, options: PutOptions = {}): InvalidArgument | undefined => {
  const refused = refuseKey(key)
  if (refused !== undefined) return refused
  const { lengthBytes } = body
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
    return invalidArgument("length of an object", lengthBytes, "0 or more")
  }
  const { checksum64, condition, metadata = {} } = options
  if (checksum64 !== undefined && !(typeof checksum64 === "bigint" && BigInt.asUintN(64, checksum64) === checksum64)) {
    return invalidArgument("checksum64", checksum64, "an unsigned integer of 64 bits")
  }
  if (condition !== undefined && !isCondition(condition)) {
    return invalidArgument("condition of a put", condition, "absent: true or an etag")
  }
  return refuseMetadata(metadata)
}

const isCondition = (condition: NonNullable<PutOptions["condition"]>): boolean =>
  "absent" in condition ? condition.absent === true : typeof condition.etag === "string" && condition.etag !== ""

const refuseMetadata = (metadata: Readonly<Record<string, string>>): InvalidArgument | undefined => {
  let total = 0
  for (const [name, value] of Object.entries(metadata)) {
    if (!metadataKeyPattern.test(name)) return invalidArgument("metadata key", name, "1 to 64 of a-z 0-9 -")
    if (typeof value !== "string" || !metadataValuePattern.test(value)) {
      return invalidArgument(`metadata ${name}`, value, "printable ASCII")
    }
    total += name.length + value.length
  }
  return total > metadataBytesMax ? invalidArgument("metadata bytes", total, `at most ${metadataBytesMax}`) : undefined
}

/** Why a listing cannot be; undefined when it can. A prefix is the beginning of a key, so it may end anywhere in a part. */
export const refuseList = (prefix: unknown, after: unknown, limit: number): InvalidArgument | undefined => {
  const isPrefix = typeof prefix === "string" && (prefix === "" || refuseKey(`${prefix}x`) === undefined)
  if (!isPrefix && refuseKey(prefix) !== undefined) return invalidArgument("key prefix", prefix, keyRule)
  if (after !== undefined && typeof after !== "string") return invalidArgument("after", after, "a key")
  if (Number.isInteger(limit) && limit >= 1 && limit <= listLimitMax) return undefined
  return invalidArgument("limit of a listing", limit, `1 to ${listLimitMax}`)
}

/**
 * Pulls one piece of a body, by way of `into` where that is given; one that is not as long as asked for is `Invalid`, so that no object is stored cut
 * or shifted.
 */
export const pullPiece = (
  key: string,
  body: ObjectBody,
  offset: number,
  into?: Uint8Array,
): Effect.Effect<Uint8Array, StoreError> => {
  const length = Math.min(pieceBytes, body.lengthBytes - offset)
  return Effect.flatMap(body.read(offset, length, into), (bytes) =>
    bytes.length === length ? Effect.succeed(bytes) : Effect.fail(storeError("Invalid", "put", key, "IncompleteBody")),
  )
}

/** The etag of content: its length and CRC-64/NVME. */
export const etagOf = (lengthBytes: number, checksum64: bigint): string =>
  `${lengthBytes}-${checksum64.toString(16).padStart(16, "0")}`

/** Fails `Invalid` when the caller's checksum is not that of what it gave. */
export const compareChecksum = (
  key: string,
  given: bigint | undefined,
  found: bigint,
): Effect.Effect<void, StoreError> =>
  given === undefined || given === found ? Effect.void : Effect.fail(storeError("Invalid", "put", key, "BadDigest"))
