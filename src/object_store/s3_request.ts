/** What all requests of an S3 store have in common: names of objects, headers of encryption, etags, metadata. */
import { createHash } from "node:crypto"
import type { PutObjectCommandInput } from "@aws-sdk/client-s3"
import { type InvalidArgument, invalidArgument } from "../model/errors.ts"
import { keyBytesMax, metadataBytesMax } from "./object_checks.ts"
import type { S3Config } from "./s3_options.ts"

/** Marks an object with the put that made it, so that a put whose answer was lost finds out how it ended. */
export const putMark = "bop-aof-put"

/** An object in its bucket. */
export const placeOf = (config: S3Config, key: string): { readonly Bucket: string; readonly Key: string } => ({
  Bucket: config.bucket,
  Key: `${config.prefix}${key}`,
})

/** Why a key is too long with the prefix in front; undefined when it is not. */
export const refuseLongKey = (config: S3Config, key: string): InvalidArgument | undefined => {
  const length = config.prefix.length + key.length
  return length > keyBytesMax
    ? invalidArgument("length of an object key with its prefix", length, `at most ${keyBytesMax}`)
    : undefined
}

type CustomerKey = Pick<PutObjectCommandInput, "SSECustomerAlgorithm" | "SSECustomerKey" | "SSECustomerKeyMD5">
type Encryption = CustomerKey & Pick<PutObjectCommandInput, "ServerSideEncryption" | "SSEKMSKeyId">

/** What goes with every request for an object that was encrypted by the caller's key. */
export const customerKeyOf = ({ sse }: S3Config): CustomerKey => {
  if (typeof sse !== "object" || !("customerKey" in sse)) return {}
  const key = Buffer.from(sse.customerKey as Uint8Array)
  return {
    SSECustomerAlgorithm: "AES256",
    SSECustomerKey: key.toString("base64"),
    SSECustomerKeyMD5: createHash("md5").update(key).digest("base64"),
  }
}

/** What goes with the making of an object. */
export const encryptionOf = (config: S3Config): Encryption => {
  const { sse } = config
  if (sse === "s3") return { ServerSideEncryption: "AES256" }
  if (typeof sse === "object" && "kmsKeyId" in sse) {
    return { ServerSideEncryption: "aws:kms", SSEKMSKeyId: sse.kmsKeyId }
  }
  return customerKeyOf(config)
}

/** All metadata of a new object; `InvalidArgument` when it is more than S3 takes. */
export const metadataOf = (
  config: S3Config,
  given: Readonly<Record<string, string>>,
  mark: string,
): Record<string, string> | InvalidArgument => {
  const all = { ...config.metadata, ...given, [putMark]: mark }
  const bytes = Object.entries(all).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  return bytes > metadataBytesMax ? invalidArgument("metadata bytes", bytes, `at most ${metadataBytesMax}`) : all
}

/** An etag as the port has it: without quotes. */
export const plainEtag = (etag: string | undefined): string => (etag ?? "").replaceAll('"', "")

/** `bytes=from-to`, open where the end cannot be said. */
export const rangeHeader = (offset: number, length: number): string => {
  const last = offset + length - 1
  return Number.isSafeInteger(last) ? `bytes=${offset}-${last}` : `bytes=${offset}-`
}
