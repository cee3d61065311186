// HEAD: its bytes, whose it is, and how it is replaced on a store that goes wrong.

import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { OwnHeads } from "../../src/core/bucket/head_owner.ts"
import { HeadStore } from "../../src/core/bucket/head_store.ts"
import { crc64 } from "../../src/format/checksum.ts"
import {
  decodeHead,
  encodeHead,
  epochBase,
  type HeadFile,
  type HeadObject,
  isSameWriter,
  nonceCount,
  nonceOf,
} from "../../src/format/head_object.ts"
import type { ManifestRecordOf } from "../../src/format/manifest_record.ts"
import { makeTier2Config } from "../../src/model/tier2_config.ts"
import { makeMemoryStore } from "../../src/object_store/memory.ts"
import { FaultyObjectStore, type StoreFault } from "../../src/testing/faulty_object_store.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const writer = (seed: number): Uint8Array => Uint8Array.from({ length: 12 }, (_, at) => seed * 16 + at)
const file = (chunkSequence: number, kind = 0): HeadFile => ({
  kind,
  chunkSequence,
  firstRecordSequence: chunkSequence * 10,
  fileBytes: 4096 + chunkSequence,
  checksum64: 0xfedcba9876543210n - BigInt(chunkSequence),
  key: `00ff/manifest/${String(chunkSequence).padStart(10, "0")}-e3-0123456789abcdef.${kind === 1 ? "snapshot" : "chunk"}`,
})
const sample: HeadObject = {
  rootId: Uint8Array.from({ length: 16 }, (_, at) => at * 17),
  rootCreatedMs: 1_700_000_000_123,
  epoch: 3,
  nonce: nonceOf(writer(1), 7),
  epochSequence: 41,
  lastSequence: 99,
  writtenMs: 1_700_000_100_456,
  files: [file(4, 1), file(5), file(9)],
}

describe("a HEAD", () => {
  test("gives what was encoded, with and without files", () => {
    expect(decodeHead(encodeHead(sample))).toMatchObject(sample as never)
    expect(decodeHead(encodeHead({ ...sample, files: [] }))?.files).toEqual([])
  })

  test("of version 1, made once, decodes as it did then", () => {
    const folder = new URL("../golden/v1/bucket/", import.meta.url)
    const bytes = new Uint8Array(readFileSync(fileURLToPath(new URL("HEAD", folder))))
    const expected = JSON.parse(readFileSync(fileURLToPath(new URL("expected.json", folder)), "utf8"))
    const plain = JSON.stringify(decodeHead(bytes), (_, one: unknown) => {
      if (typeof one === "bigint") return String(one)
      return one instanceof Uint8Array ? Buffer.from(one).toString("hex") : one
    })
    expect(JSON.parse(plain)).toEqual(expected)
  })

  test("with any byte flipped is refused", () => {
    expectFlipsRejected(encodeHead(sample), (bytes) => decodeHead(bytes) !== undefined)
  })

  test("cut at any length is refused", () => {
    expectCutsRejected(encodeHead(sample), (bytes) => decodeHead(bytes) !== undefined)
  })

  test("says by its nonce who has put it, and how many that one had put before", () => {
    expect(nonceCount(sample.nonce)).toBe(7)
    expect(isSameWriter(sample.nonce, nonceOf(writer(1), 8))).toBe(true)
    expect(isSameWriter(sample.nonce, nonceOf(writer(2), 7))).toBe(false)
  })
})

const record = (epoch: number, nonce: Uint8Array, rest?: Uint8Array): ManifestRecordOf<"Epoch"> => ({
  type: "Epoch",
  streamId: 0,
  reasonCode: 0,
  sequence: 1,
  timestampMs: 0,
  rest,
  epoch,
  nonce,
})

describe("a root", () => {
  test("knows its own HEADs, and those of a copy of it only up to the moment of the copy", () => {
    const own = new OwnHeads()
    expect(own.has(sample)).toBe(false)
    own.addRecord(record(3, nonceOf(writer(1), 7)))
    expect(own.epoch).toBe(3)
    expect(own.has(sample)).toBe(true)
    expect(own.has({ epoch: 3, nonce: nonceOf(writer(1), 0) })).toBe(true)
    expect(own.has({ epoch: 3, nonce: nonceOf(writer(1), 8) })).toBe(false)
    expect(own.has({ epoch: 3, nonce: nonceOf(writer(2), 7) })).toBe(false)
    expect(own.has({ epoch: 4, nonce: nonceOf(writer(1), 7) })).toBe(false)
  })

  test("that was about to take an epoch still knows the HEAD that it found", () => {
    const rest = new Uint8Array(epochBase.sizeBytes)
    epochBase.encode(rest, 0, { epoch: 3, nonce: nonceOf(writer(1), 7) })
    const own = new OwnHeads()
    own.addRecord(record(4, nonceOf(writer(2), 0), rest))
    expect(own.has(sample)).toBe(true)
    expect(own.has({ epoch: 4, nonce: nonceOf(writer(2), 0) })).toBe(true)
    expect(own.has({ epoch: 3, nonce: nonceOf(writer(1), 8) })).toBe(false)
  })
})

const setup = (faults: ReadonlyArray<StoreFault | undefined> = []) => {
  const inner = makeMemoryStore()
  const store = new FaultyObjectStore(inner, { script: ({ sequence }) => faults[sequence - 1], lateRequests: 2 })
  const config = makeTier2Config({ retry: { maxAttempts: 4, baseDelayMs: 1, jitter: 0 }, requestTimeoutMs: 1000 })
  const make = (one: typeof inner): HeadStore =>
    new HeadStore({ store: one, config, random32: () => 0, send: (_, __, request) => request })
  return { inner, store, heads: make(store), calm: make(inner) }
}

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

const lost: ReadonlyArray<StoreFault> = [
  "lostAnswer",
  "timeoutAfter",
  "lateWrite",
  "timeoutBefore",
  "internal",
  "throttle",
]

describe("replacing HEAD", () => {
  test("succeeds only for who knows the one before", async () => {
    const { heads } = setup()
    const first = await run(heads.replace(sample, undefined))
    if (!first.isOurs) throw new Error("the first one was refused")
    const next = { ...sample, nonce: nonceOf(writer(1), 8) }
    const second = await run(heads.replace(next, first.etag))
    expect(second.isOurs).toBe(true)
    const other = { ...sample, epoch: 4, nonce: nonceOf(writer(2), 0) }
    for (const etag of [undefined, first.etag]) {
      const refused = await run(heads.replace(other, etag))
      if (refused.isOurs) throw new Error("another one was replaced")
      expect(refused.found?.head.nonce).toEqual(next.nonce)
    }
    expect((await run(heads.read))?.head).toMatchObject(next as never)
  })

  test.each(lost.map((fault) => ({ fault })))(
    "finds out what became of a put that ended as $fault",
    async (one: { readonly fault: StoreFault }) => {
      const { heads, inner, calm } = setup([one.fault])
      const put = await run(heads.replace(sample, undefined))
      expect(put.isOurs).toBe(true)
      const found = await run(calm.read)
      expect(found?.head.nonce).toEqual(sample.nonce)
      expect(put.isOurs && put.etag).toBe((await run(inner.head("HEAD")))?.etag)
    },
  )

  test("gives up for good where it is denied", async () => {
    const { heads, store } = setup(["denied"])
    const error = await run(Effect.flip(heads.replace(sample, undefined)))
    expect([error._tag, store.counts.put.requests]).toEqual(["Unavailable", 1])
  })

  test("ends also when the store does not answer at all", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const { heads, store } = setup(Array.from({ length: 20 }, () => "hang" as const))
        const fiber = yield* Effect.forkChild(Effect.flip(heads.replace(sample, undefined)), { startImmediately: true })
        for (let step = 0; step < 40 && fiber.pollUnsafe() === undefined; step++) {
          yield* Effect.repeat(Effect.yieldNow, { times: 50 })
          yield* TestClock.adjust(500)
        }
        expect(fiber.pollUnsafe()?._tag).toBe("Success")
        expect(store.counts.put.requests).toBeGreaterThan(1)
      }).pipe(Effect.provide(TestClock.layer())),
    ))

  test("a file of the manifest is there once, and is verified when it is read", async () => {
    const { heads, inner } = setup([undefined, "lostAnswer"])
    const bytes = Uint8Array.from({ length: 300 }, (_, at) => at)
    const one = { ...file(5), fileBytes: bytes.length, checksum64: crc64(bytes) }
    await run(heads.putFile(one, bytes))
    await run(heads.putFile(one, bytes))
    expect(await run(heads.getFile(one))).toEqual(bytes)
    const damaged = { ...one, checksum64: one.checksum64 ^ 1n }
    expect((await run(Effect.flip(heads.getFile(damaged))))._tag).toBe("Corrupt")
    expect((await run(Effect.flip(heads.getFile({ ...one, key: "none" }))))._tag).toBe("NotFound")
    expect((await run(inner.list(""))).objects.map(({ key }) => key)).toEqual([one.key])
  })
})
