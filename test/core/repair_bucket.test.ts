// A repair looks at neither HEAD nor replicas, so it removes nothing from a bucket, whatever is queued.

import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import { repairWith } from "../../src/api/repair.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { appendTexts, filled, keysIn, openBucketStore, segmentsIn } from "../support/bucket.ts"

test("what is queued for removal stays until the root is opened with its bucket", async () => {
  const inner = memoryStore() as unknown as ObjectStore
  let removes = 0
  let mayRemove = false
  const store = new FaultyObjectStore(inner, {
    script: ({ kind }) => {
      if (kind !== "remove") return undefined
      removes++
      return mayRemove ? undefined : "denied"
    },
  })
  const disk = new MemoryDisk({ modelsCrashes: false })
  const { manager, stream } = await filled(store, disk)
  await appendTexts(stream, 30, 32)
  await stream.trim({ before: stream.info().lastId })
  await manager.close()
  const before = await keysIn(inner)
  expect((await segmentsIn(inner)).length).toBeGreaterThan(0)
  mayRemove = true
  removes = 0
  const report = await Effect.runPromise(repairWith(disk.layer, { root: "/store", tier2: { store: store as never } }))
  expect([report.isClean, removes, await keysIn(inner)]).toEqual([true, 0, before])
  const again = await openBucketStore(store, { disk, deleteGraceMs: 0 })
  for (let tries = 0; removes === 0 && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(removes).toBeGreaterThan(0)
  await again.close()
})
