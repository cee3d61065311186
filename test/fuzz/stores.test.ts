// Whole stores with several damages at once, in files at random: whatever is left of them opens, or names the file that keeps it from
// opening; nothing that is read is wrong, comes twice or late; and small files beside the objects, and of the lock, may hold anything.

import { beforeAll, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import fc from "fast-check"
import { makeDirectoryStore } from "../../src/object_store/directory.ts"
import { Directory } from "../../src/port/directory.ts"
import { RootLock } from "../../src/port/root_lock.ts"
import { StoreError } from "../../src/port/store_error.ts"
import { decodeHolder, encodeHolder, ownIdentity } from "../../src/runtime/lock_holder.ts"
import { MemoryDisk } from "../../src/testing/memory_disk.ts"
import { type BaseStore, checkSurvival, type Damage, makeBase, type Place } from "../support/corruption.ts"
import { fuzzOptions, hostile } from "../support/fuzz.ts"

const bases = new Map<Place, BaseStore>()
beforeAll(async () => {
  for (const place of ["hot", "warm", "cold"] as const) bases.set(place, await makeBase(place))
})

test.each(["hot", "warm", "cold"])(
  "a store whose sealed segments are %s survives several damages at once",
  async (place: Place) => {
    const base = bases.get(place)!
    const files = [...base.files].filter(([, bytes]) => bytes.length > 0)
    const damage = fc
      .tuple(
        fc.nat({ max: files.length - 1 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.boolean(),
      )
      .map(([file, share, isFlip]): Damage => {
        const [path, bytes] = files[file]!
        const at = Math.floor(share * bytes.length)
        return isFlip ? { kind: "flip", path, at } : { kind: "cut", path, length: at }
      })
    // A cut makes later flips of the same file lie behind its end: flips first.
    const damages = fc
      .array(damage, { minLength: 2, maxLength: 5 })
      .map((all) => [...all].sort((one, other) => one.kind.localeCompare(other.kind) * -1))
    await fc.assert(
      fc.asyncProperty(damages, (all) => checkSurvival(base, all)),
      fuzzOptions(place === "cold" ? 40 : 70),
    )
  },
  600_000,
)

test("metadata beside an object may be anything: it is metadata, or Invalid", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const services = disk.services()
  const directory = Context.get(services, Directory)
  const store = { directory, lock: Context.get(services, RootLock), path: "/objects" }
  const body = { lengthBytes: 3, read: () => Effect.succeed(Uint8Array.of(1, 2, 3)) }
  const run = <A>(work: Effect.Effect<A, unknown, never>): Promise<A> => Effect.runPromise(work as Effect.Effect<A>)
  const work = Effect.scoped(
    Effect.gen(function* () {
      const objects = yield* makeDirectoryStore(store)
      const { etag } = yield* objects.put("a/b", body, { metadata: { name: "value" } })
      const path = `/objects/meta/a/b/.${etag}`
      const valid = (yield* directory.readFile(path))!.slice()
      const seen = { metadata: 0, invalid: 0 }
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.oneof(
              hostile(valid),
              fc.json().map((text) => new TextEncoder().encode(text)),
            ),
            async (bytes) => {
              const file = directory.openUnsafe(path, "write")
              await run(file.truncate(0))
              if (bytes.length > 0) file.writeUnsafe(bytes, 0, bytes.length, 0)
              file.closeUnsafe()
              const found = await run(Effect.result(objects.head("a/b")))
              if (found._tag === "Failure") {
                if (!(found.failure instanceof StoreError) || found.failure.kind !== "Invalid") throw found.failure
                seen.invalid++
                return
              }
              for (const value of Object.values(found.success!.metadata))
                if (typeof value !== "string") throw new Error("no text")
              seen.metadata++
            },
          ),
          fuzzOptions(400),
        ),
      )
      return seen
    }),
  )
  const { metadata, invalid } = await run(work)
  expect(metadata > 0 && invalid > 0).toBe(true)
})

test("metadata that is larger than any may be is not read", async () => {
  const disk = new MemoryDisk({ modelsCrashes: false })
  const services = disk.services()
  const directory = Context.get(services, Directory)
  const store = { directory, lock: Context.get(services, RootLock), path: "/objects" }
  const body = { lengthBytes: 1, read: () => Effect.succeed(Uint8Array.of(1)) }
  const work = Effect.scoped(
    Effect.gen(function* () {
      const objects = yield* makeDirectoryStore(store)
      const { etag } = yield* objects.put("a", body, { metadata: { name: "value" } })
      const file = directory.openUnsafe(`/objects/meta/a/.${etag}`, "write")
      const large = new TextEncoder().encode(JSON.stringify({ name: "x".repeat(200_000) }))
      file.writeUnsafe(large, 0, large.length, 0)
      file.closeUnsafe()
      return yield* Effect.result(objects.head("a"))
    }),
  )
  const found = (await Effect.runPromise(work)) as { readonly _tag: string; readonly failure?: unknown }
  expect(found._tag).toBe("Failure")
  expect((found.failure as StoreError).kind).toBe("Invalid")
})

test("the text of a lock file may be anything: it names a holder, or nobody", () => {
  const valid = encodeHolder({ ...ownIdentity("node"), nonce: "0".repeat(32), flock: false })
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    hostile(new TextEncoder().encode(valid)).map((bytes) => new TextDecoder().decode(bytes)),
  )
  fc.assert(
    fc.property(texts, (text) => {
      const holder = decodeHolder(text)
      if (holder !== undefined && !(Number.isSafeInteger(holder.pid) && holder.pid > 0)) throw new Error("no pid")
    }),
    fuzzOptions(1500),
  )
})
