/**
 * An object store in an S3 bucket, by way of the AWS SDK: AWS itself, MinIO, Ceph and others that speak the same protocol. Settings are
 * those on which servers agree.
 *
 * Secrets are kept in private fields, and whatever prints a store prints its kind and its place.
 */
import * as Effect from "effect/Effect"
import { type InvalidArgument, invalidArgument } from "../model/errors.ts"
import type { ObjectPage, ObjectStore } from "../port/object_store.ts"
import type { StoreError } from "../port/store_error.ts"
import { listLimitMax, refuseKey, refuseList, refusePut, refuseRange } from "./object_checks.ts"
import { S3Connection } from "./s3_connection.ts"
import { s3CodeError } from "./s3_error.ts"
import { getObject } from "./s3_get.ts"
import { headObject } from "./s3_head.ts"
import type { S3Config } from "./s3_options.ts"
import { putObject } from "./s3_put.ts"
import { placeOf, refuseLongKey } from "./s3_request.ts"

/** Makes a store. It asks nobody for anything before it is used. */
export const makeS3Store = (config: S3Config): ObjectStore => new S3Store(config)

type Failure = StoreError | InvalidArgument

class S3Store implements ObjectStore {
  readonly kind = "s3"
  readonly place: string
  readonly #config: S3Config
  readonly #connection: S3Connection

  constructor(config: S3Config) {
    const { bucket, prefix, endpoint } = config
    this.place = `s3://${bucket}/${prefix}${endpoint === undefined ? "" : ` at ${endpoint}`}`
    this.#config = config
    this.#connection = new S3Connection(config)
  }

  put: ObjectStore["put"] = (key, body, options = {}) =>
    this.#checked(refusePut(key, body, options) ?? this.#refuseLong(key), () =>
      putObject(this.#target, key, body, options),
    )

  get: ObjectStore["get"] = (key, range) =>
    this.#checked(refuseKey(key) ?? refuseRange(range) ?? this.#refuseLong(key), () =>
      getObject(this.#target, key, range),
    )

  head: ObjectStore["head"] = (key) =>
    this.#checked(refuseKey(key) ?? this.#refuseLong(key), () =>
      Effect.map(headObject(this.#target, key), (found) => found?.info),
    )

  remove: ObjectStore["remove"] = (key) =>
    this.#checked(refuseKey(key) ?? this.#refuseLong(key), () =>
      Effect.catch(
        this.#connection.request("remove", key, async (sdk, signal, { DeleteObjectCommand }) => {
          await sdk.send(new DeleteObjectCommand(placeOf(this.#config, key)), { abortSignal: signal })
        }),
        (error: Failure) =>
          error._tag === "StoreError" && error.kind === "NotFound" ? Effect.void : Effect.fail(error),
      ),
    )

  removeMany: NonNullable<ObjectStore["removeMany"]> = (keys) =>
    this.#checked(this.#refuseMany(keys), () =>
      this.#connection.request("remove", keys[0] ?? "", async (sdk, signal, { DeleteObjectsCommand }) => {
        const { bucket: Bucket, prefix } = this.#config
        const Objects = keys.map((key) => ({ Key: `${prefix}${key}` }))
        const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } })
        const { Errors = [] } = await sdk.send(command, { abortSignal: signal })
        const failed = new Map<string, StoreError>()
        for (const { Key = "", Code } of Errors) {
          const key = Key.slice(prefix.length)
          if (Code !== "NoSuchKey") failed.set(key, s3CodeError(Code, "remove", key))
        }
        return failed
      }),
    )

  #refuseMany(keys: ReadonlyArray<string>): InvalidArgument | undefined {
    if (keys.length === 0 || keys.length > listLimitMax)
      return invalidArgument("objects to remove", keys.length, `1 to ${listLimitMax}`)
    for (const key of keys) {
      const refused = refuseKey(key) ?? this.#refuseLong(key)
      if (refused !== undefined) return refused
    }
    return undefined
  }

  list: ObjectStore["list"] = (prefix, { after, limit = listLimitMax } = {}) =>
    this.#checked(refuseList(prefix, after, limit), () =>
      this.#connection.request("list", prefix, async (sdk, signal, { ListObjectsV2Command }): Promise<ObjectPage> => {
        const own = this.#config.prefix
        const command = new ListObjectsV2Command({
          Bucket: this.#config.bucket,
          Prefix: `${own}${prefix}`,
          MaxKeys: limit,
          ...(after === undefined ? {} : { StartAfter: `${own}${after}` }),
        })
        const { Contents = [], IsTruncated } = await sdk.send(command, { abortSignal: signal })
        const found = Contents.map(({ Key = "", Size = 0 }) => ({ key: Key.slice(own.length), lengthBytes: Size }))
        // What others have put under names that are no keys is not of this store, but a page goes on behind it.
        const objects = found.filter(({ key }) => refuseKey(key) === undefined)
        return { objects, next: IsTruncated === true ? found.at(-1)?.key : undefined }
      }),
    )

  /** What is printed of a store. */
  toJSON(): { readonly kind: string; readonly place: string } {
    return { kind: this.kind, place: this.place }
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `S3Store(${this.place})`
  }

  [Symbol.for("Deno.customInspect")](): string {
    return `S3Store(${this.place})`
  }

  get #target(): { readonly connection: S3Connection; readonly config: S3Config } {
    return { connection: this.#connection, config: this.#config }
  }

  #refuseLong(key: string): InvalidArgument | undefined {
    return refuseLongKey(this.#config, key)
  }

  #checked<A>(refused: InvalidArgument | undefined, run: () => Effect.Effect<A, Failure>): Effect.Effect<A, Failure> {
    return refused === undefined ? Effect.suspend(run) : Effect.fail(refused)
  }
}
