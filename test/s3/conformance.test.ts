// What every object store does, by S3: the plain one, one with another way to the same objects, and by parts.

import { describe } from "bun:test"
import { describeObjectStore } from "../support/object_store_conformance.ts"
import { hasServer, makeBucket, openStore, serverName } from "./settings.ts"

describe.skipIf(!hasServer)(serverName, () => {
  describeObjectStore("an S3 store", async () => {
    const bucket = await makeBucket()
    return { store: openStore({ bucket }), second: openStore({ bucket }) }
  })

  describeObjectStore("an S3 store that puts in parts", async () => {
    const bucket = await makeBucket()
    const parts = { multipartThresholdBytes: 5 * 1024 * 1024, partBytes: 5 * 1024 * 1024 }
    return { store: openStore({ bucket, ...parts }) }
  })
})
