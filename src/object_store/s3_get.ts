/** Brings the bytes of an object. A body that is cut on its way goes on by range where it ended, as long as each try brings something. */
import type { Readable } from "node:stream"
import type { GetObjectCommandInput, GetObjectCommandOutput } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import type { InvalidArgument } from "../model/errors.ts"
import type { ObjectRange } from "../port/object_store.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import type { S3Connection } from "./s3_connection.ts"
import { failureOf } from "./s3_error.ts"
import type { S3Config } from "./s3_options.ts"
import { customerKeyOf, placeOf, rangeHeader } from "./s3_request.ts"

/** Largest answer of one `get`; a larger object is read by ranges. */
const getBytesMax = 2 ** 31 - 1

interface S3Source {
  readonly connection: S3Connection
  readonly config: S3Config
}

/** What has come of an object so far. */
class Delivery {
  readonly key: string
  /** Where the wanted bytes begin. */
  readonly offset: number
  /** How many are wanted; lowered to how many there are with the first answer. */
  length: number
  readonly isRanged: boolean
  readonly into: Uint8Array | undefined
  bytes: Uint8Array | undefined = undefined
  filled = 0
  /** Of the first answer: what comes later has to be of the same object. */
  etag: string | undefined = undefined

  constructor(key: string, range: ObjectRange | undefined) {
    this.key = key
    this.isRanged = range !== undefined
    this.into = range?.into
    this.offset = range?.offset ?? 0
    this.length = range?.length ?? Number.MAX_SAFE_INTEGER
  }

  get isWhole(): boolean {
    return this.bytes !== undefined && this.filled === this.length
  }
}

/** Bytes of an object, as the port says. */
export const getObject = (
  source: S3Source,
  key: string,
  range: ObjectRange | undefined,
): Effect.Effect<Uint8Array, StoreError | InvalidArgument> =>
  Effect.suspend(() => {
    const delivery = new Delivery(key, range)
    const next = (): Effect.Effect<Uint8Array, StoreError | InvalidArgument> => {
      const before = delivery.filled
      return Effect.matchEffect(ask(source, delivery), {
        onSuccess: () => Effect.succeed(delivery.bytes ?? new Uint8Array(0)),
        onFailure: (error) => {
          const mayGoOn = error.retryable && delivery.filled > before
          return mayGoOn ? next() : Effect.fail(error)
        },
      })
    }
    return next()
  })

/** Asks once for what is missing, and takes what comes. */
const ask = ({ connection, config }: S3Source, delivery: Delivery): Effect.Effect<void, StoreError | InvalidArgument> =>
  connection.request("get", delivery.key, async (sdk, signal, { GetObjectCommand }) => {
    const isFirst = delivery.bytes === undefined
    const from = delivery.offset + delivery.filled
    const input: GetObjectCommandInput = { ...placeOf(config, delivery.key), ...customerKeyOf(config) }
    if (delivery.isRanged || !isFirst) input.Range = rangeHeader(from, delivery.length - delivery.filled)
    if (delivery.etag !== undefined) input.IfMatch = delivery.etag
    let output: GetObjectCommandOutput
    try {
      output = await sdk.send(new GetObjectCommand(input), { abortSignal: signal })
    } catch (thrown) {
      const { status, code } = failureOf(thrown)
      // Nothing of the object lies in the range.
      if (status === 416 && isFirst) {
        delivery.bytes = new Uint8Array(0)
        delivery.length = 0
        return
      }
      // Another object is there by now: whoever asks again gets that one.
      if (status === 412 || status === 416) throw storeError("Network", "get", delivery.key, code)
      throw thrown
    }
    accept(delivery, output, from)
    await take(delivery, output.Body as Readable, signal)
    if (!delivery.isWhole) throw storeError("Network", "get", delivery.key, "ShortBody")
  })

/** Checks that an answer is what was asked for, and makes room for it. */
const accept = (delivery: Delivery, output: GetObjectCommandOutput, from: number): void => {
  const { ContentLength: length, ContentRange, $metadata } = output
  const fail = (code: string): never => {
    ;(output.Body as Readable | undefined)?.destroy()
    throw storeError("Invalid", "get", delivery.key, code)
  }
  const isPart = $metadata.httpStatusCode === 206
  const start = isPart ? Number(/^bytes (\d+)-/.exec(ContentRange ?? "")?.[1] ?? Number.NaN) : 0
  if (start !== from) fail("OtherRange")
  if (length === undefined || length > delivery.length - delivery.filled) return fail("OtherLength")
  if (delivery.bytes !== undefined) return
  if (length > getBytesMax) fail("EFBIG")
  delivery.length = length
  const { into } = delivery
  delivery.bytes = into !== undefined && into.length >= length ? into.subarray(0, length) : new Uint8Array(length)
  delivery.etag = output.ETag
}

/** Copies what comes to its place. By events, as an iterator costs a tenth to a fifth more for each piece. */
const take = (delivery: Delivery, body: Readable, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const end = (): void => void body.destroy()
    const settle = (settled: () => void): void => {
      signal.removeEventListener("abort", end)
      end()
      settled()
    }
    signal.addEventListener("abort", end, { once: true })
    body.on("data", (chunk: Uint8Array) => {
      if (signal.aborted || body.destroyed) return
      const room = delivery.length - delivery.filled
      if (chunk.length > room) return settle(() => reject(storeError("Invalid", "get", delivery.key, "OtherLength")))
      delivery.bytes!.set(chunk, delivery.filled)
      delivery.filled += chunk.length
    })
    body.on("error", (thrown) =>
      settle(() => reject(storeError("Network", "get", delivery.key, failureOf(thrown).code))),
    )
    // Cut off, it closes without an end: what is missing tells.
    body.on("end", () => settle(resolve))
    body.on("close", () => settle(resolve))
    if (signal.aborted) end()
  })
