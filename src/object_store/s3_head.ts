/** What S3 says about an object. */
import * as Effect from "effect/Effect"
import type { InvalidArgument } from "../model/errors.ts"
import type { ObjectInfo } from "../port/object_store.ts"
import type { StoreError } from "../port/store_error.ts"
import type { S3Connection } from "./s3_connection.ts"
import type { S3Config } from "./s3_options.ts"
import { customerKeyOf, placeOf, plainEtag, putMark } from "./s3_request.ts"

/** An object as it is found, and the mark of the put that made it. */
export interface S3Found {
  readonly info: ObjectInfo
  /** Undefined for what was put by others. */
  readonly mark: string | undefined
}

/** Asks for an object; undefined when there is none. */
export const headObject = (
  { connection, config }: { readonly connection: S3Connection; readonly config: S3Config },
  key: string,
): Effect.Effect<S3Found | undefined, StoreError | InvalidArgument> => {
  const asked = connection.request("head", key, async (sdk, signal, { HeadObjectCommand }): Promise<S3Found> => {
    const command = new HeadObjectCommand({ ...placeOf(config, key), ...customerKeyOf(config) })
    const { ContentLength, ETag, Metadata } = await sdk.send(command, { abortSignal: signal })
    const { [putMark]: mark, ...metadata } = Metadata ?? {}
    return { info: { key, etag: plainEtag(ETag), lengthBytes: ContentLength ?? 0, metadata }, mark }
  })
  return Effect.catch(asked, (error: StoreError | InvalidArgument) =>
    error._tag === "StoreError" && error.kind === "NotFound" ? Effect.succeed(undefined) : Effect.fail(error),
  )
}
