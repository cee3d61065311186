// The root file: round trip, each byte flipped, each length cut.

import { describe, expect, test } from "bun:test"
import { decodeRootFile, encodeRootFile } from "../../src/format/root_file.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const rootId = Uint8Array.from({ length: 16 }, (_, index) => index * 17)
const bytes = encodeRootFile(rootId, 1_700_000_000_123)
const accepts = (source: Uint8Array): boolean => decodeRootFile(source) !== undefined

describe("decodeRootFile()", () => {
  test("gives what was encoded", () => {
    const value = decodeRootFile(bytes)
    expect(value).toMatchObject({ version: 1, rootId, createdMs: 1_700_000_000_123, featuresIncompatible: 0 })
    expect(bytes.length).toBe(64)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts))
  test("rejects each cut", () => expectCutsRejected(bytes, accepts))
})
