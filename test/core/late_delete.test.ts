// A DELETE that had no answer in time may be carried out much later: it never takes an object that was put after it was sent.

import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { memoryStore } from "../../src/api/object_store.ts"
import { BucketFiles } from "../../src/core/bucket/bucket_files.ts"
import { HeadStore } from "../../src/core/bucket/head_store.ts"
import type { ManifestLog } from "../../src/core/manifest/manifest_log.ts"
import type { HeadFile } from "../../src/format/head_object.ts"
import type { ManifestEvent } from "../../src/format/manifest_record.ts"
import { makeTier2Config } from "../../src/model/tier2_config.ts"
import type { Directory } from "../../src/port/directory.ts"
import type { ObjectStore } from "../../src/port/object_store.ts"
import { FaultyObjectStore } from "../../src/testing/faulty_object_store.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { openMemory } from "../support/api.ts"
import {
  appendTexts,
  filled,
  keysIn,
  numbersIn,
  openBucketStore,
  putBytes,
  segmentsIn,
  until,
  upTo,
} from "../support/bucket.ts"

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

/** A store whose first DELETE of an object of a segment is carried out when `settle` is called, and not before. */
const lateStore = (inner: ObjectStore): { readonly store: FaultyObjectStore; readonly removed: Array<string> } => {
  const removed: Array<string> = []
  const store = new FaultyObjectStore(inner, {
    lateRequests: 1_000_000,
    script: ({ kind, key }) => {
      if (kind !== "remove" || !key.includes("/segments/")) return undefined
      removed.push(key)
      return removed.length === 1 ? "lateWrite" : undefined
    },
  })
  return { store, removed }
}

const damage = async (store: ObjectStore, key: string): Promise<void> => {
  const bytes = (await run(store.get(key))).slice()
  bytes[bytes.length >> 1]! ^= 255
  await putBytes(store, key, bytes)
}

describe("a late DELETE", () => {
  test("of an object that a scrub found damaged does not take the one that was uploaded in its place", async () => {
    const inner = memoryStore()
    const { store, removed } = lateStore(inner)
    const { manager, stream } = await filled(store)
    const keys = await segmentsIn(inner)
    await damage(inner, keys[0]!)
    const { findings } = await manager.scrub({ tiers: ["tier2"] })
    expect(findings.map(({ isHealed }) => isHealed)).toEqual([true])
    await manager.settled()
    await until("the damaged one is gone", async () => {
      const now = await segmentsIn(inner)
      return now.length === keys.length && !now.includes(keys[0]!)
    })
    expect(new Set(removed)).toEqual(new Set([keys[0]!]))
    await stream.evict({ to: "tier2" })
    await run(store.settle)
    expect(await segmentsIn(inner)).toContain(keys[0]!.replace(".zst", "-r1.zst"))
    expect(await numbersIn(stream)).toEqual(upTo(30))
    await manager.close()
    const next = await openBucketStore(inner)
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("is not even sent for an object that reconcile found missing; its segment gets another key", async () => {
    const inner = memoryStore()
    const { store, removed } = lateStore(inner)
    const { manager, stream } = await filled(store)
    const [first] = await segmentsIn(inner)
    for (const suffix of ["-r1.zst", "-r2.zst"]) {
      const [key] = (await segmentsIn(inner)).filter((one) => one.startsWith(first!.slice(0, -4)))
      await run(inner.remove(key!))
      const { missing } = await manager.reconcile()
      expect(missing.map((one) => [one.key, one.problem, one.isRepairable])).toEqual([[key!, "missing", true]])
      await manager.settled()
      const again = first!.replace(".zst", suffix)
      await until("it is there again", async () => (await segmentsIn(inner)).includes(again))
    }
    expect(removed).toEqual([])
    await stream.evict({ to: "tier2" })
    expect(await numbersIn(stream)).toEqual(upTo(30))
    await manager.close()
    const next = await openBucketStore(inner)
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    expect((await next.reconcile({ plan: true })).missing).toEqual([])
    await next.close()
  })

  test("is not sent where a move copies to: what lies there under the same key is overwritten", async () => {
    const before = memoryStore()
    const inner = memoryStore()
    const { manager } = await filled(before)
    const [first] = await segmentsIn(before)
    await putBytes(inner, first!, Uint8Array.of(1, 2, 3))
    const { store, removed } = lateStore(inner)
    Object.assign(store, { place: "the other one" })
    const { missing } = await manager.moveBucket({ to: store })
    expect([missing, removed]).toEqual([[], []])
    await run(store.settle)
    expect((await run(inner.get(first!))).length).toBeGreaterThan(3)
    await manager.close()
    const next = await openBucketStore(inner)
    expect(await numbersIn(await next.stream("orders"))).toEqual(upTo(30))
    await next.close()
  })

  test("is not sent where reconcile copies to: what is there with another length is overwritten", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const before = memoryStore()
    const { manager: first, stream } = await filled(before, disk)
    await stream.evict({ to: "tier2" })
    await first.close()
    const inner = memoryStore()
    const keys = await segmentsIn(before)
    await putBytes(inner, keys[0]!, Uint8Array.of(1))
    const { store, removed } = lateStore(inner)
    const second = await openBucketStore(store, { disk })
    const { missing } = await second.reconcile({ from: before })
    expect(missing.every(({ isRepairable }) => isRepairable)).toBe(true)
    expect(missing[0]!.problem).toBe("length")
    expect(removed).toEqual([])
    expect(await numbersIn(await second.stream("orders"))).toEqual(upTo(30))
    await second.close()
  })

  test("that a process has left queued does not concern what the next one uploads, also where there is no epoch", async () => {
    const disk = new MemoryDisk({ modelsCrashes: false })
    const options = { root: "/store", segmentBytes: 8192, stagingBytes: 4096, tier2: { deleteGraceMs: 3_600_000 } }
    const first = await openMemory(options, disk)
    const stream = await first.stream("orders")
    await appendTexts(stream, 0, 6)
    await stream.seal()
    await stream.evict({ to: "tier2" })
    await stream.prefetch({ to: "tier1" })
    const [object] = disk.paths().filter((path) => path.startsWith("/store/tier2/objects/"))
    const at = disk.contentOf(object!)!.length >> 1
    disk.damage(object!, at, Uint8Array.of(disk.contentOf(object!)![at]! ^ 255))
    await first.scrub({ tiers: ["tier2"] })
    await first.close()
    const second = await openMemory(options, disk)
    const again = await second.stream("orders")
    await again.evict({ to: "tier2" })
    const objects = disk.paths().filter((path) => path.startsWith("/store/tier2/objects/"))
    expect(objects.sort()).toEqual([object!.replace(".zst", "-r1.zst"), object!])
    expect(await numbersIn(again)).toEqual(upTo(6))
    await second.close()
  })
})

describe("the files of the manifest", () => {
  const rootId = new Uint8Array(16).fill(7)

  const setup = () => {
    const directory = { readFile: () => Effect.succeed(Uint8Array.of(1, 2, 3)) } as unknown as Directory
    const store = memoryStore()
    const config = makeTier2Config({})
    const headStore = new HeadStore({ store, config, random32: () => 0, send: (_kind, _key, request) => request })
    const queued: Array<ManifestEvent> = []
    const manifest = {
      state: { deletes: new Map() },
      append: (event: ManifestEvent) => queued.push(event),
      commit: Effect.void,
      renew: Effect.void,
    } as unknown as ManifestLog
    const files = new BucketFiles()
    const chunk = { name: "5", path: "/m/5", chunkSequence: 5, bytes: 3, firstRecordSequence: 1, isComplete: true }
    const upload = (epoch: number, there: ReadonlyArray<HeadFile> = []) =>
      run(files.upload({ directory, headStore, manifest, root: { rootId }, epoch }, there))
    const nameOf = ([file]: ReadonlyArray<HeadFile>): string =>
      file!.key.replace(/^.*\/0000000005/, "").replace(/[0-9a-f]{16}/, "sum")
    return { store, files, chunk, upload, nameOf, manifest, queued }
  }

  test("get a key of the epoch of the writer that puts them; what an earlier one may have put is removed", async () => {
    const { files, chunk, upload, nameOf, manifest, queued } = setup()
    files.addChunk(chunk, 1)
    const uploaded = await upload(2)
    expect(nameOf(uploaded)).toBe("-e2-sum.chunk")
    await run(files.retire(manifest, uploaded, 0))
    expect(queued.map((event) => (event as { key: string }).key)).toEqual([uploaded[0]!.key.replace("-e2-", "-e1-")])
  })

  test("get another key than one that was queued for removal, and keep that of a HEAD", async () => {
    const { store, files, chunk, upload, nameOf } = setup()
    files.addChunk(chunk, 1)
    const first = await upload(1)
    expect(nameOf(first)).toBe("-e1-sum.chunk")
    files.giveUp(first[0]!.key)
    files.restart([])
    const second = await upload(1)
    expect(nameOf(second)).toBe("-e1-sum-r1.chunk")
    expect((await keysIn(store)).length).toBe(2)
    files.restart(second)
    expect(nameOf(await upload(1, second))).toBe("-e1-sum-r1.chunk")
    // A snapshot stands for it: nothing of it is kept.
    files.addSnapshot({ ...chunk, chunkSequence: 9, coversSequence: 9 }, 1)
    expect((await upload(1)).map(({ key }) => key.includes("-r"))).toEqual([false])
  })
})
