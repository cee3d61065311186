/**
 * Puts objects to S3. What has a strict condition is one request, which every server decides in one step; conditions of a completion
 * of parts are ignored by some servers without an error and are never relied on.
 *
 * A put on a condition whose answer does not say how it ended reads back what is there: the object carries the mark of the put that
 * made it. So `PreconditionFailed` is only said when somebody else's object is there.
 */
import { randomUUID } from "node:crypto"
import type { PutObjectCommandInput } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import { crc64Start } from "../format/checksum.ts"
import { InvalidArgument, invalidArgument } from "../model/errors.ts"
import type { ObjectBody, PutOptions } from "../port/object_store.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import { compareChecksum } from "./object_checks.ts"
import { type S3Part, takePart } from "./s3_body.ts"
import { isUnknownOutcome } from "./s3_error.ts"
import { headObject } from "./s3_head.ts"
import { putParts } from "./s3_multipart.ts"
import { etagOf, type S3Put, type S3Target, signHash } from "./s3_put_request.ts"
import { encryptionOf, metadataOf, placeOf, plainEtag } from "./s3_request.ts"

type Failure = StoreError | InvalidArgument
type Stored = { readonly etag: string }

/** Largest object that is put in one request, as it lies in memory whole: the largest segment. */
const wholeBytesMax = 256 * 1024 * 1024
/** Largest object of S3. */
const objectBytesMax = 5 * 1024 ** 4
/** Reading back, and putting again what turned out not to have been put. */
const triesMax = 4
const pauseMs = 50

/** Stores an object, as the port says. */
export const putObject = (
  target: S3Target,
  key: string,
  body: ObjectBody,
  options: PutOptions,
): Effect.Effect<Stored, Failure> =>
  Effect.suspend((): Effect.Effect<Stored, Failure> => {
    const mark = randomUUID()
    const metadata = metadataOf(target.config, options.metadata ?? {}, mark)
    if (metadata instanceof InvalidArgument) return Effect.fail(metadata)
    const { lengthBytes } = body
    const isStrict = options.condition !== undefined && options.isContentNamed !== true
    const most = isStrict ? wholeBytesMax : objectBytesMax
    if (lengthBytes > most) return Effect.fail(invalidArgument("length of an object", lengthBytes, `at most ${most}`))
    const put: S3Put = { key, body, options, mark, metadata }
    const isLarge = lengthBytes > target.config.multipartThresholdBytes
    const run = isLarge && !isStrict ? putParts(target, put) : putWhole(target, put)
    return run
  })

const putWhole = Effect.fnUntraced(function* (target: S3Target, put: S3Put): Effect.fn.Return<Stored, Failure> {
  const { key, body, options } = put
  const checksum = crc64Start()
  const part = yield* takePart(key, body, { offset: 0, length: body.lengthBytes, checksum })
  const checksum64 = checksum.digest()
  yield* compareChecksum(key, options.checksum64, checksum64)
  const send = sendWhole(target, put, { part, checksum64 })
  return yield* options.condition === undefined
    ? send(false)
    : settled(target, { put, condition: options.condition }, send)
})

/** Sends the object; `isQuoted` says how the etag of the condition is written. */
const sendWhole =
  ({ connection, config }: S3Target, put: S3Put, whole: { readonly part: S3Part; readonly checksum64: bigint }) =>
  (isQuoted: boolean): Effect.Effect<Stored, Failure> =>
    Effect.suspend(() => {
      const { key, metadata, options } = put
      const { part, checksum64 } = whole
      const input: PutObjectCommandInput = {
        ...placeOf(config, key),
        Body: part.bytes,
        ContentLength: part.bytes.length,
        Metadata: metadata,
        ...encryptionOf(config),
        ...conditionOf(options.condition, isQuoted),
      }
      if (config.storageClass !== undefined) input.StorageClass = config.storageClass as "STANDARD"
      if (config.sendChecksum) input.ChecksumCRC64NVME = base64Of(checksum64)
      return Effect.flatMap(
        connection.request("put", key, async (sdk, signal, { PutObjectCommand }) => {
          const command = new PutObjectCommand(input)
          signHash(command, part.sha256)
          const { ETag } = await sdk.send(command, { abortSignal: signal })
          return plainEtag(ETag)
        }),
        (etag) => (etag === "" ? etagOf({ connection, config }, put) : Effect.succeed({ etag })),
      )
    })

type Condition = NonNullable<PutOptions["condition"]>

const conditionOf = (
  condition: Condition | undefined,
  isQuoted: boolean,
): Pick<PutObjectCommandInput, "IfNoneMatch" | "IfMatch"> => {
  if (condition === undefined) return {}
  if ("absent" in condition) return { IfNoneMatch: "*" }
  return { IfMatch: isQuoted ? `"${condition.etag}"` : condition.etag }
}

/**
 * Sends until it is known how it ended. Sending again is harmless: it is on the same condition. Etags are written without quotes first,
 * which some servers insist on, and with quotes when the object that was refused has the very etag that was asked for.
 */
const settled = (
  target: S3Target,
  { put, condition }: { readonly put: S3Put; readonly condition: Condition },
  send: (isQuoted: boolean) => Effect.Effect<Stored, Failure>,
): Effect.Effect<Stored, Failure> => {
  const { key, mark } = put
  const isExpected = (etag: string): boolean => "etag" in condition && etag === condition.etag
  const attempt = (number: number, isQuoted: boolean): Effect.Effect<Stored, Failure> =>
    Effect.catch(send(isQuoted), (error: Failure) => {
      const isRefused = error._tag === "StoreError" && error.kind === "PreconditionFailed"
      const isUnknown = error._tag === "StoreError" && (isUnknownOutcome(error) || error.kind === "NotFound")
      // What refuses may be this very put, which the runtime has sent again by itself when its connection broke.
      if (!isUnknown && !isRefused) return Effect.fail(error)
      return Effect.matchEffect(headObject(target, key), {
        // Who cannot look is told what was wrong with the put.
        onFailure: () => Effect.fail(error),
        onSuccess: (found): Effect.Effect<Stored, Failure> => {
          if (found?.mark === mark) return Effect.succeed({ etag: found.info.etag })
          const isAsBefore = found === undefined ? "absent" in condition : isExpected(found.info.etag)
          if (!isAsBefore) return Effect.fail(storeError("PreconditionFailed", "put", key, "PreconditionFailed"))
          if (number >= triesMax) return Effect.fail(error)
          const again = attempt(number + 1, isQuoted || isRefused)
          return isRefused ? again : Effect.andThen(Effect.sleep(pauseMs * number), again)
        },
      })
    })
  return attempt(1, false)
}

/** CRC-64 as S3 has it in its header. */
const base64Of = (checksum64: bigint): string => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(checksum64)
  return bytes.toString("base64")
}
