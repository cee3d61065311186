// Ids, options, names, codecs and errors.

import { describe, expect, test } from "bun:test"
import { checkCodec, jsonCodec } from "../../src/model/codec.ts"
import { makeConfig } from "../../src/model/config.ts"
import { checkNames } from "../../src/model/config_check.ts"
import {
  closed,
  corrupt,
  Fenced,
  invalidArgument,
  isAofError,
  notFound,
  unavailable,
  type WouldBlockReason,
  wouldBlock,
} from "../../src/model/errors.ts"
import {
  isRecordId,
  recordIdOf,
  segmentIndexLimit,
  segmentIndexOf,
  segmentOffsetOf,
  segmentSpan,
} from "../../src/model/record_id.ts"
import { checkStreamName } from "../../src/model/stream_name.ts"

const thrown = (run: () => unknown): any => {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error("nothing was thrown")
}

test("a record id is index * 2^28 + offset, a safe integer over its whole range", () => {
  for (const index of [1, 2, 1000, segmentIndexLimit - 1]) {
    for (const offset of [0, 1536, segmentSpan - 1]) {
      const id = recordIdOf(index, offset)
      expect(Number.isSafeInteger(id)).toBe(true)
      expect([segmentIndexOf(id), segmentOffsetOf(id)]).toEqual([index, offset])
      expect(isRecordId(id)).toBe(true)
    }
  }
  for (const bad of [0, -1, 1.5, Number.NaN, segmentIndexLimit * segmentSpan, "1", 1n, null])
    expect(isRecordId(bad)).toBe(false)
})

test("options have the documented defaults", () => {
  expect(makeConfig({ root: "/data/" })).toEqual({
    root: "/data",
    rootGiven: "/data",
    readOnly: false,
    segmentBytes: 67_108_864,
    preallocateBytesMax: 4_194_304,
    journalBytes: 134_217_728,
    journalStreamsMin: 4,
    stagingBytes: 1_048_576,
    unflushedBytesMax: 67_108_864,
    recordBytesMax: 8_388_608,
    flushIntervalMs: 50,
    inlineSyncMsMax: 0.3,
    closeTimeoutMs: 10_000,
    retention: {},
    memory: {
      bytesMax: 536_870_912,
      stagingBytes: 293_601_280,
      frameCacheBytes: 33_554_432,
      tableBytes: 8_388_608,
      transfers: 4,
    },
    tier0: {
      bytesMax: 34_359_738_368,
      policy: "strict",
      frameCacheBytes: 33_554_432,
      promoteReads: 256,
      activationQueueWarnThreshold: 32,
    },
    tier1: {
      bytesMax: 137_438_953_472,
      level: 8,
      frameBytes: 65_536,
      residencyMsMin: 1000,
      retriesMax: 3,
      retryBackoffMs: 100,
      compress: "pressure",
    },
    tier2: {
      store: { directory: "/data/tier2" },
      upload: "pressure",
      deleteGraceMs: 60_000,
      mayDelete: true,
      isBucket: false,
      headIntervalMs: 1000,
      takeOver: false,
      requireBucket: false,
      client: {
        concurrency: 4,
        requestTimeoutMs: 30_000,
        scanBytesPerSecondMax: 64 * 2 ** 20,
        retry: { maxAttempts: 5, baseDelayMs: 100, jitter: 0.5 },
        breaker: { failuresMax: 10, openMs: 1000, openMsMax: 15_000 },
      },
    },
    manifest: { chunkBytes: undefined, chunkAgeMs: undefined },
    onEvent: undefined,
  })
  expect(makeConfig({ root: "/" }).root).toBe("/")
  // Every option of the object store that has a default may be given.
  for (const [name, value] of Object.entries(makeConfig({ root: "/r" }).tier2.client)) {
    if (value === undefined) continue
    const config = makeConfig({ root: "/r", tier2: { [name]: value } })
    expect([name, config.tier2.client]).toEqual([name, makeConfig({ root: "/r" }).tier2.client])
  }
  expect(makeConfig({ root: "/r", tier2: { scanBytesPerSecondMax: 1e8 } }).tier2.client.scanBytesPerSecondMax).toBe(1e8)
  expect(thrown(() => checkNames("option", { a: 1 }, ["b"]))).toMatchObject({ what: "option", value: "a", limit: "b" })
  expect(thrown(() => checkNames("option", [], ["b"]))).toMatchObject({ what: "options" })
})

test("what is off by default can be switched off by name", () => {
  const off = { scrub: false, retention: false, sealAfterMs: 0 } as const
  expect(makeConfig({ root: "/r", ...off })).toEqual(makeConfig({ root: "/r" }))
  expect(makeConfig({ root: "/r", journalBytes: 0, tier2: false })).toMatchObject({
    journalBytes: 0,
    tier2: { store: undefined },
  })
  for (const [name, value] of [
    ["scrub", true],
    ["scrub", 0],
    ["retention", true],
    ["retention", 0],
    ["sealAfterMs", false],
    ["sealAfterMs", 9],
    ["tier2", true],
  ] as const) {
    expect(thrown(() => makeConfig({ root: "/r", [name]: value }))).toMatchObject({ _tag: "InvalidArgument", value })
  }
})

test("stream names", () => {
  for (const name of ["a", "A.b_c-9", "x".repeat(128)]) expect(checkStreamName(name)).toBe(name)
  for (const name of ["", ".a", "a/b", "x".repeat(129), "a\n", "é", 1]) {
    expect(thrown(() => checkStreamName(name))).toMatchObject({ _tag: "InvalidArgument", value: name })
  }
})

test("codecs", () => {
  expect(checkCodec(undefined)).toBe(undefined)
  expect(checkCodec("json")).toBe(jsonCodec)
  const own = { encode: () => "", decode: () => 1 }
  expect(checkCodec(own)).toBe(own)
  for (const bad of ["xml", 5, null, {}, { encode: () => "" }])
    expect(thrown(() => checkCodec(bad))).toMatchObject({ what: "codec" })
  const bytes = new TextEncoder().encode(jsonCodec.encode({ a: [1, "ü"] }) as string)
  expect(jsonCodec.decode(bytes)).toEqual({ a: [1, "ü"] })
  for (const text of ["", "{", "\u0000"]) {
    expect(() => jsonCodec.decode(new TextEncoder().encode(text))).toThrow("json value is")
  }
  expect(() => jsonCodec.decode(new Uint8Array([0x22, 0xff, 0x22]))).toThrow("allowed is JSON in UTF-8")
})

describe("errors", () => {
  const reasons: ReadonlyArray<WouldBlockReason["_tag"]> = ["Admission", "Rollover", "Hydration", "Flush", "Tail"]
  const all: ReadonlyArray<readonly [any, string, boolean]> = [
    [invalidArgument("what", 5, "limit"), "InvalidArgument", false],
    [closed("stream s"), "Closed", false],
    [notFound("record", 5, 7), "NotFound", false],
    [corrupt("frame", "does not check", 1, 2), "Corrupt", false],
    [unavailable("writing", "ENOSPC", "/f"), "Unavailable", true],
    [unavailable("writing", "EACCES", "/f"), "Unavailable", false],
    [new Fenced({ message: "m", what: "w", value: 1, limit: 2 }), "Fenced", false],
    ...reasons.map((tag) => [wouldBlock(tag, 3, 2), "WouldBlock", true] as const),
  ]

  test("each has a tag, says whether to try again, and names thing, value and limit", () => {
    for (const [error, tag, retryable] of all) {
      expect(error).toBeInstanceOf(Error)
      expect(isAofError(error)).toBe(true)
      expect(error).toMatchObject({ _tag: tag, name: tag, retryable })
      for (const name of ["what", "value", "limit"]) expect(error[name]).toBeDefined()
      expect(error.message.length).toBeGreaterThan(0)
      expect(error.message.endsWith(".")).toBe(false)
    }
    expect(isAofError(new Error("x"))).toBe(false)
  })

  test("their own fields", () => {
    expect(corrupt("frame", "does not check", 1, 2)).toMatchObject({ from: 1, to: 2, detail: "does not check" })
    expect(unavailable("writing", "EIO", "/f").code).toBe("EIO")
    for (const tag of reasons) {
      const { reason } = wouldBlock(tag, 3, 2)
      expect(reason).toEqual({ _tag: tag, pending: 3, limit: 2, retryDelayMs: 10 })
    }
  })

  test("a message names the class of an object", () => {
    class Order {
      readonly id = 1
    }
    const shown: ReadonlyArray<readonly [unknown, string]> = [
      [new ArrayBuffer(3), "an object of class ArrayBuffer"],
      [new Uint16Array([1, 2]), "an object of class Uint16Array"],
      [new Date(Number.NaN), "an invalid Date"],
      [new Date(0), "an object of class Date"],
      [new Order(), "an object of class Order (id)"],
      [{ a: 1, b: 2 }, "an object (a, b)"],
      [Object.create(null), "an object ()"],
      [{ constructor: 5 }, "an object (constructor)"],
      [[1, 2], "an array of 2"],
      [null, "null"],
    ]
    for (const [value, text] of shown) {
      expect(invalidArgument("what", value, "limit").message).toBe(`what is ${text}, allowed is limit`)
    }
  })

  test("a message shows values of every kind without failing, and not more than a line of them", () => {
    for (const value of [
      undefined,
      null,
      5n,
      Symbol("s"),
      () => 1,
      [1, 2],
      { a: 1 },
      "x".repeat(9999),
      Object.create(null),
    ]) {
      expect(invalidArgument("what", value, "limit").message.length).toBeLessThan(600)
    }
  })
})
