/** An object store in an S3 bucket, for `tier2.store` of a manager. The AWS SDK is loaded when a store is made, and by nothing else. */
import { makeS3Store } from "../object_store/s3.ts"
import { makeS3Config, type S3StoreOptions } from "../object_store/s3_options.ts"
import type { ObjectStore } from "../port/object_store.ts"

export { InvalidArgument } from "../model/errors.ts"
export type { S3CredentialSource, S3Credentials, S3Encryption, S3StoreOptions } from "../object_store/s3_options.ts"
export type {
  ObjectBody,
  ObjectInfo,
  ObjectPage,
  ObjectRange,
  ObjectStore,
  PutOptions,
} from "../port/object_store.ts"
export { StoreError, StoreErrorBase, type StoreErrorKind, storeError } from "../port/store_error.ts"

/**
 * Makes a store in a bucket that is there already. Nothing is asked of the server before the store is used; options that cannot be are
 * `InvalidArgument` at once.
 */
export const s3Store = (options: S3StoreOptions = {}): ObjectStore => makeS3Store(makeS3Config(options))
