/** From what `append` takes to payloads: through the codec where a stream has one. */
import type { BatchItem } from "../core/append/append.ts"
import type { Codec } from "../model/codec.ts"
import { checkNames } from "../model/config_check.ts"
import { invalidArgument } from "../model/errors.ts"

/** A payload with its number and time. */
export interface DetailedInput<T> {
  /** What `append` would take; copied before the call returns. */
  readonly payload: T
  /** The caller's own number, never below the stream's last; 0 or nothing is none. */
  readonly extId?: number | bigint | undefined
  /** Unix time in milliseconds; the clock's by default. */
  readonly timestampMs?: number | undefined
}

/** An item of `appendBatch`: a payload, or a payload with its number and time. */
export type BatchInput<T> = T | DetailedInput<T>

/** The payload of a value. Throws what the codec throws. */
export const encodePayload = (codec: Codec<never> | Codec<any> | undefined, value: unknown): Uint8Array | string =>
  codec === undefined ? (value as Uint8Array | string) : codec.encode(value as never)

/** The payloads of a batch. Throws `InvalidArgument` when it is no array. */
export const encodeBatch = <T>(
  codec: Codec<any> | undefined,
  items: ReadonlyArray<BatchInput<T>>,
): ReadonlyArray<BatchItem> => {
  if (!Array.isArray(items)) throw invalidArgument("batch", items, "an array of at least 1 record")
  // Not `map`, which leaves out the holes of an array: a hole is no payload.
  return Array.from(items as ReadonlyArray<BatchInput<T>>, (item): BatchItem => {
    if (!isDetailed(codec, item)) return { payload: encodePayload(codec, item) }
    return { payload: encodePayload(codec, item.payload), extId: item.extId, timestampMs: item.timestampMs }
  })
}

const detailNames = ["payload", "extId", "timestampMs"]

/** With a codec an object that has other names too is a value of its own that happens to have a `payload`. */
const isDetailed = <T>(codec: unknown, item: BatchInput<T>): item is DetailedInput<T> => {
  if (typeof item !== "object" || item === null || item instanceof Uint8Array || !("payload" in item)) return false
  if (codec !== undefined) return Object.keys(item).every((name) => detailNames.includes(name))
  checkNames("name in a batch item", item, detailNames)
  return true
}
