// Where the S3 server for tests is: `npm run test:s3` starts one and says so in the environment.

import process from "node:process"
import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from "@aws-sdk/client-s3"
import { type S3StoreOptions, s3Store } from "bop-aof/s3"
import type { ObjectStore } from "../../src/port/object_store.ts"

const { AOF2_TIER2_ENDPOINT, AOF2_TIER2_ACCESS_KEY, AOF2_TIER2_SECRET_KEY, AOF2_TIER2_BUCKET } = process.env

/** True when there is a server. */
export const hasServer: boolean = AOF2_TIER2_ENDPOINT !== undefined

export const endpoint: string = AOF2_TIER2_ENDPOINT ?? "http://127.0.0.1:1"
export const bucket: string = AOF2_TIER2_BUCKET ?? "none"
export const accessKeyId: string = AOF2_TIER2_ACCESS_KEY ?? "NONE"
export const secretAccessKey: string = AOF2_TIER2_SECRET_KEY ?? "none"

/** What the name of a suite says when it is left out. */
export const serverName = "[S3 server]"

/** Unlike that of any other run or file. */
export const makePrefix = (): string => `t${process.pid}-${Math.random().toString(36).slice(2, 8)}`

/** A store in the bucket for tests. */
export const openStore = (options: S3StoreOptions = {}): ObjectStore =>
  s3Store({ endpoint, bucket, credentials: { accessKeyId, secretAccessKey }, ...options })

/** The bare SDK, to look behind the store. */
export const makeClient = (): S3Client =>
  new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  })

/** A bucket of its own: the longest keys leave no room for a prefix. */
export const makeBucket = async (): Promise<string> => {
  const name = makePrefix()
  const client = makeClient()
  await client.send(new CreateBucketCommand({ Bucket: name }))
  client.destroy()
  return name
}

/** How many uploads in parts are begun below a prefix and not ended. */
export const countUploads = async (prefix: string): Promise<number> => {
  const client = makeClient()
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }))
  client.destroy()
  return Uploads.length
}
