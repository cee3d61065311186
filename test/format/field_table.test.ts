// A table of fields gives offsets, an encoder and a decoder that refuses what no encoder writes.

import { describe, expect, test } from "bun:test"
import { field, type Layout, layout } from "../../src/format/field_table.ts"

interface Sample {
  readonly small: number
  readonly medium: number
  readonly large: number
  readonly safe: number
  readonly wide: bigint
  readonly name: Uint8Array
}

const sample: Layout<Sample> = layout("Sample", "for tests", [
  field("small", "u8", "one byte"),
  field("spare", "reserved", "zero", 1),
  field("medium", "u16", "two bytes"),
  field("large", "u32", "four bytes"),
  field("safe", "safe", "a safe integer"),
  field("wide", "u64", "a bigint"),
  field("name", "bytes", "a run of bytes", 4),
])

const value: Sample = {
  small: 0xfe,
  medium: 0xfedc,
  large: 0xfedcba98,
  safe: Number.MAX_SAFE_INTEGER,
  wide: 0xffffffffffffffffn,
  name: new Uint8Array([1, 2, 3, 4]),
}

describe("layout()", () => {
  test("places fields one after the other", () => {
    expect(sample.sizeBytes).toBe(28)
    expect(sample.at).toEqual({ small: 0, medium: 2, large: 4, safe: 8, wide: 16, name: 24 })
  })

  test("decodes what it encodes, at any offset, and writes little-endian", () => {
    const bytes = new Uint8Array(40).fill(0xaa)
    sample.encode(bytes, 5, value)
    expect(sample.decode(bytes, 5)).toEqual(value)
    expect([bytes[4], bytes[33]]).toEqual([0xaa, 0xaa])
    expect([...bytes.subarray(5, 13)]).toEqual([0xfe, 0, 0xdc, 0xfe, 0x98, 0xba, 0xdc, 0xfe])
  })

  test("refuses a source that is too short, a reserved byte that is not zero, a number that is not safe", () => {
    const bytes = new Uint8Array(28)
    sample.encode(bytes, 0, value)
    expect(sample.decode(bytes.subarray(0, 27), 0)).toBeUndefined()
    expect(sample.decode(bytes, -1)).toBeUndefined()
    const reserved = bytes.slice()
    reserved[1] = 1
    expect(sample.decode(reserved, 0)).toBeUndefined()
    const unsafe = bytes.slice()
    unsafe[14] = 0x20
    expect(sample.decode(unsafe, 0)).toBeUndefined()
  })

  test("asserts that the target is large enough", () => {
    expect(() => sample.encode(new Uint8Array(27), 0, value)).toThrow("fits its target")
  })
})
