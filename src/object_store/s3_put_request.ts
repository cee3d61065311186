/** What putting an object whole and putting it in parts have in common. */
import type { PutObjectCommand, UploadPartCommand } from "@aws-sdk/client-s3"
import * as Effect from "effect/Effect"
import type { InvalidArgument } from "../model/errors.ts"
import type { ObjectBody, PutOptions } from "../port/object_store.ts"
import { type StoreError, storeError } from "../port/store_error.ts"
import type { S3Connection } from "./s3_connection.ts"
import { headObject } from "./s3_head.ts"
import type { S3Config } from "./s3_options.ts"

/** What a put works with. */
export interface S3Target {
  readonly connection: S3Connection
  readonly config: S3Config
}

/** One object on its way. */
export interface S3Put {
  readonly key: string
  readonly body: ObjectBody
  readonly options: PutOptions
  /** Unlike that of any other put. */
  readonly mark: string
  readonly metadata: Record<string, string>
}

/** The etag of an object that was just put, from a server that does not say it. */
export const etagOf = (
  target: S3Target,
  { key, mark }: S3Put,
): Effect.Effect<{ readonly etag: string }, StoreError | InvalidArgument> =>
  Effect.flatMap(headObject(target, key), (found) =>
    found?.mark === mark
      ? Effect.succeed({ etag: found.info.etag })
      : Effect.fail(storeError("Internal", "put", key, "NotFoundAfterPut")),
  )

/** Gives the signature the hash of the body, which would be made anew in one long turn of the event loop otherwise. */
export const signHash = (command: PutObjectCommand | UploadPartCommand, sha256: string): void =>
  (command as PutObjectCommand).middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { readonly headers: Record<string, string> }
      headers["x-amz-content-sha256"] = sha256
      return next(args)
    },
    { step: "build", name: "bopAofContentHash" },
  )
