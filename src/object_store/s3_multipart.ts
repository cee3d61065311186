/**
 * Puts a large object in parts. Nothing is to be seen of it before the last request, and whatever ends the put takes back what was
 * sent; when the process dies, the parts stay and cost until a rule of the bucket removes them.
 */
import type { CompletedPart } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import { crc64Start } from "../format/checksum.ts"
import type { InvalidArgument } from "../model/errors.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import { compareChecksum } from "./object_checks.ts"
import { type S3Part, takePart } from "./s3_body.ts"
import { isUnknownOutcome } from "./s3_error.ts"
import { headObject } from "./s3_head.ts"
import { etagOf, type S3Put, type S3Target, signHash } from "./s3_put_request.ts"
import { customerKeyOf, encryptionOf, placeOf, plainEtag } from "./s3_request.ts"

type Failure = StoreError | InvalidArgument

/** Parts of one object at most, as S3 has it. */
const partsMax = 10_000
/** Tries of one part: to begin a large object anew for each would never end on a bad line. */
const partTriesMax = 3
const partPauseMs = 100
/** How long taking back may hold up whoever ends a put. */
const abortMsMax = 5000

/** Stores an object in parts; with a condition, it looks first. */
export const putParts = (target: S3Target, put: S3Put): Effect.Effect<{ readonly etag: string }, Failure> => {
  const stored = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(begin(target, put)), (uploadId) =>
      Effect.onExit(restore(sendAll(target, put, uploadId)), (exit) =>
        exit._tag === "Success" ? Effect.void : takeBack(target, put, uploadId),
      ),
    ),
  )
  const { condition } = put.options
  if (condition === undefined) return stored
  return Effect.flatMap(headObject(target, put.key), (found) => {
    const holds = "absent" in condition ? found === undefined : found?.info.etag === condition.etag
    return holds ? stored : Effect.fail(storeError("PreconditionFailed", "put", put.key, "PreconditionFailed"))
  })
}

const begin = ({ connection, config }: S3Target, { key, metadata }: S3Put): Effect.Effect<string, Failure> =>
  Effect.flatMap(
    connection.request("put", key, async (sdk, signal, { CreateMultipartUploadCommand }) => {
      const command = new CreateMultipartUploadCommand({
        ...placeOf(config, key),
        Metadata: metadata,
        ...encryptionOf(config),
        ...(config.storageClass === undefined ? {} : { StorageClass: config.storageClass as "STANDARD" }),
      })
      return (await sdk.send(command, { abortSignal: signal })).UploadId
    }),
    (id) => (id === undefined ? Effect.fail(storeError("Internal", "put", key, "NoUploadId")) : Effect.succeed(id)),
  )

/** Pulls as many parts as may lie in memory, sends them side by side, and goes on; then completes. */
const sendAll = Effect.fnUntraced(function* (
  target: S3Target,
  put: S3Put,
  uploadId: string,
): Effect.fn.Return<{ readonly etag: string }, Failure> {
  const { key, body, options } = put
  const { partBytes, partConcurrency } = target.config
  const bytes = Math.max(partBytes, Math.ceil(body.lengthBytes / partsMax))
  const checksum = crc64Start()
  const parts: Array<CompletedPart> = []
  for (let offset = 0; offset < body.lengthBytes; ) {
    const group: Array<readonly [number, S3Part]> = []
    while (group.length < partConcurrency && offset < body.lengthBytes) {
      const length = Math.min(bytes, body.lengthBytes - offset)
      group.push([parts.length + group.length + 1, yield* takePart(key, body, { offset, length, checksum })])
      offset += length
    }
    const send = ([number, part]: readonly [number, S3Part]): Effect.Effect<CompletedPart, Failure> =>
      sendPart(target, key, { uploadId, number, part })
    parts.push(...(yield* Effect.forEach(group, send, { concurrency: partConcurrency })))
  }
  yield* compareChecksum(key, options.checksum64, checksum.digest())
  return yield* complete(target, put, { uploadId, parts })
})

const sendPart = (
  { connection, config }: S3Target,
  key: string,
  { uploadId, number, part }: { readonly uploadId: string; readonly number: number; readonly part: S3Part },
): Effect.Effect<CompletedPart, Failure> => {
  const send = connection.request("put", key, async (sdk, signal, { UploadPartCommand }): Promise<CompletedPart> => {
    const command = new UploadPartCommand({
      ...placeOf(config, key),
      UploadId: uploadId,
      PartNumber: number,
      Body: part.bytes,
      ContentLength: part.bytes.length,
      ...customerKeyOf(config),
    })
    signHash(command, part.sha256)
    const { ETag } = await sdk.send(command, { abortSignal: signal })
    return { PartNumber: number, ETag }
  })
  const attempt = (count: number): Effect.Effect<CompletedPart, Failure> =>
    Effect.catch(send, (error: Failure) =>
      error.retryable && count < partTriesMax
        ? Effect.andThen(Effect.sleep(partPauseMs * count), attempt(count + 1))
        : Effect.fail(error),
    )
  return attempt(1)
}

/** Puts the parts together. What was lost of the answer is found out by the mark of the object. */
const complete = (
  target: S3Target,
  put: S3Put,
  { uploadId, parts }: { readonly uploadId: string; readonly parts: ReadonlyArray<CompletedPart> },
): Effect.Effect<{ readonly etag: string }, Failure> => {
  const { connection, config } = target
  const { key } = put
  const sent = connection.request("put", key, async (sdk, signal, { CompleteMultipartUploadCommand }) => {
    const command = new CompleteMultipartUploadCommand({
      ...placeOf(config, key),
      UploadId: uploadId,
      MultipartUpload: { Parts: [...parts] },
      ...customerKeyOf(config),
    })
    return plainEtag((await sdk.send(command, { abortSignal: signal })).ETag)
  })
  return Effect.matchEffect(sent, {
    onSuccess: (etag) => (etag === "" ? etagOf(target, put) : Effect.succeed({ etag })),
    onFailure: (error): Effect.Effect<{ readonly etag: string }, Failure> => {
      const isUnknown = error._tag === "StoreError" && (isUnknownOutcome(error) || error.kind === "NotFound")
      return isUnknown ? Effect.mapError(etagOf(target, put), () => asInternal(key, error)) : Effect.fail(error)
    },
  })
}

/** An upload that is gone is no missing object: beginning anew helps. */
const asInternal = (key: string, error: StoreError): StoreError =>
  error.kind === "NotFound" ? storeError("Internal", "put", key, error.code) : error

/** Takes back what was sent, as far as that can be done now. */
const takeBack = ({ connection, config }: S3Target, { key }: S3Put, uploadId: string): Effect.Effect<void> => {
  const sent = connection.request("put", key, (sdk, signal, { AbortMultipartUploadCommand }) =>
    sdk.send(new AbortMultipartUploadCommand({ ...placeOf(config, key), UploadId: uploadId }), { abortSignal: signal }),
  )
  return Effect.ignore(Effect.timeoutOption(Effect.interruptible(sent), abortMsMax))
}
