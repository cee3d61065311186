// The pointer to the last sealed segment: round trip, each byte flipped, each length cut.

import { describe, expect, test } from "bun:test"
import { decodeSealedPointer, encodeSealedPointer } from "../../src/format/sealed_pointer.ts"
import { expectCutsRejected, expectFlipsRejected } from "../support/codec.ts"

const value = { streamId: 7, segmentIndex: 33_000_000, durableBytes: 268_000_000, coordinatorWatermark: 2n ** 63n + 5n }
const bytes = encodeSealedPointer(value)
const accepts = (source: Uint8Array): boolean => decodeSealedPointer(source) !== undefined

describe("decodeSealedPointer()", () => {
  test("gives what was encoded", () => {
    expect(decodeSealedPointer(bytes)).toMatchObject(value)
    expect(bytes.length).toBe(64)
  })

  test("rejects each flipped byte", () => expectFlipsRejected(bytes, accepts))
  test("rejects each cut", () => expectCutsRejected(bytes, accepts))
})
